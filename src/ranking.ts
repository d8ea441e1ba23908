import type { ModelCard } from './card.js';
import { taskOf } from './data/task.js';

/** One class for one image. */
export interface ScoredClass {
  class: string;
  index: number;
  /** Softmax of the logits, of a multi-label model the sigmoid of its own, 0 to 1. */
  probability: number;
}

/** What the model says of one image. */
export interface Prediction {
  /** The most probable classes, best first; none of a regression. */
  top: ScoredClass[];
  /** The model's outputs, one for each class, before softmax or sigmoid. */
  logits: Float32Array;
  /** Of a multi-label model: all labels whose probability reaches the threshold, the most probable first. */
  labels?: ScoredClass[];
  /** Of a regression: the numbers by target. */
  values?: Record<string, number>;
}

/**
 * What the outputs of one image say, by the model's task.
 *
 * @param logits one for each class; kept in the result, not copied
 * @param options `top`: classes to give; `threshold`: probability from which on a multi-label model's label counts
 */
export function decode(
  logits: Float32Array,
  card: Pick<ModelCard, 'classes' | 'task'>,
  { top, threshold }: { top: number; threshold: number },
): Prediction {
  const { classes } = card;
  const task = taskOf(card);
  if (task === 'single-label') return rank(logits, classes, top);
  if (task === 'regression') {
    return {
      top: [],
      logits,
      values: Object.fromEntries(classes.map((name, at) => [name, logits[at] as number])),
    };
  }
  const scored = Array.from(selectLargest(logits, logits.length), (index) => ({
    class: classes[index] ?? String(index),
    index,
    // As the metrics have it.
    probability: Math.fround(1 / (1 + Math.exp(-(logits[index] as number)))),
  }));
  return {
    top: scored.slice(0, top),
    logits,
    labels: scored.filter(({ probability }) => probability >= threshold),
  };
}

/**
 * The `top` most probable classes of one image, best first; of equal ones the first in the model's order. Only these
 * are put in order: a server ranks thousands of images a second beside its other work.
 *
 * @param logits one for each class; kept in the result, not copied
 */
export function rank(logits: Float32Array, classes: readonly string[], top: number): Prediction {
  const order = selectLargest(logits, Math.min(top, logits.length));
  const largest = logits[order[0] as number] as number;
  let total = 0;
  for (let i = 0; i < logits.length; i++) total += Math.exp((logits[i] as number) - largest);
  const scored = Array.from(order, (index) => ({
    class: classes[index] ?? String(index),
    index,
    probability: Math.exp((logits[index] as number) - largest) / total,
  }));
  return { top: scored, logits };
}

/** Index of the largest value; of equal ones the first. */
export function argmax(values: Float32Array): number {
  return selectLargest(values, 1)[0] as number;
}

/** Indices of the `count` largest values, largest first. */
function selectLargest(values: Float32Array, count: number): Int32Array {
  const order = new Int32Array(count);
  let kept = 0;
  for (let index = 0; index < values.length; index++) {
    const value = values[index] as number;
    if (kept === count && !(value > (values[order[count - 1] as number] as number))) continue;
    let low = 0;
    for (let high = kept; low < high; ) {
      const middle = (low + high) >>> 1;
      if (value > (values[order[middle] as number] as number)) high = middle;
      else low = middle + 1;
    }
    order.copyWithin(low + 1, low, Math.min(kept, count - 1));
    order[low] = index;
    if (kept < count) kept++;
  }
  return order;
}
