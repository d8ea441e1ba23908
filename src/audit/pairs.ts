import { setImmediate } from 'node:timers/promises';
import type { SplitName } from '../data/dataset.js';
import { throwIfAborted } from '../errors.js';
import { bestLikeness, type Placement } from './alignment.js';
import { GreyImage, type Window, whole } from './grey-image.js';
import { HashIndex } from './hamming.js';
import { detailOf, likeness, sides } from './likeness.js';
import { type HashedWindow, side, type Thumbnail } from './thumbnail.js';

/** Milliseconds of comparing after which what else the process does has its turn. */
const longestTurn = 10;
/** Likeness from which moving the window is worth the time. */
const promising = 0.3;
/** Placements of a pair that are tried so, the most alike. */
const mostTried = 3;
/** What is kept to be compared again: details of 2 kB each, and grey images of 19 kB. */
const mostDetails = 20_000;
const mostGrey = 2_500;

/** Two images of different splits, by their places in the list. */
export interface Pair {
  first: number;
  second: number;
  /** Correlation of their detail, to 1, where the one fits the other best. */
  likeness: number;
  /** The second is the first mirrored, left to right. */
  mirrored: boolean;
}

/** What is compared. */
export type Compared = Thumbnail & { split: SplitName };

/**
 * Pairs of different splits whose hashes are within `bits` and whose detail is alike to `least` or more, each once. A copy that
 * is mirrored, or that only a part of the image fits, has to be more alike, by a third of what is left to 1: that many places
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
    const candidates = new Map<number, Placement[]>();
    const search = (index: WindowIndex, own: HashedWindow, mirrored: boolean) =>
      index.search(own, mirrored, bits, (first, window) => {
        if (first >= second || images[first]?.split === image.split) return;
        const placement = { first: window, second: own.window, mirrored };
        const known = candidates.get(first);
        if (known) known.push(placement);
        else candidates.set(first, [placement]);
      });
    for (const mirrored of [false, true]) {
      for (const own of image.plain) search(all, own, mirrored);
      for (const own of image.crops) search(plain, own, mirrored);
    }
    if (turn.isOver) await turn.next();
    for (const [first, placements] of candidates) {
      const pair = comparison.compare(first, second, placements, least);
      if (pair) pairs.push(pair);
      if (turn.isOver) await turn.next();
    }
  }
  return pairs;
}

/** Windows of images by their hashes. */
class WindowIndex {
  readonly #index: HashIndex;
  readonly #image: number[] = [];
  readonly #window: Window[] = [];

  constructor(images: readonly Compared[], withCrops: boolean) {
    const hashes: number[] = [];
    for (const [at, { plain, crops }] of images.entries()) {
      for (const { hash, window } of withCrops ? [...plain, ...crops] : plain) {
        hashes.push(...hash);
        this.#image.push(at);
        this.#window.push(window);
      }
    }
    this.#index = new HashIndex(Uint32Array.from(hashes, (value) => value >>> 0));
  }

  search(
    { hash, mirrored }: HashedWindow,
    isMirrored: boolean,
    bits: number,
    found: (image: number, window: Window) => void,
  ): void {
    const query = Uint32Array.from(isMirrored ? mirrored : hash, (value) => value >>> 0);
    this.#index.search(query, bits, (at) => found(this.#image[at] as number, this.#window[at] as Window));
  }
}

/** Compares images where their hashes say that they may be alike. */
class Comparison {
  readonly #images: readonly Compared[];
  readonly #grey = new Map<number, GreyImage>();
  /** Of the windows of each image, coarse. */
  readonly #details = new Map<string, Float32Array>();

  constructor(images: readonly Compared[]) {
    this.#images = images;
  }

  compare(first: number, second: number, placements: readonly Placement[], least: number): Pair | undefined {
    const ranked = placements
      .map((placement) => ({ placement, likeness: this.#coarseLikeness(first, second, placement) }))
      .filter(({ likeness }) => likeness >= promising)
      .sort((a, b) => b.likeness - a.likeness);
    let best: Pair = { first, second, likeness: 0, mirrored: false };
    for (const { placement } of ranked.slice(0, mostTried)) {
      const images = [this.#greyOf(first), this.#greyOf(second)] as const;
      if (isPlain(placement)) {
        const found = likeness(detailOf(images[0], whole, false), detailOf(images[1], whole, false));
        if (found >= least) return { ...best, likeness: found };
      }
      const fitted = bestLikeness(...images, placement);
      if (fitted > best.likeness) best = { first, second, likeness: fitted, mirrored: placement.mirrored };
    }
    return best.likeness >= least + (1 - least) / 3 ? best : undefined;
  }

  #coarseLikeness(first: number, second: number, placement: Placement): number {
    return likeness(
      this.#detail(first, placement.first, false),
      this.#detail(second, placement.second, placement.mirrored),
    );
  }

  #detail(at: number, window: Window, mirrored: boolean): Float32Array {
    return kept(this.#details, `${at} ${window} ${mirrored}`, mostDetails, () =>
      detailOf(this.#greyOf(at), window, mirrored, sides.coarse),
    );
  }

  #greyOf(at: number): GreyImage {
    const make = () => new GreyImage((this.#images[at] as Compared).grey, side);
    return kept(this.#grey, at, mostGrey, make);
  }
}

/** The value of a key, made where there is none; all are let go when there are too many. */
function kept<K, V>(values: Map<K, V>, key: K, most: number, make: () => V): V {
  const known = values.get(key);
  if (known !== undefined) return known;
  if (values.size >= most) values.clear();
  const made = make();
  values.set(key, made);
  return made;
}

function isPlain({ first, second, mirrored }: Placement): boolean {
  return !mirrored && first === whole && second === whole;
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
