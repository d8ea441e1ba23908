import { type Calibration, calibrationOf } from './calibration.js';
import { type Confusion, countConfusions, withMatrix } from './confusions.js';
import { type Areas, areasOfClasses } from './curves.js';
import { balancedAccuracyOf, kappaOf, mccOf } from './margins.js';
import type { ClassificationScores } from './scores.js';

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
  /**
   * Samples by true class (row) and predicted class (column). Of more than 100 classes it is made anew each time it is
   * asked for, and is no part of JSON or a copy: `confusions` is.
   */
  confusionMatrix: number[][];
  /** Of more than 100 classes: the cells of the matrix that are not 0, as [true class, predicted class, samples]. */
  confusions?: [truth: number, predicted: number, count: number][];
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

/** What the scores are computed from beside what was said of each sample. */
export interface ClassificationCounts {
  classes: readonly string[];
  loss: number;
  k: number;
  inTopK: number;
}

/** The metrics of at least one sample. */
export function scoreCounts(
  counts: ClassificationCounts,
  scores: ClassificationScores,
): ClassificationMetrics {
  const { classes } = counts;
  const confusions = countConfusions(scores, classes.length);
  const { hits, predicted, support } = marginsOf(confusions, classes.length);
  const areas = areasOfClasses(scores, classes.length);
  const perClass = classes.map((name, index) => ({
    class: name,
    ...score(hits[index] ?? 0, predicted[index] ?? 0, support[index] ?? 0),
    support: support[index] ?? 0,
    ...(areas[index] as Areas),
  }));
  const margins = { hits, predicted, support };
  const count = sum(support);
  const allHits = sum(hits);
  const metrics = {
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
    balancedAccuracy: balancedAccuracyOf(margins),
    mcc: mccOf(margins),
    kappa: kappaOf(margins),
    rocAuc: overall(perClass.map((entry) => entry.rocAuc)),
    prAuc: overall(perClass.map((entry) => entry.prAuc)),
    calibration: calibrationOf(scores),
    zeroDivision: 0 as const,
  };
  return withMatrix(metrics, confusions, classes.length);
}

function marginsOf(confusions: readonly Confusion[], classes: number) {
  const [hits, predicted, support] = Array.from({ length: 3 }, () => new Array<number>(classes).fill(0)) as [
    number[],
    number[],
    number[],
  ];
  for (const [row, column, count] of confusions) {
    support[row] = (support[row] as number) + count;
    predicted[column] = (predicted[column] as number) + count;
    if (row === column) hits[row] = count;
  }
  return { hits, predicted, support };
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
