import type { SplitName } from '../data/dataset.js';
import { type Candidate, Comparison, type Pair } from './comparison.js';
import type { HashedWindow, Thumbnail } from './thumbnail.js';
import { Turn } from './turn.js';
import { WindowIndex } from './window-index.js';

/** What is compared. */
export type Compared = Thumbnail & { split: SplitName };

/**
 * Pairs of different splits whose hashes are within `bits` and whose detail is alike to `least` or more, each once. A copy that
 * is mirrored, or that only a part of the image fits, has to be more alike, by half of what is left to 1: so many places
 * are tried that one may fit by chance.
 *
 * @param images split by split
 * @throws ABORTED
 */
export async function findPairs(
  images: readonly Compared[],
  { bits, least, signal }: { bits: number; least: number; signal?: AbortSignal | undefined },
): Promise<Pair[]> {
  const [plain, all] = [false, true].map((withCrops) => new WindowIndex(images, withCrops)) as [
    WindowIndex,
    WindowIndex,
  ];
  const comparison = new Comparison(images);
  const turn = new Turn(signal);
  const pairs: Pair[] = [];
  for (const [second, image] of images.entries()) {
    // None comes before the first split.
    if (image.split === images[0]?.split) continue;
    const candidates = new Map<number, Candidate[]>();
    const search = (index: WindowIndex, own: HashedWindow, mirrored: boolean) =>
      index.search(own, mirrored, bits, (first, window) => {
        if (first >= second || images[first]?.split === image.split) return;
        const candidate = { first: window, second: own, mirrored };
        const known = candidates.get(first);
        if (known) known.push(candidate);
        else candidates.set(first, [candidate]);
      });
    for (const mirrored of [false, true]) {
      for (const own of image.plain) search(all, own, mirrored);
      for (const own of image.crops) search(plain, own, mirrored);
    }
    if (turn.isOver) await turn.next();
    for (const [first, own] of candidates) {
      const pair = comparison.compare(first, second, own, least);
      if (pair) pairs.push(pair);
      if (turn.isOver) await turn.next();
    }
  }
  return pairs;
}
