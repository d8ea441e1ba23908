import { createHash } from 'node:crypto';
import { TorchgraftError } from '../errors.js';
import { listNames } from '../name-list.js';
import { findLeaks } from './leakage.js';
import { randomIntegers, shuffle } from './random.js';
import { measureFiles } from './sample-files.js';
import type { Task } from './task.js';

export type SplitName = 'train' | 'val' | 'test';
export const splitNames: readonly SplitName[] = ['train', 'val', 'test'];

/** One labelled image. */
export interface Sample {
  path: string;
  /** Index into the data set's `classes`; -1, which nothing takes for a class, where there are `targets`. */
  label: number;
  /** One for each of the data set's `classes`: of a multi-label set 1 or 0, of a regression the numbers. Else undefined. */
  targets?: readonly number[];
  /** Values by slice, for example `{ scanner: 'A' }`; where slices were asked for. */
  slices?: Readonly<Record<string, string>>;
}

/** What is kept of a data set with a trained model: plain JSON. */
export interface DatasetSummary {
  /** Folder or manifest, as it was given. */
  source: string;
  /** What is asked about an image; left out for one class. */
  task?: Task;
  classes: string[];
  /** Samples of each class in each split: those that have the label, or the target. */
  counts: Partial<Record<SplitName, Record<string, number>>>;
  /** How `val` came to be: a folder or column of its own, or split off at random. */
  validation: 'given' | { share: number; seed: number };
  /** SHA-256 over each sample's split, class, relative path and size in bytes, in order; files are not read for it. */
  fingerprint: string;
}

/**
 * Labelled images in splits, sorted, so that a seed means the same everywhere.
 *
 * @typeParam T what is asked about an image, where that is known before the data is read
 */
export interface ImageDataset<T extends Task = Task> {
  /** What is asked about an image. Left out: `single-label`, one class. */
  task?: T;
  /** Class names, sorted; a label is an index into them. Of a multi-label set its labels, of a regression its targets. */
  classes: string[];
  splits: { train: Sample[]; val: Sample[]; test?: Sample[] };
  /** What a person should know before training, one sentence each. */
  warnings: string[];
  summary: DatasetSummary;
}

/** A sample as it was found: `name` is its path relative to the source, and its class is still a name. */
export interface FoundSample {
  path: string;
  name: string;
  className: string;
  /** Names that it has, in a multi-label set; there and in a regression `className` is all of it as one text. */
  labels?: string[];
  /** Numbers of a regression, one for each target. */
  values?: number[];
  /** Undefined when it still has to be split. */
  split: SplitName | undefined;
  /** Where a list has it, for messages: `line 3 of list.csv`. */
  listed?: string;
  slices?: Readonly<Record<string, string>>;
}

/**
 * What data are read for: to train, so that every class needs training images and there is a `val`, split off where there is
 * none; or to measure on, where every image is taken as it is, and those without a split are `test`.
 */
export type Purpose = 'training' | 'evaluation';

export interface AssembleOptions {
  /** Share of each class that becomes `val` where the source has none, 0 to 1. */
  validation: number;
  /** Seed of that split. */
  seed: number;
  purpose: Purpose;
  /** Whether missing files may be left for whoever reads the images to leave out. */
  unreadable: 'fail' | 'skip';
}

/** Why a class has no images, in a sentence, or nothing. */
type WhyMissing = (className: string) => string;

/** Sorts, splits, checks and counts what was found, in the same way for folders and manifests. */
export async function assemble<T extends Task = 'single-label'>(
  source: string,
  found: FoundSample[],
  named: string[],
  options: AssembleOptions,
  warnings: string[],
  { task = 'single-label' as T, why = () => '' }: { task?: T | undefined; why?: WhyMissing } = {},
): Promise<ImageDataset<T>> {
  const { purpose, unreadable } = options;
  found.sort((a, b) => compare(a.name, b.name));
  const sizes = await measureFiles(found, unreadable);
  const readable = found.filter((_, index) => sizes[index] !== undefined);
  const classes = purpose === 'training' ? named : withImages(named, found, warnings);
  const given = purpose === 'evaluation' || found.some((sample) => sample.split === 'val');
  if (!given) splitOff(readable, classes, options);
  for (const sample of found) sample.split ??= purpose === 'training' ? 'train' : 'test';
  if (purpose === 'training') requireLearnable(source, { found, readable, classes, task, why });

  const labels = new Map(classes.map((name, label) => [name, label]));
  const pick = (split: SplitName): Sample[] =>
    found
      .filter((sample) => sample.split === split)
      .map((sample) => ({
        path: sample.path,
        label: task === 'single-label' ? (labels.get(sample.className) as number) : -1,
        ...(task === 'single-label' ? {} : { targets: targetsOfFound(sample, classes) }),
        ...(sample.slices ? { slices: sample.slices } : {}),
      }));
  const test = pick('test');
  const splits = { train: pick('train'), val: pick('val'), ...(test.length > 0 && { test }) };
  const counts = countClasses(found, classes, purpose);
  if (task !== 'regression') warnings.push(...alikeNames(classes));
  warnings.push(...missingClasses(counts), ...(await findLeaks(found, sizes, unreadable)));
  const validation = given ? ('given' as const) : { share: options.validation, seed: options.seed };
  const fingerprint = fingerprintOf(found, sizes);
  const about = task === 'single-label' ? { classes } : { task, classes };
  return { ...about, splits, warnings, summary: { source, ...about, counts, validation, fingerprint } };
}

/** Those of the classes that images have, to measure on. */
function withImages(classes: readonly string[], found: readonly FoundSample[], warnings: string[]): string[] {
  const held = new Set(found.flatMap((sample) => classesOf(sample, classes)));
  const empty = classes.filter((name) => !held.has(name));
  if (empty.length > 0) warnings.push(`No images of ${quoted(empty)}.`);
  return classes.filter((name) => held.has(name));
}

/** Names that people take for one. */
function alikeNames(classes: readonly string[]): string[] {
  const groups = new Map<string, string[]>();
  for (const name of classes) {
    const key = name.normalize('NFKC').trim().replace(/\s+/g, ' ').toLowerCase();
    groups.set(key, [...(groups.get(key) ?? []), name]);
  }
  return [...groups.values()]
    .filter(({ length }) => length > 1)
    .map(
      (names) => `Classes ${quoted(names)} differ only in case or blanks, and are taken for different ones.`,
    );
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `\`${name}\``).join(', ');
}

/** Of a multi-label set 1 or 0 for each class; of a regression its numbers. */
function targetsOfFound({ labels, values = [] }: FoundSample, classes: readonly string[]): number[] {
  return labels ? classes.map((name) => Number(labels.includes(name))) : values;
}

/** The classes that a sample counts for: its own, those it has, or each target. */
function classesOf(
  { className, labels, values }: FoundSample,
  classes: readonly string[],
): readonly string[] {
  return values ? classes : (labels ?? [className]);
}

/** Order of strings by UTF-16 code unit, whatever the locale. */
export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function invalid(message: string): TorchgraftError {
  return new TorchgraftError('DATA_INVALID', message);
}

interface Learned {
  found: readonly FoundSample[];
  /** Those whose files are there. */
  readable: readonly FoundSample[];
  classes: string[];
  task: Task;
  why: WhyMissing;
}

function requireLearnable(source: string, learned: Learned): void {
  const { found, readable, classes, task } = learned;
  if (task === 'multi-label' && classes.length === 0) throw invalid(`${source}: no image has any label.`);
  if (task === 'single-label' && classes.length < 2) {
    throw invalid(
      `${source}: only one class, \`${classes[0]}\`. A classifier needs at least two to tell apart.`,
    );
  }
  requireTrainingImages(source, learned);
  if (readable.some(({ split }) => split === 'val')) return;
  throw invalid(
    found.some(({ split }) => split === 'val')
      ? `${source}: none of the validation images is there.`
      : `${source}: no image is left for validation: every class has only one. Add images.`,
  );
}

/** Puts a share of each stratum's training images into `val`; of 2 or more at least one goes and one stays. */
function splitOff(found: readonly FoundSample[], classes: string[], options: AssembleOptions): void {
  const next = randomIntegers(options.seed, 0);
  for (const sample of found) sample.split ??= 'train';
  for (const indices of strataOf(found, classes)) {
    if (indices.length < 2) continue;
    const share = Math.round(indices.length * options.validation);
    const count = Math.min(indices.length - 1, Math.max(1, share));
    for (const index of shuffle(indices, next).slice(0, count)) (found[index] as FoundSample).split = 'val';
  }
}

/**
 * Positions of the training images by class, the classes in order; of a multi-label set by the rarest label of each, so
 * that rare ones are in both splits; of a regression all together.
 */
function strataOf(found: readonly FoundSample[], classes: readonly string[]): number[][] {
  const counts = new Map<string, number>();
  for (const name of found.flatMap(({ labels = [] }) => labels))
    counts.set(name, (counts.get(name) ?? 0) + 1);
  const count = (name: string) => counts.get(name) as number;
  const stratumOf = ({ className, labels, values }: FoundSample) => {
    if (values) return '';
    return labels ? (labels.toSorted((a, b) => count(a) - count(b) || compare(a, b))[0] ?? '') : className;
  };
  // The order of the classes decides what the seed means.
  const strata = new Map<string, number[]>(['', ...classes].map((name) => [name, []]));
  for (const [index, sample] of found.entries()) {
    if (sample.split !== 'train') continue;
    strata.get(stratumOf(sample))?.push(index);
  }
  return [...strata.values()];
}

function requireTrainingImages(source: string, { found, readable, classes, why }: Learned): void {
  const isTrained = ({ split }: FoundSample) => split === 'train';
  const namesIn = (samples: readonly FoundSample[]) =>
    new Set(samples.filter(isTrained).flatMap((sample) => classesOf(sample, classes)));
  const trained = namesIn(readable);
  const untrained = classes.filter((name) => !trained.has(name));
  if (untrained.length === 0) return;
  const listed = namesIn(found);
  const gone = untrained.filter((name) => listed.has(name));
  if (gone.length > 0) {
    throw invalid(
      `${source}: none of the training images of ${quoted(gone)} is there. Add some, or remove the class.`,
    );
  }
  const stray = found.find((sample) => classesOf(sample, classes).some((name) => untrained.includes(name)));
  const where = stray ? ` ${stray.split} has images of it (${stray.path}).` : '';
  const reasons = new Set(untrained.map(why).filter((reason) => reason !== ''));
  const reason = [...reasons].map((text) => ` ${text}`).join('');
  throw invalid(
    `${source}: no training images of ${quoted(untrained)}.${where}${reason} Add some, or remove the class.`,
  );
}

function countClasses(
  found: readonly FoundSample[],
  classes: string[],
  purpose: Purpose,
): DatasetSummary['counts'] {
  const counts: DatasetSummary['counts'] = {};
  for (const split of splitNames) {
    const samples = found.filter((sample) => sample.split === split);
    // A data set without test images has no such split, and what is measured on may have one alone.
    if (samples.length === 0 && (split === 'test' || purpose === 'evaluation')) continue;
    const numbers = new Map(classes.map((name) => [name, 0]));
    for (const name of samples.flatMap((sample) => classesOf(sample, classes)))
      numbers.set(name, (numbers.get(name) ?? 0) + 1);
    counts[split] = Object.fromEntries(numbers);
  }
  return counts;
}

/** More than these are told in one sentence. */
const fewClasses = 5;

function missingClasses(counts: DatasetSummary['counts']): string[] {
  const warnings: string[] = [];
  for (const [split, ofClass] of Object.entries(counts)) {
    const missing = Object.keys(ofClass).filter((name) => ofClass[name] === 0);
    if (missing.length > fewClasses) {
      warnings.push(
        `${missing.length} classes have no images in ${split}: their recall there is undefined (${listNames(missing, fewClasses)}).`,
      );
      continue;
    }
    for (const name of missing)
      warnings.push(`Class \`${name}\` has no images in ${split}: its recall there is undefined.`);
  }
  return warnings;
}

function fingerprintOf(found: readonly FoundSample[], sizes: readonly (number | undefined)[]): string {
  const hash = createHash('sha256');
  for (const [index, { split, className, name }] of found.entries()) {
    hash.update(`${split}\0${className}\0${name}\0${sizes[index]}\n`);
  }
  return hash.digest('hex');
}
