/** How a pass is divided. */
export interface Batching {
  batchSize: number;
  /** A last batch of fewer samples joins the one before it. Default 1: none does. */
  least?: number;
}

/**
 * Fewest samples of a training batch: from one alone BatchNorm behind pooling has no variance to learn from. With a
 * `batchSize` of 1 each is alone, as was asked for.
 */
export const leastTrained = 2;

/** Batches of a pass over so many samples. */
export function batchCount(samples: number, { batchSize, least = 1 }: Batching): number {
  const count = Math.ceil(samples / batchSize);
  const last = samples - (count - 1) * batchSize;
  return count > 1 && last < Math.min(least, batchSize) ? count - 1 : count;
}

/** Positions of a batch's samples in the order of the pass: from the first, up to the second. */
export function batchBounds(number: number, samples: number, batching: Batching): [from: number, to: number] {
  const from = number * batching.batchSize;
  const isLast = number + 1 >= batchCount(samples, batching);
  return [from, isLast ? samples : from + batching.batchSize];
}

/** Samples of the largest batch. */
export function largestBatch(samples: number, { batchSize, least = 1 }: Batching): number {
  return Math.min(samples, batchSize + Math.min(least, batchSize) - 1);
}

/**
 * Whether what skipping left of a batch joins the one before it, by the images that both have. Of many such, no batch gets
 * much larger than twice its size.
 */
export function isJoined(before: number, now: number, { batchSize, least = 1 }: Batching): boolean {
  return Math.min(before, now) < least && before < 2 * batchSize;
}

/** A batch as it is trained on. */
export interface ReadableBatch {
  /** Its place in the whole pass, from 0; of joined ones the last's. */
  number: number;
  indices: Int32Array;
  /** Those of the order that were left out. */
  leftOut: Int32Array;
}

/** The batches of a pass, from one on, where it is known beforehand which samples can be read. */
export function* readableBatches(
  order: Int32Array,
  batching: Batching,
  firstBatch: number,
  isReadable: (index: number) => boolean,
): Generator<ReadableBatch, void, void> {
  let start = 0;
  let held: ReadableBatch | undefined;
  for (let number = firstBatch; number < batchCount(order.length, batching); number++) {
    const [from, to] = batchBounds(number, order.length, batching);
    const indices = order.subarray(from, to).filter(isReadable);
    const joins = held !== undefined && isJoined(held.indices.length, indices.length, batching);
    if (held && !joins) yield held;
    if (!joins) start = from;
    const all = order.subarray(start, to);
    const leftOut = all.filter((index) => !isReadable(index));
    held = { number, indices: all.filter(isReadable), leftOut };
  }
  if (held) yield held;
}
