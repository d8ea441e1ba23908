import { z } from 'zod';
import { messageOf } from './errors.js';
import type { Model } from './model.js';
import type { NativeBatch, NativePlanRequest, Plan, Precision } from './native.js';
import { callNative } from './native-call.js';

/** What a trainer's checkpoint says beside weights and optimizer. */
const savedSchema = z.object({
  checkpoint: z.object({ precision: z.enum(['float32', 'bfloat16', 'float16']) }),
});

/**
 * How a trainer's steps are computed: planned on the first batch, and anew when the model was changed other than by
 * steps.
 */
export class TrainerPlan {
  readonly #model: Model;
  readonly #split: boolean;
  /** Parameters that could learn. */
  readonly #learnable: number;
  #precision: Precision | 'auto';
  #plan: Plan | undefined;
  /** The model's, when it was planned. */
  #revision: number | undefined;
  #failure: unknown;

  constructor(model: Model, request: NativePlanRequest, learnable: number) {
    this.#model = model;
    this.#precision = request.precision;
    this.#split = request.split;
    this.#learnable = learnable;
  }

  get plan(): Plan | undefined {
    return this.#plan;
  }

  /** Before a step. A plan that fails is no reason not to take the step: it says itself what is wrong with a batch. */
  async prepare(batch: NativeBatch): Promise<void> {
    this.#failure = undefined;
    if (!this.#isDue()) return;
    try {
      const request = { precision: this.#precision, split: this.#split };
      const plan = await callNative(() => this.#model.native.plan(batch, request));
      this.#settle(plan);
      // A later plan keeps what `auto` came to, so that the numbers stay what they were.
      this.#precision = plan.precision;
    } catch (error) {
      // Refused within an accumulation: the next batch will do.
      if ((error as { code?: unknown }).code !== 'INVALID_VALUE') this.#failure = error;
    }
  }

  /** After a step that was taken: where only the plan had failed, it would fail with the next batch too. */
  settle(): void {
    if (this.#failure) this.#settle(unplanned(this.#failure));
  }

  /** Values were put back, after which no plan holds. */
  forget(): void {
    this.#revision = undefined;
  }

  /** For a checkpoint. */
  saved(): string | undefined {
    return this.#plan && JSON.stringify({ checkpoint: { precision: this.#plan.precision } });
  }

  /** From a checkpoint; a resumed training computes in the precision that it began with. */
  restore(text: string | undefined): void {
    this.forget();
    try {
      this.#precision = savedSchema.parse(JSON.parse(text ?? '')).checkpoint.precision;
    } catch {
      // Of a training that was not planned.
    }
  }

  #settle(plan: Plan): void {
    this.#plan = plan;
    this.#revision = this.#model.revision;
  }

  #isDue(): boolean {
    if (this.#revision === this.#model.revision) return false;
    const isLower = this.#precision === 'bfloat16' || this.#precision === 'float16';
    return this.#plan !== undefined || isLower || this.#model.trainable.length < this.#learnable;
  }
}

function unplanned(error: unknown): Plan {
  const why = messageOf(error);
  return {
    remembered: false,
    split: false,
    reason: `it could not be planned: ${why}`,
    variant: 'unsplit',
    precision: 'float32',
    precisionReason: 'an unsplit model runs in float32',
    ...{ prefixLayers: [], suffixLayers: [], crossings: [], trials: [] },
    ...{ cacheable: false, prefixFlops: 0, totalFlops: 0, key: '' },
  };
}
