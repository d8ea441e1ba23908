import { bootstrapDifference } from '../metrics/bootstrap.js';
import { predictionStatistic } from '../metrics/statistics.js';

/** What the probes are compared by. */
export type ProbeMetric = 'accuracy' | 'macroF1';

/** A difference of a metric and its 95 % percentile interval. */
export interface Difference {
  /** First minus second. */
  value: number;
  low: number;
  high: number;
}

/** Two classifiers' predictions for the same images, class indices [n]. */
export interface PairedPredictions {
  first: Int32Array;
  second: Int32Array;
  labels: Int32Array;
  /** Number of classes. */
  classes: number;
}

/**
 * The difference of a metric between two classifiers with a 95 % interval by the paired bootstrap, within the true
 * classes. It says what other validation images might have shown, not other training images.
 */
export function pairedDifference(pair: PairedPredictions, metric: ProbeMetric, seed: number): Difference {
  const { first, second, labels, classes } = pair;
  const of = (predicted: Int32Array) => predictionStatistic(metric, { labels, predicted }, classes);
  const options = { seed, strata: labels, resamples: 2000 };
  const { difference, low, high } = bootstrapDifference(labels.length, of(first), of(second), options);
  // Accuracy and macro F1 are defined of any samples.
  return { value: difference as number, low: low as number, high: high as number };
}
