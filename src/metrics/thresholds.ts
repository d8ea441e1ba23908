import { z } from 'zod';
import { invalidType, invalidValue } from '../errors.js';
import { checkOptions } from '../options.js';
import { checkBinary } from './scores.js';

const share = z.number().gt(0).max(1);
const wantedSchema = z.strictObject({ recall: share.optional(), precision: share.optional() });

/** What a threshold shall reach: either of the two, above 0 and at most 1. */
export interface WantedAtThreshold {
  /** Share of the positive samples that it shall find. */
  recall?: number;
  /** Share of what it finds that shall be positive. */
  precision?: number;
}

/** A threshold and what it gives on the samples that it was chosen on. */
export interface TunedThreshold {
  /** A sample counts as positive from this score on. */
  threshold: number;
  recall: number;
  precision: number;
  /** Whether the wanted recall or precision is reached. If not, this is the threshold that comes nearest. */
  reached: boolean;
}

/**
 * The best threshold of one class's score: of those that reach the wanted recall the one with the highest precision, or
 * the other way round; of equal ones the highest. Every score that occurs is tried, as in scikit-learn's
 * `precision_recall_curve`.
 *
 * A threshold looks better on the samples that it was chosen on than on others: choose it on the validation split, judge
 * it on the test split.
 *
 * @param scores [n], finite, for example probabilities of the class; `oneVersusRest` makes them of an evaluation
 * @param positives [n], 1 for samples of the class and 0 for others; at least one 1
 * @throws INVALID_TYPE, SHAPE_MISMATCH, INVALID_VALUE, also when no sample is positive, which leaves no recall to reach
 *
 * @example
 * const { scores } = await classifier.evaluate(data);
 * const crack = oneVersusRest(scores, classifier.classes.indexOf('crack'));
 * const { threshold, precision, reached } = tuneThreshold(crack.scores, crack.positives, { recall: 0.99 });
 */
export function tuneThreshold(
  scores: Float32Array,
  positives: Uint8Array,
  wanted: WantedAtThreshold,
): TunedThreshold {
  const { recall, precision } = checkOptions(wantedSchema, wanted, 'tuneThreshold');
  if ((recall === undefined) === (precision === undefined)) {
    throw invalidType('tuneThreshold: give either `recall` or `precision`, for example { recall: 0.95 }.');
  }
  checkBinary(scores, positives, 'tuneThreshold');
  if (!positives.includes(1)) {
    throw invalidValue(
      'tuneThreshold: no sample is positive, so there is no recall. Add samples of the class.',
    );
  }
  const [name, other] =
    recall === undefined ? (['precision', 'recall'] as const) : (['recall', 'precision'] as const);
  const least = recall ?? precision ?? 0;
  const points = operatingPoints(scores, positives);
  const reaching = points.filter((point) => point[name] >= least);
  if (reaching.length > 0) return { ...best(reaching, other, name), reached: true };
  return { ...best(points, name, other), reached: false };
}

type Point = Omit<TunedThreshold, 'reached'>;

/** One for each score that occurs, by falling threshold. */
function operatingPoints(scores: Float32Array, positives: Uint8Array): Point[] {
  const order = Array.from(scores.keys()).sort((a, b) => (scores[b] as number) - (scores[a] as number));
  const all = positives.reduce((sum, positive) => sum + positive, 0);
  const points: Point[] = [];
  let hits = 0;
  for (const [rank, sample] of order.entries()) {
    const threshold = scores[sample] as number;
    hits += positives[sample] as number;
    const next = order[rank + 1];
    if (next !== undefined && scores[next] === threshold) continue;
    points.push({ threshold, recall: hits / all, precision: hits / (rank + 1) });
  }
  return points;
}

/** The point with the largest value, of equal ones that with the larger second value, then the first. */
function best(points: readonly Point[], by: 'recall' | 'precision', then: 'recall' | 'precision'): Point {
  return points.reduce((most, point) => {
    const gain = point[by] - most[by] || point[then] - most[then];
    return gain > 0 ? point : most;
  });
}
