import type { ClassificationScores } from './scores.js';

/** Bins of the reliability curve, as in Guo et al. 2017. */
const binCount = 15;

/** One bin of the reliability curve. */
export interface ReliabilityBin {
  /** Confidences above `low`, up to and including `high`. */
  low: number;
  high: number;
  /** Samples in it. */
  count: number;
  /** Mean probability of the predicted class; null for an empty bin. */
  confidence: number | null;
  /** Share of the samples that are predicted rightly; null for an empty bin. */
  accuracy: number | null;
}

/**
 * Whether probabilities mean what they say. Smaller is better.
 *
 * The confidence of a sample is the probability of its predicted class. Guo, Pleiss, Sun and Weinberger, "On Calibration
 * of Modern Neural Networks" (2017): 15 bins of equal width, each without its lower edge and with its upper one.
 */
export interface Calibration {
  /** Expected calibration error: the mean of |accuracy - confidence| over the bins, weighted by their samples. */
  ece: number;
  /** Maximum calibration error: the largest |accuracy - confidence| of a bin. */
  mce: number;
  /**
   * Mean squared error of the probabilities (Brier 1950): with two classes of the second one's probability, 0 to 1; else
   * summed over the classes, 0 to 2. scikit-learn's `brier_score_loss`.
   */
  brier: number;
  /** Mean negative log-likelihood of the true class, in nats; scikit-learn's `log_loss`, without its clipping. */
  nll: number;
  /** The reliability curve, by rising confidence. */
  bins: ReliabilityBin[];
}

/** The calibration of at least one sample. */
export function calibrationOf(scores: ClassificationScores): Calibration {
  const confidence = confidences(scores);
  const hits = Uint8Array.from(scores.labels, (label, sample) => Number(label === scores.predicted[sample]));
  const bins = reliability(confidence, hits);
  return {
    ...calibrationErrors(bins),
    brier: mean(squaredErrors(scores)),
    nll: mean(scores.nll),
    bins,
  };
}

/** [n], probability of the predicted class. */
export function confidences({
  labels,
  predicted,
  probabilities,
}: Pick<ClassificationScores, 'labels' | 'predicted' | 'probabilities'>): Float32Array {
  const classes = probabilities.length / labels.length;
  return Float32Array.from(predicted, (index, sample) => probabilities[sample * classes + index] as number);
}

/**
 * The reliability curve of confidences [n] and whether each was right [n].
 *
 * @param indices the samples to take, all unless given
 */
export function reliability(
  confidence: Float32Array,
  hits: Uint8Array,
  indices?: Int32Array,
): ReliabilityBin[] {
  const counts = new Float64Array(binCount);
  const sums = new Float64Array(binCount);
  const right = new Float64Array(binCount);
  for (let i = 0; i < (indices ?? hits).length; i++) {
    const sample = indices ? (indices[i] as number) : i;
    const value = confidence[sample] as number;
    // A float32 times 15 is exact in double precision, so an edge is always in the bin below it.
    const bin = Math.max(0, Math.ceil(value * binCount) - 1);
    counts[bin] = (counts[bin] as number) + 1;
    sums[bin] = (sums[bin] as number) + value;
    right[bin] = (right[bin] as number) + (hits[sample] as number);
  }
  return Array.from(counts, (count, bin) => ({
    low: bin / binCount,
    high: (bin + 1) / binCount,
    count,
    confidence: count === 0 ? null : (sums[bin] as number) / count,
    accuracy: count === 0 ? null : (right[bin] as number) / count,
  }));
}

/** Mean and largest distance of a reliability curve from the diagonal. */
export function calibrationErrors(bins: readonly ReliabilityBin[]): { ece: number; mce: number } {
  let total = 0;
  let weighted = 0;
  let mce = 0;
  for (const { count, confidence, accuracy } of bins) {
    const gap = Math.abs((accuracy ?? 0) - (confidence ?? 0));
    total += count;
    weighted += count * gap;
    mce = Math.max(mce, gap);
  }
  return { ece: weighted / total, mce };
}

/** [n], what each sample adds to the Brier score. */
export function squaredErrors({ labels, probabilities }: ClassificationScores): Float64Array {
  const classes = probabilities.length / labels.length;
  const first = classes === 2 ? 1 : 0;
  return Float64Array.from(labels, (label, sample) => {
    let sum = 0;
    for (let index = first; index < classes; index++) {
      sum += ((probabilities[sample * classes + index] as number) - Number(index === label)) ** 2;
    }
    return sum;
  });
}

function mean(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0) / values.length;
}
