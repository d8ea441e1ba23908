import { createHash } from 'node:crypto';
import { readFile as readFileCallback, stat as statCallback } from 'node:fs';
import { promisify } from 'node:util';
import { TorchgraftError } from '../errors.js';
import type { FoundSample } from './dataset.js';

// Several times cheaper per file than node:fs/promises, which counts at 100,000 files.
const readFile = promisify(readFileCallback);
const stat = promisify(statCallback);

/** Files open at a time: enough to keep libuv's four threads busy. */
const filesAtOnce = 16;

/** Leaks told one by one; the rest are only counted. */
const named = 10;

/**
 * Finds images that are in two splits byte for byte: what is measured on them is memory, not skill. Only files that
 * share their size with a file of another split are read.
 *
 * @returns one sentence per pair, and each sample's size in bytes
 * @throws TorchgraftError `FILE_NOT_FOUND` for a sample whose file is missing
 */
export async function findLeaks(found: FoundSample[]): Promise<{ leaks: string[]; sizes: number[] }> {
  const sizes = await measure(found);
  const suspects = acrossSplits(found, (_, index) => sizes[index] as number).flat();
  const digests = await digest(suspects.map((index) => (found[index] as FoundSample).path));
  const bySample = new Map(suspects.map((index, i) => [index, digests[i] as string]));
  const groups = acrossSplits(found, (_, index) => bySample.get(index));
  const pairs = groups.map((group) => describe(group.map((index) => found[index] as FoundSample)));
  const leaks = pairs.slice(0, named);
  if (pairs.length > named) leaks.push(`Leakage: ${pairs.length - named} more images are in two splits.`);
  return { leaks, sizes };
}

/** Groups sample indices by key and keeps the groups that reach over more than one split. */
function acrossSplits<K>(
  found: FoundSample[],
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

function measure(found: FoundSample[]): Promise<number[]> {
  return forEachFile(found, async ({ path, name }) => {
    try {
      return (await stat(path)).size;
    } catch (cause) {
      throw new TorchgraftError('FILE_NOT_FOUND', `No image at ${path} (listed as ${name}).`, { cause });
    }
  });
}

function digest(paths: string[]): Promise<string[]> {
  return forEachFile(paths, async (path) =>
    createHash('sha256')
      .update(await readFile(path))
      .digest('hex'),
  );
}

async function forEachFile<T, R>(items: T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results = new Array<R>(items.length);
  // An error that leaves one of the loops ends a generator for all of them.
  const remaining = eachOf(items);
  const worker = async () => {
    for (const [index, item] of remaining) results[index] = await work(item);
  };
  await Promise.all(Array.from({ length: filesAtOnce }, worker));
  return results;
}

function* eachOf<T>(list: readonly T[]): Generator<[number, T]> {
  yield* list.entries();
}
