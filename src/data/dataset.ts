import { createHash } from 'node:crypto';
import { TorchgraftError } from '../errors.js';
import { findLeaks } from './leakage.js';
import { randomIntegers, shuffle } from './random.js';

export type SplitName = 'train' | 'val' | 'test';
export const splitNames: readonly SplitName[] = ['train', 'val', 'test'];

/** One labelled image; `label` is an index into the data set's `classes`. */
export interface Sample {
  path: string;
  label: number;
  /** Values by slice, for example `{ scanner: 'A' }`; where slices were asked for. */
  slices?: Readonly<Record<string, string>>;
}

/** What is kept of a data set with a trained model: plain JSON. */
export interface DatasetSummary {
  /** Folder or manifest, as it was given. */
  source: string;
  classes: string[];
  /** Samples of each class in each split. */
  counts: Partial<Record<SplitName, Record<string, number>>>;
  /** How `val` came to be: a folder or column of its own, or split off at random. */
  validation: 'given' | { share: number; seed: number };
  /** SHA-256 over each sample's split, class, relative path and size in bytes, in order; files are not read for it. */
  fingerprint: string;
}

/** Labelled images in splits, sorted, so that a seed means the same everywhere. */
export interface ImageDataset {
  /** Class names, sorted; a label is an index into them. */
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
  /** Undefined when it still has to be split. */
  split: SplitName | undefined;
  slices?: Readonly<Record<string, string>>;
}

export interface SplitOptions {
  /** Share of each class that becomes `val` where the source has none, 0 to 1. */
  validation: number;
  /** Seed of that split. */
  seed: number;
}

/** Sorts, splits, checks and counts what was found, in the same way for folders and manifests. */
export async function assemble(
  source: string,
  found: FoundSample[],
  classes: string[],
  options: SplitOptions,
  warnings: string[],
): Promise<ImageDataset> {
  refuseUnlearnable(source, found, classes);
  found.sort((a, b) => compare(a.name, b.name));
  const given = found.some((sample) => sample.split === 'val');
  if (!given) splitOff(found, classes, options);
  requireTrainingImages(source, found, classes);

  const labels = new Map(classes.map((name, label) => [name, label]));
  const pick = (split: SplitName): Sample[] =>
    found
      .filter((sample) => sample.split === split)
      .map(({ path, className, slices }) => ({
        path,
        label: labels.get(className) as number,
        ...(slices ? { slices } : {}),
      }));
  const test = pick('test');
  const splits = { train: pick('train'), val: pick('val'), ...(test.length > 0 && { test }) };
  const counts = countClasses(splits, classes);
  warnings.push(...missingClasses(counts));
  if (splits.val.length === 0) {
    throw invalid(`${source}: no image is left for validation: every class has only one. Add images.`);
  }
  const { leaks, sizes } = await findLeaks(found);
  warnings.push(...leaks);
  const validation = given ? ('given' as const) : { share: options.validation, seed: options.seed };
  const fingerprint = fingerprintOf(found, sizes);
  return { classes, splits, warnings, summary: { source, classes, counts, validation, fingerprint } };
}

/** Order of strings by UTF-16 code unit, whatever the locale. */
export function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

export function invalid(message: string): TorchgraftError {
  return new TorchgraftError('DATA_INVALID', message);
}

function refuseUnlearnable(source: string, found: FoundSample[], classes: string[]): void {
  if (found.length === 0) throw invalid(`${source}: no images found.`);
  if (classes.length < 2) {
    throw invalid(
      `${source}: only one class, \`${classes[0]}\`. A classifier needs at least two to tell apart.`,
    );
  }
}

/** Puts a share of each class's training images into `val`; of 2 or more at least one goes and one stays. */
function splitOff(found: FoundSample[], classes: string[], options: SplitOptions): void {
  const next = randomIntegers(options.seed, 0);
  const ofClass = new Map<string, number[]>(classes.map((name) => [name, []]));
  for (const [index, sample] of found.entries()) {
    sample.split ??= 'train';
    if (sample.split === 'train') ofClass.get(sample.className)?.push(index);
  }
  for (const indices of ofClass.values()) {
    if (indices.length < 2) continue;
    const share = Math.round(indices.length * options.validation);
    const count = Math.min(indices.length - 1, Math.max(1, share));
    for (const index of shuffle(indices, next).slice(0, count)) (found[index] as FoundSample).split = 'val';
  }
}

function requireTrainingImages(source: string, found: FoundSample[], classes: string[]): void {
  const trained = new Set(
    found.filter((sample) => sample.split === 'train').map((sample) => sample.className),
  );
  const untrained = classes.filter((name) => !trained.has(name));
  if (untrained.length === 0) return;
  const stray = found.find((sample) => untrained.includes(sample.className));
  const names = untrained.map((name) => `\`${name}\``).join(', ');
  const where = stray ? ` ${stray.split} has images of it (${stray.path}).` : '';
  throw invalid(`${source}: no training images of ${names}.${where} Add some, or remove the class.`);
}

function countClasses(splits: ImageDataset['splits'], classes: string[]): DatasetSummary['counts'] {
  const counts: DatasetSummary['counts'] = {};
  for (const split of splitNames) {
    const samples = splits[split];
    if (!samples) continue;
    const numbers = new Array<number>(classes.length).fill(0);
    for (const { label } of samples) numbers[label] = (numbers[label] ?? 0) + 1;
    counts[split] = Object.fromEntries(classes.map((name, label) => [name, numbers[label] ?? 0]));
  }
  return counts;
}

function missingClasses(counts: DatasetSummary['counts']): string[] {
  const warnings: string[] = [];
  for (const [split, ofClass] of Object.entries(counts)) {
    for (const [name, count] of Object.entries(ofClass)) {
      if (count === 0)
        warnings.push(`Class \`${name}\` has no images in ${split}: its recall there is undefined.`);
    }
  }
  return warnings;
}

function fingerprintOf(found: FoundSample[], sizes: number[]): string {
  const hash = createHash('sha256');
  for (const [index, { split, className, name }] of found.entries()) {
    hash.update(`${split}\0${className}\0${name}\0${sizes[index]}\n`);
  }
  return hash.digest('hex');
}
