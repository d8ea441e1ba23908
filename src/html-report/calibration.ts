/** Images whose predicted class was given about the same probability. */
export interface CalibrationBin {
  /** Probability of the predicted class, above `low` and up to `high`. */
  low: number;
  high: number;
  count: number;
  /** Mean probability of the predicted class; 0 where there are no images. */
  confidence: number;
  /** Share of them that is right; 0 where there are no images. */
  accuracy: number;
}

/** How far a classifier's probabilities can be believed. */
export interface Calibration {
  bins: CalibrationBin[];
  /** Expected calibration error: |confidence - accuracy| of the bins, weighted by their images; 0 to 1. */
  expectedError: number;
  /** Mean probability of the predicted classes, 0 to 1. */
  confidence: number;
}

/**
 * Calibration of the predicted class in bins of equal width (Guo et al. 2017).
 *
 * @param probabilities row-major [n, classes]
 * @param labels true classes, [n]
 */
export function calibrate(
  probabilities: Float32Array,
  labels: Int32Array,
  classes: number,
  binCount = 10,
): Calibration {
  const bins = Array.from({ length: binCount }, (_, i) => ({
    ...{ low: i / binCount, high: (i + 1) / binCount },
    ...{ count: 0, confidence: 0, accuracy: 0 },
  }));
  let total = 0;
  for (const [row, label] of labels.entries()) {
    const predicted = argmax(probabilities.subarray(row * classes, (row + 1) * classes));
    const probability = probabilities[row * classes + predicted] as number;
    const bin = bins[Math.min(binCount - 1, Math.max(0, Math.ceil(probability * binCount) - 1))];
    if (!bin) continue;
    bin.count++;
    bin.confidence += probability;
    bin.accuracy += Number(predicted === label);
    total += probability;
  }
  let expectedError = 0;
  for (const bin of bins) {
    if (bin.count === 0) continue;
    bin.confidence /= bin.count;
    bin.accuracy /= bin.count;
    expectedError += (bin.count / labels.length) * Math.abs(bin.confidence - bin.accuracy);
  }
  return { bins, expectedError, confidence: labels.length > 0 ? total / labels.length : 0 };
}

/** The first of the largest. */
export function argmax(row: Float32Array): number {
  return row.reduce((best, value, index) => (value > (row[best] as number) ? index : best), 0);
}
