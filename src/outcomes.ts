import type { SkippedImage } from './data/loader.js';
import { type Evaluation, evaluateSplit } from './fine-tune/epoch.js';

/** What a model says of each image of a split. */
export interface Outcomes {
  /** In the order of the columns. */
  classes: string[];
  /** Softmax of the logits, row-major [n, classes]. */
  probabilities: Float32Array;
  /** True classes, [n]. */
  labels: Int32Array;
  /** Files, [n]. */
  paths: string[];
  /** Images that could not be decoded and were left out. */
  skipped: SkippedImage[];
}

/** One pass over a split in eval mode, with every image's probabilities. */
export async function collectOutcomes(run: Omit<Evaluation, 'onLogits'>): Promise<Outcomes> {
  const size = run.classes.length;
  const rows: Float32Array[] = [];
  const labels: number[] = [];
  const paths: string[] = [];
  const { skipped } = await evaluateSplit({
    ...run,
    onLogits: (batch, logits) => {
      rows.push(softmax(logits, size));
      labels.push(...batch.labels);
      paths.push(...batch.paths);
    },
  });
  const probabilities = new Float32Array(labels.length * size);
  let at = 0;
  for (const row of rows) {
    probabilities.set(row, at);
    at += row.length;
  }
  return { classes: [...run.classes], probabilities, labels: Int32Array.from(labels), paths, skipped };
}

/** Softmax of each row of [n, size]. */
export function softmax(logits: Float32Array, size: number): Float32Array {
  const probabilities = new Float32Array(logits.length);
  for (let from = 0; from < logits.length; from += size) {
    const row = logits.subarray(from, from + size);
    const largest = row.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
    const weights = Float64Array.from(row, (value) => Math.exp(value - largest));
    const total = weights.reduce((sum, value) => sum + value, 0);
    probabilities.set(
      weights.map((value) => value / total),
      from,
    );
  }
  return probabilities;
}
