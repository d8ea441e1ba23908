import type { FoundSample } from './dataset.js';
import { isUnreadable } from './decode.js';
import { readImageFile } from './image-file.js';
import { mapInOrder } from './in-order.js';

/** Files open at a time: enough to keep libuv's four threads busy. */
const filesAtOnce = 16;

/** Leaks told one by one; the rest are only counted. */
const named = 10;

/**
 * Finds images that are in two splits byte for byte: what is measured on them is memory, not skill. Only files that
 * share their size with a file of another split are read.
 *
 * @param sizes of the samples' files in bytes; undefined where there is none
 * @returns one sentence per pair
 * @throws TorchgraftError `FILE_NOT_FOUND`, `IMAGE_UNREADABLE` or `TOO_MANY_FILES` for a file that cannot be read
 */
export async function findLeaks(
  found: readonly FoundSample[],
  sizes: readonly (number | undefined)[],
  unreadable: 'fail' | 'skip',
): Promise<string[]> {
  const suspects = acrossSplits(found, (_, index) => sizes[index])
    .flat()
    .sort((a, b) => a - b);
  const digests = await mapInOrder(suspects, filesAtOnce, async (index) => {
    try {
      return (await readImageFile((found[index] as FoundSample).path)).digest.toString('hex');
    } catch (error) {
      // Whoever decodes it tells of it.
      if (unreadable === 'skip' && isUnreadable(error)) return undefined;
      throw error;
    }
  });
  const bySample = new Map(suspects.map((index, i) => [index, digests[i]]));
  const groups = acrossSplits(found, (_, index) => bySample.get(index));
  const pairs = groups.map((group) => describe(group.map((index) => found[index] as FoundSample)));
  const leaks = pairs.slice(0, named);
  if (pairs.length > named) leaks.push(`Leakage: ${pairs.length - named} more images are in two splits.`);
  return leaks;
}

/** Groups sample indices by key and keeps the groups that reach over more than one split. */
function acrossSplits<K>(
  found: readonly FoundSample[],
  key: (sample: FoundSample, index: number) => K | undefined,
): number[][] {
  const groups = new Map<K, number[]>();
  for (const [index, sample] of found.entries()) {
    const value = key(sample, index);
    if (value === undefined) continue;
    const group = groups.get(value);
    if (group) group.push(index);
    else groups.set(value, [index]);
  }
  return [...groups.values()].filter((group) => new Set(group.map((index) => found[index]?.split)).size > 1);
}

function describe(group: FoundSample[]): string {
  const first = group[0] as FoundSample;
  const other = group.find((sample) => sample.split !== first.split) as FoundSample;
  const classes =
    first.className === other.className ? '' : `, as \`${first.className}\` and \`${other.className}\``;
  return `Leakage: the same image is in ${first.split} (${first.path}) and ${other.split} (${other.path})${classes}.`;
}
