import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { type ImageDataset, type SplitName, splitNames } from '../data/dataset.js';
import { openGate } from '../data/gate.js';
import type { SkippedImage } from '../data/loader.js';
import { invalidType, TorchgraftError, throwIfAborted } from '../errors.js';
import { checkOptions } from '../options.js';
import { HashIndex } from './hamming.js';
import { detailOf, likeness } from './likeness.js';
import { readThumbnail } from './thumbnail.js';

const schema = z.strictObject({
  bits: z.int().min(0).max(20).default(10),
  likeness: z.number().min(0).max(1).default(0.7),
  threads: z.int().min(1).max(1024).default(availableParallelism()),
  signal: z.instanceof(AbortSignal).optional(),
});

/**
 * - `bits`: of 64 in which the hashes of two images may differ to be compared; default 10, at most 20
 * - `likeness`: least correlation of their detail, 0 to 1; default 0.7
 * - `threads`: images decoded at a time; default: processors
 * - `signal`: stops between two images with ABORTED
 */
export type NearDuplicateOptions = z.input<typeof schema>;

/** One of two images that look the same. */
export interface DuplicateImage {
  path: string;
  split: SplitName;
  class: string;
}

/** Two images of different splits that look the same. */
export interface NearDuplicate {
  first: DuplicateImage;
  second: DuplicateImage;
  /** Correlation of their detail, to 1. */
  likeness: number;
}

/** Images of different splits that look the same, the most alike first. */
export interface NearDuplicates {
  pairs: NearDuplicate[];
  /** What was found, for people. */
  text: string;
  images: number;
  skipped: SkippedImage[];
}

interface Looked extends DuplicateImage {
  hash: [number, number];
  detail: Float32Array;
}

/**
 * Looks for near-duplicates between splits: the same photograph saved again, resized, lighter or cropped by 2 %. Of crops
 * by 4 % most are found, by 6 % few; mirrored ones are not. What a model has seen in training it knows by heart, so that
 * validation flatters it. Candidates are images whose difference
 * hashes (dHash, Krawetz 2013) are within `bits`, found by multi-index hashing (Norouzi et al. 2012); they are
 * near-duplicates where the correlation of their detail is at least `likeness`. Byte-equal files are told when data is read.
 *
 * @throws INVALID_TYPE, INVALID_VALUE (options), ABORTED
 */
export async function findNearDuplicates(
  data: ImageDataset,
  options: NearDuplicateOptions = {},
): Promise<NearDuplicates> {
  if (!data?.splits?.train)
    throw invalidType('findNearDuplicates: expected data from imageFolder or imageManifest.');
  const checked = checkOptions(schema, options, 'findNearDuplicates');
  const skipped: SkippedImage[] = [];
  const gate = openGate(checked.threads);
  const looked = await Promise.all(
    imagesOf(data).map((image) => gate(() => look(image, checked.signal, skipped))),
  );
  const readable = looked.filter((image) => image !== undefined);
  const pairs = comparePairs(readable, checked);
  return { pairs, text: describe(pairs), images: readable.length, skipped };
}

function imagesOf({ splits, classes, task }: ImageDataset): DuplicateImage[] {
  // Labels and targets have no one class to compare.
  const classOf = (label: number) =>
    task === undefined || task === 'single-label' ? (classes[label] as string) : '';
  return splitNames.flatMap((split) =>
    (splits[split] ?? []).map(({ path, label }) => ({ path, split, class: classOf(label) })),
  );
}

async function look(
  image: DuplicateImage,
  signal: AbortSignal | undefined,
  skipped: SkippedImage[],
): Promise<Looked | undefined> {
  throwIfAborted(signal);
  try {
    const { hash, grey } = await readThumbnail(image.path);
    return { ...image, hash, detail: detailOf(grey) };
  } catch (error) {
    if (!(error instanceof TorchgraftError)) throw error;
    skipped.push({ path: image.path, reason: error.message });
    return undefined;
  }
}

function comparePairs(
  images: readonly Looked[],
  { bits, likeness: least }: z.output<typeof schema>,
): NearDuplicate[] {
  const hashes = Uint32Array.from(images.flatMap(({ hash }) => hash));
  const index = new HashIndex(hashes);
  const pairs: NearDuplicate[] = [];
  for (const [at, own] of images.entries()) {
    index.search(hashes, at, bits, (other) => {
      const found = images[other] as Looked;
      // Each pair once.
      if (other <= at || found.split === own.split) return;
      const alike = likeness(own.detail, found.detail);
      if (alike >= least) pairs.push({ first: told(own), second: told(found), likeness: alike });
    });
  }
  return pairs.sort((a, b) => b.likeness - a.likeness);
}

function told({ path, split, class: name }: Looked): DuplicateImage {
  return { path, split, class: name };
}

function describe(pairs: readonly NearDuplicate[]): string {
  const [first] = pairs;
  if (!first) return 'No two images of different splits look the same.';
  const other = pairs.filter((pair) => pair.first.class !== pair.second.class).length;
  return (
    `${pairs.length} pair${pairs.length === 1 ? '' : 's'} of images in different splits look the same, for example ` +
    `${first.first.path} (${first.first.split}) and ${first.second.path} (${first.second.split}): metrics on them flatter. ` +
    `Keep one of each${other > 0 ? `; ${other} of the pairs have different labels` : ''}.`
  );
}
