import { checkBinary } from './scores.js';

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

/**
 * Both areas, of arrays that are known to be right. Samples of one score count together: their order among themselves
 * says nothing.
 */
export function areasUnder(
  scores: Float32Array,
  positives: Uint8Array,
): { rocAuc: number | null; prAuc: number | null } {
  const keys = sortKeys(scores, positives);
  let hits = 0;
  let taken = 0;
  let wins = 0;
  let precisions = 0;
  for (let end = keys.length; end > 0; ) {
    const score = Math.floor((keys[end - 1] as number) / 2);
    let tied = 0;
    let tiedHits = 0;
    for (; end > 0 && Math.floor((keys[end - 1] as number) / 2) === score; end--) {
      tied += 1;
      tiedHits += (keys[end - 1] as number) % 2;
    }
    wins += (tied - tiedHits) * (hits + tiedHits / 2);
    hits += tiedHits;
    taken += tied;
    precisions += tiedHits * (hits / taken);
  }
  const negatives = taken - hits;
  return {
    rocAuc: hits === 0 || negatives === 0 ? null : wins / hits / negatives,
    prAuc: hits === 0 ? null : precisions / hits,
  };
}

/**
 * Score and truth in one integer that sorts as the score does: a typed array of numbers is sorted many times as fast as
 * indices by a comparison of ours. The bits of a float32, read as an integer, rise with it where it is positive, and fall
 * where it is negative.
 */
function sortKeys(scores: Float32Array, positives: Uint8Array): Float64Array {
  // The sum makes 0 of -0, which is equal to it.
  const bits = new Uint32Array(scores.map((score) => score + 0).buffer);
  const keys = new Float64Array(bits.length);
  for (let index = 0; index < bits.length; index++) {
    const value = bits[index] as number;
    const rising = value >>> 31 ? ~value >>> 0 : value + 2 ** 31;
    keys[index] = rising * 2 + (positives[index] as number);
  }
  return keys.sort();
}
