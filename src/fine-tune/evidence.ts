import type { SourceBatch } from './source.js';
import type { Evidence, Predictions } from './strategies/stage.js';

const nothing = (): Predictions => ({ labels: [], predicted: [], losses: [] });

/** Collects what the model says of the validation images, for strategies that decide by it. */
export class EvidenceKeeper {
  #evidence: Evidence;
  #last: Predictions = nothing();

  constructor(evidence: Evidence = { before: null, best: null }) {
    this.#evidence = evidence;
  }

  get evidence(): Evidence {
    return this.#evidence;
  }

  /** A validation pass begins. */
  begin(): void {
    this.#last = nothing();
  }

  /** One of its batches: logits [n, classes]. */
  add({ labels }: SourceBatch, logits: Float32Array): void {
    const classes = logits.length / labels.length;
    for (const [row, label] of labels.entries()) {
      const scores = logits.subarray(row * classes, (row + 1) * classes);
      const largest = scores.reduce((most, score) => Math.max(most, score), Number.NEGATIVE_INFINITY);
      const sum = scores.reduce((total, score) => total + Math.exp(score - largest), 0);
      this.#last.labels.push(label);
      this.#last.predicted.push(scores.indexOf(largest));
      this.#last.losses.push(largest + Math.log(sum) - (scores[label] as number));
    }
  }

  /** The last pass was of the best weights so far. */
  keepBest(): void {
    this.#evidence = { ...this.#evidence, best: this.#last };
  }

  /** A stage begins. */
  beginStage(): void {
    this.#evidence = { ...this.#evidence, before: this.#evidence.best };
  }
}
