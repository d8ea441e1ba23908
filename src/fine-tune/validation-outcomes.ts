import type { ImageDataset } from '../data/dataset.js';
import type { SkippedImage } from '../data/loader.js';
import { taskOf } from '../data/task.js';
import type { NamedMetrics } from '../metrics/names.js';
import { OutcomeCollector, type Outcomes } from '../outcomes.js';
import type { EvidenceKeeper } from './evidence.js';
import { type CheckedGroups, GroupAccuracy } from './group-training.js';
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
  /** Outcomes are of images with one class. */
  readonly #isKept: boolean;
  readonly #groups: GroupAccuracy | undefined;
  #last: Pass | undefined;
  #best: Pass | undefined;

  constructor({ classes, splits, task }: ImageDataset, groups: CheckedGroups | undefined) {
    this.#classes = classes;
    this.#isKept = taskOf({ task }) === 'single-label';
    this.#groups = groups && new GroupAccuracy(splits.val, groups.slice);
  }

  /** A pass begins. Returns what takes its batches, with logits [n, classes]. */
  begin(): (batch: SourceBatch, logits: Float32Array) => void {
    this.evidence?.begin();
    this.#groups?.begin();
    const collected = new OutcomeCollector(this.#classes, this.#isKept ? mostBytes : 0);
    this.#last = { collected, skipped: [] };
    return (batch, logits) => {
      this.evidence?.add(batch, logits);
      this.#groups?.add(batch, logits);
      collected.add(batch, logits);
    };
  }

  /** The pass is over. Returns the metrics of groups. */
  end(skipped: SkippedImage[]): NamedMetrics {
    if (this.#last) this.#last.skipped = skipped;
    return this.#groups?.metrics() ?? {};
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
