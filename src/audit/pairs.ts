import { setImmediate } from 'node:timers/promises';
import type { SplitName } from '../data/dataset.js';
import { throwIfAborted } from '../errors.js';
import { HashIndex } from './hamming.js';
import { detailOf, likeness } from './likeness.js';
import type { Thumbnail } from './thumbnail.js';

/** Milliseconds of comparing after which what else the process does has its turn. */
const longestTurn = 10;

/** Two images of different splits, by their places in the list. */
export interface Pair {
  first: number;
  second: number;
  /** Correlation of their detail, to 1. */
  likeness: number;
}

/** What is compared. */
export type Compared = Thumbnail & { split: SplitName };

/**
 * Pairs of different splits whose hashes are within `bits` and whose detail is alike to `least` or more, each once.
 *
 * @param images split by split
 * @throws ABORTED
 */
export async function findPairs(
  images: readonly Compared[],
  { bits, least, signal }: { bits: number; least: number; signal?: AbortSignal | undefined },
): Promise<Pair[]> {
  const hashes = new Uint32Array(images.length * 2);
  for (const [at, { hash }] of images.entries()) hashes.set(hash, at * 2);
  const index = new HashIndex(hashes);
  const details = new Map<number, Float32Array>();
  const detailAt = (at: number) => {
    const detail = details.get(at) ?? detailOf((images[at] as Compared).grey);
    details.set(at, detail);
    return detail;
  };
  const turn = new Turn(signal);
  const pairs: Pair[] = [];
  for (const [second, { split }] of images.entries()) {
    // None comes before the first split.
    if (split === images[0]?.split) continue;
    const near: number[] = [];
    index.search(hashes, second, bits, (first) => {
      if (first < second && images[first]?.split !== split) near.push(first);
    });
    if (turn.isOver) await turn.next();
    for (const first of near) {
      const alike = likeness(detailAt(first), detailAt(second));
      if (alike >= least) pairs.push({ first, second, likeness: alike });
      if (turn.isOver) await turn.next();
    }
  }
  return pairs;
}

/** A long computation's turn at the event loop. */
class Turn {
  readonly #signal: AbortSignal | undefined;
  #began = performance.now();

  constructor(signal: AbortSignal | undefined) {
    this.#signal = signal;
  }

  get isOver(): boolean {
    return performance.now() - this.#began >= longestTurn;
  }

  /** Lets all else that waits go first. @throws ABORTED */
  async next(): Promise<void> {
    await setImmediate();
    throwIfAborted(this.#signal);
    this.#began = performance.now();
  }
}
