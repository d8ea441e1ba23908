import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { type ImageDataset, type SplitName, splitNames } from '../data/dataset.js';
import { isUnreadable } from '../data/decode.js';
import { mapInOrder } from '../data/in-order.js';
import type { SkippedImage } from '../data/loader.js';
import { invalidType, throwIfAborted } from '../errors.js';
import { checkOptions } from '../options.js';
import { signalOption } from '../value-kinds.js';
import { type Compared, findPairs } from './pairs.js';
import { readThumbnail } from './thumbnail.js';
import { count, shortened } from './words.js';

const schema = z.strictObject({
  bits: z.int().min(0).max(20).default(10),
  likeness: z.number().min(0).max(1).default(0.7),
  threads: z.int().min(1).max(1024).default(availableParallelism()),
  unreadable: z.enum(['fail', 'skip']).default('fail'),
  signal: signalOption,
});

/**
 * - `bits`: of 64 in which the hashes of two images may differ to be compared; default 10, at most 20
 * - `likeness`: least correlation of their detail, 0 to 1; default 0.7
 * - `threads`: images decoded at a time; default: processors
 * - `unreadable`: `fail` (default), or `skip` images that cannot be decoded, and list them in `skipped`
 * - `signal`: stops between two images, or within the comparison, with ABORTED
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
  /** Correlation of their detail, to 1, where the one fits the other best. */
  likeness: number;
  /** The second is the first mirrored, left to right. */
  mirrored: boolean;
}

/** Images of different splits that look the same, the most alike first. */
export interface NearDuplicates {
  pairs: NearDuplicate[];
  /** What was found, for people. */
  text: string;
  /** Images that could be read. */
  images: number;
  /** Images that could not, with `unreadable: 'skip'`. */
  skipped: SkippedImage[];
}

type Looked = DuplicateImage & Compared;

/**
 * Looks for near-duplicates between splits: the same photograph saved again, resized, lighter, mirrored, with a border of one
 * colour, or cropped by up to 15 % of its sides, wherever. What a model has seen in training it knows by heart, so that
 * validation flatters it. Candidates are images of which a window has a difference hash (dHash, Krawetz 2013) within `bits` of
 * one of the other's, found by multi-index hashing (Norouzi et al. 2012); they are near-duplicates where the correlation of
 * their detail is at least `likeness`, or where only a window or the mirrored image fits, that and half of what is left to 1.
 * docs/benchmarks.md has how many of planted copies are found. Byte-equal files are told when data is read.
 *
 * @throws INVALID_TYPE, INVALID_VALUE (options), IMAGE_UNREADABLE, FILE_NOT_FOUND, ABORTED
 */
export async function findNearDuplicates(
  data: ImageDataset,
  options: NearDuplicateOptions = {},
): Promise<NearDuplicates> {
  if (!data?.splits?.train)
    throw invalidType('findNearDuplicates: expected data from imageFolder or imageManifest.');
  const { likeness: least, ...checked } = checkOptions(schema, options, 'findNearDuplicates');
  const results = await lookAtAll(imagesOf(data), checked);
  const looked = results.filter((result) => 'grey' in result);
  const found = await findPairs(looked, { ...checked, least });
  const pairs = found
    .sort((a, b) => b.likeness - a.likeness)
    .map(({ first, second, ...how }) => ({
      first: told(looked[first] as Looked),
      second: told(looked[second] as Looked),
      ...how,
    }));
  const skipped = results.filter((result) => 'reason' in result);
  return { pairs, text: describe(pairs), images: looked.length, skipped };
}

function imagesOf({ splits, classes, task }: ImageDataset): DuplicateImage[] {
  // Labels and targets have no one class to compare.
  const classOf = (label: number) =>
    task === undefined || task === 'single-label' ? (classes[label] as string) : '';
  return splitNames.flatMap((split) =>
    (splits[split] ?? []).map(({ path, label }) => ({ path, split, class: classOf(label) })),
  );
}

function lookAtAll(
  images: readonly DuplicateImage[],
  { threads, unreadable, signal }: Pick<z.output<typeof schema>, 'threads' | 'unreadable' | 'signal'>,
): Promise<(Looked | SkippedImage)[]> {
  return mapInOrder(images, threads, async (image) => {
    throwIfAborted(signal);
    try {
      return { ...image, ...(await readThumbnail(image.path)) };
    } catch (error) {
      if (unreadable === 'fail' || !isUnreadable(error)) throw error;
      return { path: image.path, reason: (error as Error).message };
    }
  });
}

function told({ path, split, class: name }: Looked): DuplicateImage {
  return { path, split, class: name };
}

function describe(pairs: readonly NearDuplicate[]): string {
  const [first] = pairs;
  if (!first) return 'No two images of different splits look the same.';
  const other = pairs.filter((pair) => pair.first.class !== pair.second.class).length;
  return (
    `${count(pairs.length, 'pair')} of images in different splits look the same, for example ` +
    `${shortened(first.first.path)} (${first.first.split}) and ${shortened(first.second.path)} (${first.second.split}): ` +
    `metrics on them flatter. Keep one of each${other > 0 ? `; in ${other} of them the labels differ` : ''}.`
  );
}
