/** How much of the source task a model still can; of logits of the source head on its trunk. */
export interface RetentionPoint {
  /** Share of the retained images whose largest output is the label, 0 to 1. */
  agreement: number;
  /** Mean Kullback-Leibler divergence KL(source || now) of the outputs' softmax, in nats; 0 where nothing has changed. */
  divergence: number;
}

/** What fine-tuning did to the source task. Plain JSON. */
export interface RetentionReport {
  /** Images that could be read. */
  images: number;
  /** `source`: the labels are what the source model said of the images, so that `before.agreement` is 1. */
  labels: 'given' | 'source';
  before: RetentionPoint;
  after: RetentionPoint;
}

/**
 * @param logits of the source head, [n, classes]
 * @param labels class indices [n]
 * @param source log-probabilities of the source model, [n, classes]
 */
export function retentionOf(
  logits: readonly Float32Array[],
  labels: ArrayLike<number>,
  source: readonly Float32Array[],
): RetentionPoint {
  let hits = 0;
  let divergence = 0;
  for (const [row, now] of logits.entries()) {
    const said = source[row] as Float32Array;
    const says = logSoftmax(now);
    if (largestOf(now) === labels[row]) hits += 1;
    divergence += said.reduce((sum, value, i) => sum + Math.exp(value) * (value - (says[i] as number)), 0);
  }
  const count = Math.max(1, logits.length);
  return { agreement: hits / count, divergence: Math.max(0, divergence / count) };
}

/** Index of the largest value, the first of several. */
export function largestOf(values: Float32Array): number {
  let largest = 0;
  for (let i = 1; i < values.length; i++)
    if ((values[i] as number) > (values[largest] as number)) largest = i;
  return largest;
}

export function logSoftmax(logits: Float32Array): Float32Array {
  const largest = logits.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  const sum = logits.reduce((total, value) => total + Math.exp(value - largest), 0);
  const shift = largest + Math.log(sum);
  return logits.map((value) => value - shift);
}
