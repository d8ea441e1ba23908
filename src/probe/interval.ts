import { bootstrapDifference } from '../metrics/bootstrap.js';
import { predictionStatistic, type Statistic } from '../metrics/statistics.js';
import { lossesOf } from './probabilities.js';

/** What the probes are compared by. */
export type ProbeMetric = 'accuracy' | 'macroF1';

/** A difference of a metric and its 95 % percentile interval. */
export interface Difference {
  /** First minus second. */
  value: number;
  low: number;
  high: number;
}

/** What a classifier says of images. */
export interface Said {
  /** Class indices [n]. */
  predicted: Int32Array;
  /** [n, classes], row-major. */
  probabilities: Float32Array;
}

/** Two classifiers on the same images. */
export interface Pair {
  first: Said;
  second: Said;
  /** [n]. */
  labels: Int32Array;
  /** Number of classes. */
  classes: number;
}

/**
 * The difference of a metric between two classifiers with a 95 % interval by the paired bootstrap, within the true
 * classes. It says what other validation images might have shown, not other training images.
 */
export function pairedDifference(pair: Pair, metric: ProbeMetric, seed: number): Difference {
  const { first, second, labels, classes } = pair;
  const of = ({ predicted }: Said) => predictionStatistic(metric, { labels, predicted }, classes);
  return differenceOf(of(first), of(second), labels, seed);
}

/** The same of the log loss, in nats: below 0 the first is better. */
export function pairedLossDifference({ first, second, labels, classes }: Pair, seed: number): Difference {
  const of = ({ probabilities }: Said): Statistic => {
    const losses = lossesOf(probabilities, labels, classes);
    return (indices) => indices.reduce((sum, index) => sum + (losses[index] as number), 0) / indices.length;
  };
  return differenceOf(of(first), of(second), labels, seed);
}

/**
 * Whether these images could show by the metric that a perfect classifier is better than this one: what is left to it, by the
 * same bootstrap, is surely above 0. Where only a few images are wrong, it is not.
 */
export function hasRoom(
  said: Said,
  labels: Int32Array,
  classes: number,
  metric: ProbeMetric,
  seed: number,
): boolean {
  const perfect = { ...said, predicted: labels };
  return pairedDifference({ first: perfect, second: said, labels, classes }, metric, seed).low > 0;
}

function differenceOf(first: Statistic, second: Statistic, strata: Int32Array, seed: number): Difference {
  const options = { seed, strata, resamples: 2000 };
  const { difference, low, high } = bootstrapDifference(strata.length, first, second, options);
  // Accuracy, macro F1 and log loss are defined of any samples.
  return { value: difference as number, low: low as number, high: high as number };
}
