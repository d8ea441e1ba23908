import { type Calibration, calibrationOf } from './calibration.js';
import { areasUnder } from './curves.js';
import { balancedAccuracyOf, kappaOf, mccOf } from './margins.js';
import { type ClassificationScores, oneVersusRest } from './scores.js';

/** Precision, recall and F1, each 0..1; 0 where the definition divides by zero. */
export interface Scores {
  precision: number;
  recall: number;
  f1: number;
}

export interface ClassScores extends Scores {
  class: string;
  /** Samples whose true class this is. */
  support: number;
  /** Area under the ROC curve of this class against all others; null where all or no samples are of it. */
  rocAuc: number | null;
  /** Average precision of this class against all others; null where no sample is of it. */
  prAuc: number | null;
}

/**
 * What a classifier got right, by scikit-learn's definitions (`precision_recall_fscore_support` with
 * `labels=range(classes)` and `zero_division=0`): a class that is in neither truth nor prediction scores 0 and
 * counts in the macro average. What is undefined is null.
 */
export interface ClassificationMetrics {
  /** Samples. */
  count: number;
  /** Mean of the batches' losses, weighted by their samples. */
  loss: number;
  /** Share of samples whose largest logit is the true class; of equal logits the first class is taken. */
  accuracy: number;
  /** Share of samples whose true class is among the k largest logits; of equal logits the first classes are. */
  topK: { k: number; accuracy: number };
  perClass: ClassScores[];
  /** Mean over the classes. */
  macro: Scores;
  /** Over all samples; with one class per sample all three equal the accuracy. */
  micro: Scores;
  /** Mean over the classes, weighted by support. */
  weighted: Scores;
  /** Samples by true class (row) and predicted class (column). */
  confusionMatrix: number[][];
  /** Mean recall over the classes that have samples. */
  balancedAccuracy: number;
  /** Matthews correlation coefficient, -1 to 1, of any number of classes; 0 where it is undefined. */
  mcc: number;
  /** Cohen's kappa, -1 to 1; null where all samples are of one class and predicted as it. */
  kappa: number | null;
  /**
   * Area under the ROC curve: with two classes of the second against the first; else the mean of each class against all
   * others, without the classes of which it is undefined. Null where it is undefined of all.
   */
  rocAuc: number | null;
  /** Average precision, the area under the precision-recall curve, likewise. */
  prAuc: number | null;
  /** Whether the probabilities mean what they say. */
  calibration: Calibration;
  /** What a division by zero gives in precision, recall and F1. */
  zeroDivision: 0;
}

/** What the scores are computed from; `confusion` is row-major [classes, classes], rows true. */
export interface ClassificationCounts {
  classes: readonly string[];
  confusion: Float64Array;
  loss: number;
  k: number;
  inTopK: number;
}

/** The metrics of at least one sample. */
export function scoreCounts(
  counts: ClassificationCounts,
  scores: ClassificationScores,
): ClassificationMetrics {
  const size = counts.classes.length;
  const confusionMatrix = Array.from({ length: size }, (_, row) =>
    Array.from(counts.confusion.subarray(row * size, (row + 1) * size)),
  );
  const support = confusionMatrix.map(sum);
  const predicted = counts.classes.map((_, column) => sum(confusionMatrix.map((row) => row[column] ?? 0)));
  const hits = confusionMatrix.map((row, index) => row[index] ?? 0);
  const perClass = counts.classes.map((name, index) => {
    const one = oneVersusRest(scores, index);
    return {
      class: name,
      ...score(hits[index] ?? 0, predicted[index] ?? 0, support[index] ?? 0),
      support: support[index] ?? 0,
      ...areasUnder(one.scores, one.positives),
    };
  });
  const margins = { hits, predicted, support };
  const count = sum(support);
  const allHits = sum(hits);
  return {
    count,
    loss: counts.loss,
    accuracy: divide(allHits, count),
    topK: { k: counts.k, accuracy: divide(counts.inTopK, count) },
    perClass,
    macro: average(
      perClass,
      perClass.map(() => 1),
    ),
    micro: score(allHits, count, count),
    weighted: average(perClass, support),
    confusionMatrix,
    balancedAccuracy: balancedAccuracyOf(margins),
    mcc: mccOf(margins),
    kappa: kappaOf(margins),
    rocAuc: overall(perClass.map((entry) => entry.rocAuc)),
    prAuc: overall(perClass.map((entry) => entry.prAuc)),
    calibration: calibrationOf(scores),
    zeroDivision: 0,
  };
}

/** Of two classes the second one's value, the positive class; else the mean of those that are defined. */
export function overall(perClass: readonly (number | null)[]): number | null {
  if (perClass.length === 2) return perClass[1] ?? null;
  return meanOfDefined(perClass);
}

/** The mean of what is not null; null where nothing is left. */
export function meanOfDefined(values: readonly (number | null)[]): number | null {
  const defined = values.filter((value) => value !== null);
  return defined.length === 0 ? null : mean(defined);
}

/** Precision, recall and F1 of so many rightly predicted, predicted and true. */
export function score(hits: number, predicted: number, support: number): Scores {
  return {
    precision: divide(hits, predicted),
    recall: divide(hits, support),
    f1: divide(2 * hits, predicted + support),
  };
}

function average(scores: readonly Scores[], weights: readonly number[]): Scores {
  const mean = (name: keyof Scores) =>
    divide(sum(scores.map((entry, index) => entry[name] * (weights[index] ?? 0))), sum(weights));
  return { precision: mean('precision'), recall: mean('recall'), f1: mean('f1') };
}

export function mean(values: readonly number[]): number {
  return sum(values) / values.length;
}

function divide(numerator: number, denominator: number): number {
  return denominator === 0 ? 0 : numerator / denominator;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
