import { types } from 'node:util';
import { invalidType, invalidValue, TorchgraftError } from '../errors.js';

/** How near a regression's predictions come to the truth. What is undefined is null. */
export interface RegressionMetrics {
  /** Samples. */
  count: number;
  /** Mean absolute error, in the target's unit. */
  mae: number;
  /** Root of the mean squared error, in the target's unit. */
  rmse: number;
  /** Median of the absolute errors, in the target's unit; of an even number the mean of the middle two. */
  medianAbsoluteError: number;
  /**
   * Coefficient of determination, 1 - (sum of squared errors) / (sum of squares about the targets' mean): at most 1, below
   * 0 where the mean would have been the better prediction. Of equal targets 1 if all predictions are exact, else 0, as
   * scikit-learn has it. Null for one sample.
   */
  r2: number | null;
  /** Pearson's correlation (1895), -1 to 1; null for one sample, and where predictions or targets are all equal. */
  pearson: number | null;
  /** Spearman's rank correlation (1904): Pearson's of the ranks, equal values sharing their mean rank; null likewise. */
  spearman: number | null;
}

/**
 * The metrics of a set of predicted numbers, in double precision; scikit-learn's `mean_absolute_error`,
 * `root_mean_squared_error`, `median_absolute_error` and `r2_score`, scipy's `pearsonr` and `spearmanr`. Of a model with
 * several outputs call it for each.
 *
 * @param predictions [n], finite
 * @param targets [n], finite
 * @throws INVALID_TYPE, SHAPE_MISMATCH, INVALID_VALUE for no samples and targets that are not finite, MODEL_FAILED for
 * predictions that are not
 *
 * @example
 * regressionMetrics([1, 2, 4], [1, 2, 3]).mae; // 0.333
 */
export function regressionMetrics(
  predictions: ArrayLike<number>,
  targets: ArrayLike<number>,
): RegressionMetrics {
  const predicted = toNumbers(predictions, 'predictions');
  const truth = toNumbers(targets, 'targets');
  check(predicted, truth);
  const errors = truth.map((value, index) => Math.abs(value - (predicted[index] as number)));
  return {
    count: truth.length,
    mae: mean(errors),
    rmse: Math.sqrt(mean(errors.map((error) => error * error))),
    medianAbsoluteError: median(errors),
    r2: determination(errors, truth),
    pearson: correlation(predicted, truth),
    spearman: correlation(ranks(predicted), ranks(truth)),
  };
}

function determination(errors: Float64Array, truth: Float64Array): number | null {
  if (truth.length < 2) return null;
  const missed = errors.reduce((sum, error) => sum + error * error, 0);
  if (isConstant(truth)) return missed === 0 ? 1 : 0;
  const spread = centred(truth).reduce((sum, value) => sum + value * value, 0);
  return 1 - missed / spread;
}

/** The cosine between the deviations from the means. */
function correlation(a: Float64Array, b: Float64Array): number | null {
  if (isConstant(a) || isConstant(b)) return null;
  const [x, y] = [scaled(centred(a)), scaled(centred(b))];
  const cosine = dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y));
  return Math.max(-1, Math.min(1, cosine));
}

/** Ranks from 1, equal values sharing the mean of theirs. */
function ranks(values: Float64Array): Float64Array {
  const order = Array.from(values.keys()).sort((a, b) => (values[a] as number) - (values[b] as number));
  const result = new Float64Array(values.length);
  for (let from = 0, to = 0; from < order.length; from = to) {
    const value = values[order[from] as number];
    while (to < order.length && values[order[to] as number] === value) to += 1;
    for (const index of order.slice(from, to)) result[index] = (from + 1 + to) / 2;
  }
  return result;
}

function median(values: Float64Array): number {
  const sorted = values.toSorted();
  const middle = sorted.length >> 1;
  const upper = sorted[middle] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] as number) + upper) / 2;
}

function mean(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function centred(values: Float64Array): Float64Array {
  const middle = mean(values);
  return values.map((value) => value - middle);
}

/** Between -1 and 1, so that the squares of very small and very large deviations do not vanish or overflow. */
function scaled(values: Float64Array): Float64Array {
  const largest = values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return values.map((value) => value / largest);
}

function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, value, index) => sum + value * (b[index] as number), 0);
}

// The mean of equal numbers may differ from them in the last digit, so deviations would not tell.
function isConstant(values: Float64Array): boolean {
  return values.every((value) => value === values[0]);
}

function toNumbers(values: ArrayLike<number>, name: string): Float64Array {
  const isList = Array.isArray(values) || (ArrayBuffer.isView(values) && !types.isDataView(values));
  if (!isList || Array.from(values as ArrayLike<unknown>).some((value) => typeof value !== 'number')) {
    throw invalidType(`regressionMetrics: \`${name}\` must be an array or typed array of numbers.`);
  }
  return Float64Array.from(values);
}

function check(predicted: Float64Array, truth: Float64Array): void {
  if (predicted.length !== truth.length) {
    throw new TorchgraftError(
      'SHAPE_MISMATCH',
      `regressionMetrics: there are ${predicted.length} predictions and ${truth.length} targets. Give one of each for a sample.`,
    );
  }
  if (truth.length === 0) throw invalidValue('regressionMetrics: there are no samples.');
  const target = truth.findIndex((value) => !Number.isFinite(value));
  if (target >= 0) {
    throw invalidValue(
      `regressionMetrics: the target of sample ${target} is ${truth[target]}; expected finite numbers.`,
    );
  }
  const prediction = predicted.findIndex((value) => !Number.isFinite(value));
  if (prediction >= 0) {
    throw new TorchgraftError(
      'MODEL_FAILED',
      `regressionMetrics: the prediction of sample ${prediction} is ${predicted[prediction]}; expected finite numbers. ` +
        'The weights may have diverged: try a lower learning rate.',
    );
  }
}
