/** What of a confusion matrix the scores of agreement need: samples by class. */
export interface Margins {
  /** Rightly predicted, the diagonal. */
  hits: ArrayLike<number>;
  /** Predicted, the sums of the columns. */
  predicted: ArrayLike<number>;
  /** True, the sums of the rows. */
  support: ArrayLike<number>;
}

/**
 * Of the samples that the indices name.
 *
 * @param outcomes true and predicted classes, each [n], 0 to `classes` - 1
 */
export function marginsOf(
  { labels, predicted }: { labels: ArrayLike<number>; predicted: ArrayLike<number> },
  indices: Int32Array,
  classes: number,
): Record<keyof Margins, Float64Array> {
  const margins = {
    hits: new Float64Array(classes),
    predicted: new Float64Array(classes),
    support: new Float64Array(classes),
  };
  for (const index of indices) {
    const label = labels[index] as number;
    const guess = predicted[index] as number;
    (margins.support[label] as number) += 1;
    (margins.predicted[guess] as number) += 1;
    if (label === guess) (margins.hits[label] as number) += 1;
  }
  return margins;
}

/** Share of the samples that are predicted rightly; 0 without samples. */
export function accuracyOf(margins: Margins): number {
  const { count, hits } = totals(margins);
  return count === 0 ? 0 : hits / count;
}

/** Mean F1 over all classes, those without samples and predictions as 0. */
export function macroF1Of({ hits, predicted, support }: Margins): number {
  let sum = 0;
  for (let index = 0; index < support.length; index++) {
    const both = at(predicted, index) + at(support, index);
    if (both > 0) sum += (2 * at(hits, index)) / both;
  }
  return sum / support.length;
}

/** Mean recall over the classes that have samples; 0 without samples. */
export function balancedAccuracyOf({ hits, support }: Margins): number {
  let sum = 0;
  let present = 0;
  for (let index = 0; index < support.length; index++) {
    if (at(support, index) === 0) continue;
    sum += at(hits, index) / at(support, index);
    present += 1;
  }
  return present === 0 ? 0 : sum / present;
}

/**
 * Matthews correlation coefficient (Matthews 1975), for more than two classes Gorodkin's R_K (2004):
 * (c s - sum t p) / sqrt((s^2 - sum p^2) (s^2 - sum t^2)) with s samples, c right, t true and p predicted of each class.
 * 0 where that divides by zero, when all are of one class or all predicted as one.
 */
export function mccOf(margins: Margins): number {
  const { count, hits, products, predictedSquares, supportSquares } = totals(margins);
  const spread = Math.sqrt(count ** 2 - predictedSquares) * Math.sqrt(count ** 2 - supportSquares);
  return spread === 0 ? 0 : (hits * count - products) / spread;
}

/**
 * Cohen's kappa (Cohen 1960): (observed - expected) / (1 - expected) agreement, expected as by chance from the margins.
 * Null where chance alone would agree always: all samples are of one class, and predicted as it.
 */
export function kappaOf(margins: Margins): number | null {
  const { count, hits, products } = totals(margins);
  const disagreements = count ** 2 - products;
  return disagreements === 0 ? null : 1 - ((count - hits) * count) / disagreements;
}

function totals({ hits, predicted, support }: Margins) {
  const sums = { count: 0, hits: 0, products: 0, predictedSquares: 0, supportSquares: 0 };
  for (let index = 0; index < support.length; index++) {
    sums.count += at(support, index);
    sums.hits += at(hits, index);
    sums.products += at(support, index) * at(predicted, index);
    sums.predictedSquares += at(predicted, index) ** 2;
    sums.supportSquares += at(support, index) ** 2;
  }
  return sums;
}

function at(values: ArrayLike<number>, index: number): number {
  return values[index] as number;
}
