import { concatenate } from './concatenate.js';
import type { SkippedImage } from './data/loader.js';
import type { SourceBatch } from './fine-tune/source.js';

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

/** Gathers what a model says of each image, batch by batch. */
export class OutcomeCollector {
  readonly #classes: readonly string[];
  readonly #batches: { logits: Float32Array; labels: Int32Array; paths: string[] }[] = [];
  readonly #maxBytes: number;
  #bytes = 0;

  /** @param maxBytes most memory for logits: beyond it nothing is kept, and `outcomes` gives undefined */
  constructor(classes: readonly string[], maxBytes = Number.POSITIVE_INFINITY) {
    this.#classes = classes;
    this.#maxBytes = maxBytes;
  }

  /** Keeps the logits [n, classes] of a batch, and copies of its labels and paths, whose arrays are used again. */
  add({ labels, paths }: Pick<SourceBatch, 'labels' | 'paths'>, logits: Float32Array): void {
    this.#bytes += logits.byteLength;
    if (this.#bytes > this.#maxBytes) this.#batches.length = 0;
    else this.#batches.push({ logits, labels: labels.slice(), paths: [...paths] });
  }

  outcomes(skipped: SkippedImage[]): Outcomes | undefined {
    if (this.#bytes > this.#maxBytes) return undefined;
    const size = this.#classes.length;
    return {
      classes: [...this.#classes],
      probabilities: softmax(concatenate(this.#batches.map(({ logits }) => logits)), size),
      labels: Int32Array.from(this.#batches.flatMap(({ labels }) => [...labels])),
      paths: this.#batches.flatMap(({ paths }) => paths),
      skipped,
    };
  }
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
