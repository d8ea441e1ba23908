import { type ClassificationScores, checkBinary } from './scores.js';

/**
 * Area under the ROC curve: how probably a random positive scores higher than a random negative, equal scores counting
 * one half (Hanley and McNeil 1982); scikit-learn's `roc_auc_score`.
 *
 * @param scores [n], finite; larger means more probably positive
 * @param positives [n], 1 for positive samples and 0 for others
 * @returns 0 to 1, or null where it is undefined: without a positive or without a negative sample
 * @throws INVALID_TYPE, SHAPE_MISMATCH, INVALID_VALUE
 *
 * @example
 * rocAuc(Float32Array.of(0.9, 0.4, 0.6), Uint8Array.of(1, 0, 0)); // 1
 */
export function rocAuc(scores: Float32Array, positives: Uint8Array): number | null {
  checkBinary(scores, positives, 'rocAuc');
  return areasUnder(scores, positives).rocAuc;
}

/**
 * Average precision, the area under the precision-recall curve as a sum of steps: the precision at each score times the
 * recall gained there. No interpolation, which is too optimistic (Davis and Goadrich 2006); scikit-learn's
 * `average_precision_score`.
 *
 * @param scores [n], finite; larger means more probably positive
 * @param positives [n], 1 for positive samples and 0 for others
 * @returns 0 to 1, 1 without a negative sample; null without a positive one, where it is undefined
 * @throws INVALID_TYPE, SHAPE_MISMATCH, INVALID_VALUE
 *
 * @example
 * averagePrecision(Float32Array.of(0.9, 0.4, 0.6), Uint8Array.of(1, 1, 0)); // 0.5 * 1 + 0.5 * 2 / 3
 */
export function averagePrecision(scores: Float32Array, positives: Uint8Array): number | null {
  checkBinary(scores, positives, 'averagePrecision');
  return areasUnder(scores, positives).prAuc;
}

/** The areas under the ROC and the precision-recall curve; null where one is undefined. */
export interface Areas {
  rocAuc: number | null;
  prAuc: number | null;
}

/** Both areas, of arrays that are known to be right. */
export function areasUnder(scores: Float32Array, positives: Uint8Array): Areas {
  const own = scores.filter((_, sample) => positives[sample] === 1).sort();
  const counts = new NegativeCounts(own);
  for (let sample = 0; sample < scores.length; sample++) {
    if (positives[sample] === 0) counts.add(scores[sample] as number);
  }
  return counts.areas();
}

/** Columns that are read together, a cache line of float32. */
const block = 16;

/** Both areas of each class against all others: a pass over the probabilities, however many classes there are. */
export function areasOfClasses({ labels, probabilities }: ClassificationScores, classes: number): Areas[] {
  const samplesOf = Array.from({ length: classes }, (): number[] => []);
  for (const [sample, label] of labels.entries()) (samplesOf[label] as number[]).push(sample);
  const counts = samplesOf.map((samples, index) => {
    const own = Float32Array.from(samples, (sample) => probabilities[sample * classes + index] as number);
    return new NegativeCounts(own.sort());
  });
  for (let from = 0; from < classes; from += block) {
    const to = Math.min(from + block, classes);
    for (let sample = 0; sample < labels.length; sample++) {
      for (let index = from; index < to; index++) {
        if (labels[sample] === index) continue;
        (counts[index] as NegativeCounts).add(probabilities[sample * classes + index] as number);
      }
    }
  }
  return counts.map((one) => one.areas());
}

/**
 * Counts negative samples by where their scores lie among those of the positive ones, which is all that the areas depend
 * on. Samples of one score count together: their order among themselves says nothing.
 */
class NegativeCounts {
  /** Of the positive samples: each score once, rising, and how many have it. */
  readonly #scores: number[] = [];
  readonly #positives: number[] = [];
  /** Negative samples below the first, between the first and the second, and so on, and with each score. */
  readonly #between: Float64Array;
  readonly #tied: Float64Array;

  /** @param sorted scores of the positive samples, rising */
  constructor(sorted: Float32Array) {
    for (const score of sorted) {
      const last = this.#scores.length - 1;
      if (last >= 0 && this.#scores[last] === score)
        this.#positives[last] = (this.#positives[last] as number) + 1;
      else {
        this.#scores.push(score);
        this.#positives.push(1);
      }
    }
    this.#between = new Float64Array(this.#scores.length + 1);
    this.#tied = new Float64Array(this.#scores.length);
  }

  add(score: number): void {
    const scores = this.#scores;
    let low = 0;
    for (let high = scores.length; low < high; ) {
      const middle = (low + high) >>> 1;
      if ((scores[middle] as number) < score) low = middle + 1;
      else high = middle;
    }
    const counts = low < scores.length && scores[low] === score ? this.#tied : this.#between;
    counts[low] = (counts[low] as number) + 1;
  }

  areas(): Areas {
    let hits = 0;
    let taken = 0;
    let wins = 0;
    let precisions = 0;
    for (let at = this.#scores.length; at >= 0; at--) {
      const above = this.#between[at] as number;
      taken += above;
      wins += above * hits;
      if (at === 0) break;
      const [tied, tiedHits] = [this.#tied[at - 1] as number, this.#positives[at - 1] as number];
      wins += tied * (hits + tiedHits / 2);
      hits += tiedHits;
      taken += tied + tiedHits;
      precisions += tiedHits * (hits / taken);
    }
    const negatives = taken - hits;
    return {
      rocAuc: hits === 0 || negatives === 0 ? null : wins / hits / negatives,
      prAuc: hits === 0 ? null : precisions / hits,
    };
  }
}
