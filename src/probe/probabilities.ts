/** Smallest probability that enters a logarithm, as in scikit-learn's log_loss for float32. */
const smallest = 2 ** -23;

/** Softmax of each row of scores [n, classes] times `scale`. */
export function softmaxRows(scores: Float32Array, classes: number, scale = 1): Float32Array {
  const probabilities = new Float32Array(scores.length);
  for (let from = 0; from < scores.length; from += classes) {
    let largest = Number.NEGATIVE_INFINITY;
    for (let i = 0; i < classes; i++) largest = Math.max(largest, scores[from + i] as number);
    let total = 0;
    for (let i = 0; i < classes; i++) total += Math.exp(scale * ((scores[from + i] as number) - largest));
    for (let i = 0; i < classes; i++) {
      probabilities[from + i] = Math.exp(scale * ((scores[from + i] as number) - largest)) / total;
    }
  }
  return probabilities;
}

/** Logarithms of probabilities, 0 as 2^-23: finite logits whose softmax is the probabilities again. */
export function logitsOf(probabilities: Float32Array): Float32Array {
  return probabilities.map((value) => Math.log(Math.max(value, smallest)));
}

/** Mean negative logarithm of the true class's probability; probabilities [n, classes], labels [n]. */
export function logLoss(probabilities: Float32Array, labels: Int32Array, classes: number): number {
  return lossesOf(probabilities, labels, classes).reduce((sum, loss) => sum + loss, 0) / labels.length;
}

/** Negative logarithm of the true class's probability for each row, [n]. */
export function lossesOf(probabilities: Float32Array, labels: Int32Array, classes: number): Float64Array {
  return Float64Array.from(
    labels,
    (label, row) => -Math.log(Math.max(probabilities[row * classes + label] as number, smallest)),
  );
}

/**
 * The factor on scores [n, classes] whose softmax has the lowest log loss: temperature scaling (Guo et al., On
 * Calibration of Modern Neural Networks, 2017). A golden-section search of its logarithm, from 1e-4 to 1e4.
 */
export function bestScale(scores: Float32Array, labels: Int32Array, classes: number): number {
  const lossAt = (power: number) => logLoss(softmaxRows(scores, classes, 10 ** power), labels, classes);
  const ratio = (Math.sqrt(5) - 1) / 2;
  let [low, high] = [-4, 4];
  let [left, right] = [high - ratio * (high - low), low + ratio * (high - low)];
  let [leftLoss, rightLoss] = [lossAt(left), lossAt(right)];
  while (high - low > 0.01) {
    if (leftLoss < rightLoss) {
      [high, right, rightLoss] = [right, left, leftLoss];
      left = high - ratio * (high - low);
      leftLoss = lossAt(left);
    } else {
      [low, left, leftLoss] = [left, right, rightLoss];
      right = low + ratio * (high - low);
      rightLoss = lossAt(right);
    }
  }
  return 10 ** ((low + high) / 2);
}
