import { invalidValue } from '../errors.js';
import { suggest } from '../options.js';
import { calibrationErrors, confidences, reliability, squaredErrors } from './calibration.js';
import { overall } from './classification.js';
import { areasUnder } from './curves.js';
import {
  accuracyOf,
  balancedAccuracyOf,
  kappaOf,
  type Margins,
  macroF1Of,
  marginsOf,
  mccOf,
} from './margins.js';
import { type ClassificationScores, oneVersusRest } from './scores.js';

/** A figure of some samples, named by their indices, which may repeat; null or NaN where it is undefined. */
export type Statistic = (indices: Int32Array) => number | null;

/** A metric that needs true and predicted classes alone. */
export type MarginName = 'accuracy' | 'macroF1' | 'balancedAccuracy' | 'mcc' | 'kappa';

/** A metric of `ClassificationMetrics` that can be computed of any choice of samples. */
export type StatisticName =
  | 'accuracy'
  | 'macroF1'
  | 'balancedAccuracy'
  | 'mcc'
  | 'kappa'
  | 'rocAuc'
  | 'prAuc'
  | 'ece'
  | 'mce'
  | 'brier'
  | 'nll';

const ofMargins: Record<MarginName, (margins: Margins) => number | null> = {
  accuracy: accuracyOf,
  macroF1: macroF1Of,
  balancedAccuracy: balancedAccuracyOf,
  mcc: mccOf,
  kappa: kappaOf,
};

const ofScores: Record<Exclude<StatisticName, MarginName>, (scores: ClassificationScores) => Statistic> = {
  rocAuc: (scores) => areaStatistic(scores, 'rocAuc'),
  prAuc: (scores) => areaStatistic(scores, 'prAuc'),
  ece: (scores) => reliabilityStatistic(scores, 'ece'),
  mce: (scores) => reliabilityStatistic(scores, 'mce'),
  brier: (scores) => meanStatistic(squaredErrors(scores)),
  nll: (scores) => meanStatistic(scores.nll),
};

/**
 * A metric as a function of which samples are taken, for `bootstrapInterval`, `bootstrapDifference` and slices of a data
 * set.
 *
 * @param scores of all samples, as `Classifier.evaluate` and `ClassificationMeter.scores` give them; at least one
 * @throws INVALID_VALUE for an unknown metric, and when there are no samples; the function when it is given no indices, or
 * one that is no sample's
 *
 * @example
 * const macroF1 = classificationStatistic('macroF1', scores);
 * macroF1(Int32Array.of(0, 1, 2)); // of the first three samples
 */
export function classificationStatistic(metric: StatisticName, scores: ClassificationScores): Statistic {
  const count = scores.labels.length;
  if (count === 0) throw invalidValue('classificationStatistic: there are no samples.');
  const statistic = statisticOf(metric, scores);
  return (indices) => {
    let wrong: number | undefined;
    for (const index of indices) if (index < 0 || index >= count) wrong = index;
    if (wrong !== undefined || indices.length === 0) {
      throw invalidValue(
        `${metric}: the indices name ${wrong === undefined ? 'no sample' : `sample ${wrong}`}; ` +
          `there are ${count}, from 0 to ${count - 1}.`,
      );
    }
    return statistic(indices);
  };
}

function statisticOf(metric: StatisticName, scores: ClassificationScores): Statistic {
  if (Object.hasOwn(ofMargins, metric)) {
    const classes = scores.probabilities.length / scores.labels.length;
    return predictionStatistic(metric as MarginName, scores, classes);
  }
  if (Object.hasOwn(ofScores, metric)) return ofScores[metric as keyof typeof ofScores](scores);
  const known = [...Object.keys(ofMargins), ...Object.keys(ofScores)];
  throw invalidValue(
    `classificationStatistic: unknown metric \`${metric}\`. ${suggest(String(metric), known)}`,
  );
}

/**
 * The same of true and predicted classes alone, each [n], 0 to `classes` - 1.
 *
 * @param classes how many there are
 */
export function predictionStatistic(
  metric: MarginName,
  outcomes: { labels: ArrayLike<number>; predicted: ArrayLike<number> },
  classes: number,
): Statistic {
  const figure = ofMargins[metric];
  return (indices) => figure(marginsOf(outcomes, indices, classes));
}

function areaStatistic(scores: ClassificationScores, area: 'rocAuc' | 'prAuc'): Statistic {
  const classes = scores.probabilities.length / scores.labels.length;
  const columns = Array.from({ length: classes }, (_, index) => oneVersusRest(scores, index));
  return (indices) => {
    const positives = new Uint8Array(indices.length);
    const chosen = new Float32Array(indices.length);
    const areas = columns.map((column) => {
      for (let i = 0; i < indices.length; i++) {
        chosen[i] = column.scores[indices[i] as number] as number;
        positives[i] = column.positives[indices[i] as number] as number;
      }
      return areasUnder(chosen, positives)[area];
    });
    return overall(areas);
  };
}

function reliabilityStatistic(scores: ClassificationScores, error: 'ece' | 'mce'): Statistic {
  const confidence = confidences(scores);
  const hits = Uint8Array.from(scores.labels, (label, sample) => Number(label === scores.predicted[sample]));
  return (indices) => calibrationErrors(reliability(confidence, hits, indices))[error];
}

function meanStatistic(values: Float64Array): Statistic {
  return (indices) => indices.reduce((sum, index) => sum + (values[index] as number), 0) / indices.length;
}
