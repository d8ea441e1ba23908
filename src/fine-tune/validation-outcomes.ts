import type { SkippedImage } from '../data/loader.js';
import { OutcomeCollector, type Outcomes } from '../outcomes.js';
import type { EvidenceKeeper } from './evidence.js';
import type { SourceBatch } from './source.js';

/** Most memory for the logits of a validation pass; the last pass and the best are kept. */
const mostBytes = 64 * 2 ** 20;

interface Pass {
  collected: OutcomeCollector;
  skipped: SkippedImage[];
}

/** What the model says of the validation images in the last pass, and in the one whose weights are the best. */
export class ValidationOutcomes {
  /** For strategies that decide by it. */
  evidence: EvidenceKeeper | undefined;
  readonly #classes: readonly string[];
  #last: Pass | undefined;
  #best: Pass | undefined;

  constructor(classes: readonly string[]) {
    this.#classes = classes;
  }

  /** A pass begins. Returns what takes its batches, with logits [n, classes]. */
  begin(): (batch: SourceBatch, logits: Float32Array) => void {
    this.evidence?.begin();
    const collected = new OutcomeCollector(this.#classes, mostBytes);
    this.#last = { collected, skipped: [] };
    return (batch, logits) => {
      this.evidence?.add(batch, logits);
      collected.add(batch, logits);
    };
  }

  /** The pass is over. */
  end(skipped: SkippedImage[]): void {
    if (this.#last) this.#last.skipped = skipped;
  }

  /** The last pass was of the best weights so far. */
  keepBest(): void {
    this.evidence?.keepBest();
    this.#best = this.#last;
  }

  get best(): Outcomes | undefined {
    return this.#best?.collected.outcomes(this.#best.skipped);
  }
}
