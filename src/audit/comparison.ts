import { bestLikeness } from './alignment.js';
import { GreyImage, whole } from './grey-image.js';
import { detailOf, likeness, sides } from './likeness.js';
import { type Hash, type HashedWindow, side, type Thumbnail } from './thumbnail.js';

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

/** Windows of two images that may show the same, the second mirrored or not. */
export interface Candidate {
  first: HashedWindow;
  second: HashedWindow;
  mirrored: boolean;
}

/** Compares images where their hashes say that they may be alike. */
export class Comparison {
  readonly #images: readonly Thumbnail[];
  readonly #grey = new Map<number, GreyImage>();
  /** Of windows, by their hashes, which are objects of their own: coarse. */
  readonly #details = new Map<Hash, Float32Array>();

  constructor(images: readonly Thumbnail[]) {
    this.#images = images;
  }

  /** The pair, where some of its candidates fits well enough. */
  compare(first: number, second: number, candidates: readonly Candidate[], least: number): Pair | undefined {
    const ranked = candidates
      .map((candidate) => ({ candidate, likeness: this.#coarseLikeness(first, second, candidate) }))
      .filter(({ likeness }) => likeness >= Math.min(promising, least))
      .sort((a, b) => b.likeness - a.likeness);
    let best: Pair = { first, second, likeness: 0, mirrored: false };
    if (ranked.some(({ candidate }) => isPlain(candidate))) {
      const plain = this.#wholeLikeness(first, second);
      if (plain >= least) return { ...best, likeness: plain };
    }
    for (const { candidate } of ranked.slice(0, mostTried)) {
      const { mirrored } = candidate;
      const windows = { first: candidate.first.window, second: candidate.second.window, mirrored };
      const fitted = bestLikeness(this.#greyOf(first), this.#greyOf(second), windows);
      if (fitted > best.likeness) best = { first, second, likeness: fitted, mirrored };
    }
    return best.likeness >= (1 + least) / 2 ? best : undefined;
  }

  #wholeLikeness(first: number, second: number): number {
    const [one, other] = [first, second].map((at) => detailOf(this.#greyOf(at), whole, false));
    return likeness(one as Float32Array, other as Float32Array);
  }

  #coarseLikeness(first: number, second: number, candidate: Candidate): number {
    return likeness(
      this.#detail(first, candidate.first, false),
      this.#detail(second, candidate.second, candidate.mirrored),
    );
  }

  #detail(at: number, { window, hash, mirrored }: HashedWindow, isMirrored: boolean): Float32Array {
    return kept(this.#details, isMirrored ? mirrored : hash, mostDetails, () =>
      detailOf(this.#greyOf(at), window, isMirrored, sides.coarse),
    );
  }

  #greyOf(at: number): GreyImage {
    const make = () => new GreyImage((this.#images[at] as Thumbnail).grey, side);
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

function isPlain({ first, second, mirrored }: Candidate): boolean {
  return !mirrored && first.window === whole && second.window === whole;
}
