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
}

/**
 * What a classifier got right, by scikit-learn's definitions (`precision_recall_fscore_support` with
 * `labels=range(classes)` and `zero_division=0`): a class that is in neither truth nor prediction scores 0 and
 * counts in the macro average.
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
  /** What a division by zero gives. */
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

/** The metrics of counts. Without samples all shares are 0. */
export function scoreCounts(counts: ClassificationCounts): ClassificationMetrics {
  const size = counts.classes.length;
  const confusionMatrix = Array.from({ length: size }, (_, row) =>
    Array.from(counts.confusion.subarray(row * size, (row + 1) * size)),
  );
  const support = confusionMatrix.map(sum);
  const predicted = counts.classes.map((_, column) => sum(confusionMatrix.map((row) => row[column] ?? 0)));
  const hits = confusionMatrix.map((row, index) => row[index] ?? 0);
  const perClass = counts.classes.map((name, index) => ({
    class: name,
    ...score(hits[index] ?? 0, predicted[index] ?? 0, support[index] ?? 0),
    support: support[index] ?? 0,
  }));
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
    zeroDivision: 0,
  };
}

function score(hits: number, predicted: number, support: number): Scores {
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

function divide(numerator: number, denominator: number): number {
  return denominator === 0 ? 0 : numerator / denominator;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
