import { z } from 'zod';
import { writeAtomically } from './atomic-file.js';
import { cardFile } from './card.js';
import { invalidType, TorchgraftError } from './errors.js';
import { buildGroups } from './fine-tune/groups.js';
import { checkLbfgs, checkLbfgsModel } from './lbfgs.js';
import type { Loan } from './loan.js';
import type { Model } from './model.js';
import type { EvaluateResult, NativeGroup, Plan, Precision, StepResult, Tensor } from './native.js';
import { callNative } from './native-call.js';
import { checkOptions, innerOptions } from './options.js';
import { TrainerPlan } from './trainer-plan.js';
import { type LossOption, lossOption, type OptimizerOption, optimizerOption } from './training-options.js';

/** Options of createTrainer; all may be left out. */
export interface TrainerOptions {
  /**
   * Default `adamw`. With `lbfgs` a step is up to `maxIterations` (20) of it on the samples given, in eval mode and from a
   * fresh history; give it all there are.
   */
  optimizer?: OptimizerOption;
  /** For all that learns. Default by optimizer: AdamW and Adam 1e-4, SGD 1e-3, RMSprop 1e-5, L-BFGS 1. */
  learningRate?: number;
  /** Learning rates by pattern; of several that match, the last counts. */
  learningRates?: Record<string, number>;
  /** Default 0.01 for AdamW, else 0. */
  weightDecay?: number;
  /** Whether weight decay applies to parameters of one dimension too. Default false. */
  decayNormAndBias?: boolean;
  /** Default `crossEntropy`. */
  loss?: LossOption;
  /**
   * GroupDRO (Sagawa et al. 2020): each step's batch has `groups`, from 0 to this `groups` - 1, and the loss is the sum of
   * q_g times the mean loss of group g, q_g growing by exp(`stepSize` x loss). `stepSize`: default 0.01. Not with `lbfgs`.
   */
  groupDro?: { groups: number; stepSize?: number };
  /** Largest 2-norm of the gradient. Default: no clipping. */
  clipNorm?: number;
  /** Batches whose gradients are averaged before an optimizer step. Default 1. */
  accumulate?: number;
  /** Weight of the loss of each auxiliary output. Default 0.4, as Inception. */
  auxiliaryWeight?: number;
  /** Of dropout. Default 0. */
  seed?: number;
  /**
   * Of activations and of the weights of what is frozen; what learns and the loss stay float32. Default `auto`: where
   * something is frozen, bfloat16 if the device has it natively and a short trial on the first batch shows that it is
   * faster; else float32.
   */
  precision?: Precision | 'auto';
  /** False runs the model as it was loaded, frozen layers included. Default true. */
  split?: boolean;
}

const schema = z.strictObject({
  optimizer: optimizerOption.prefault('adamw'),
  learningRate: z.number().gt(0).optional(),
  learningRates: z.record(z.string(), z.number().min(0)).default({}),
  weightDecay: z.number().min(0).optional(),
  decayNormAndBias: z.boolean().default(false),
  loss: lossOption.prefault('crossEntropy'),
  groupDro: innerOptions({
    groups: z.int().min(1).max(1_000_000),
    stepSize: z.number().gt(0).max(1000).default(0.01),
  }).optional(),
  clipNorm: z.number().gt(0).default(0),
  accumulate: z.int().min(1).max(1024).default(1),
  auxiliaryWeight: z.number().min(0).default(0.4),
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
  precision: z.enum(['auto', 'float32', 'bfloat16', 'float16']).default('auto'),
  split: z.boolean().default(true),
});

/** One batch of plain tensors. */
export interface TrainerBatch {
  /** One tensor for each argument of the model's forward. */
  inputs: Tensor[];
  /**
   * int64 or int32 class indices [n]; shares of the classes, float32 [n, classes] whose rows sum to 1, with `crossEntropy`
   * and `focal`; or values of the output's shape, for example float32 [n, classes] of 0 and 1 for
   * multi-label training with `bceWithLogits`.
   */
  target: Tensor;
  /** Of each sample's loss [n], 0 or more: the loss is sum w l / sum w. Default: all alike. */
  weights?: Float32Array;
  /** Group of each sample [n]; with option `groupDro` only, and then needed. */
  groups?: Int32Array;
  /** Factor on every learning rate in this step, for schedules. Default 1. */
  factor?: number;
  /** Ends an accumulation early, as at the end of an epoch. Default false. */
  flush?: boolean;
}

/**
 * Training step by step, on any tensors: for loops of your own, other inputs than images, several labels a sample,
 * regression. {@link fineTune} is the loop for folders of images.
 *
 * What learns is what is not frozen when a step is made. Where something is frozen, the first step splits the model and
 * proves on its batch that outputs and gradients stay the same: what is frozen then runs compiled and without gradients,
 * as in fineTune; see {@link Trainer.plan}. Making a trainer for a model ends the one before, and so does whatever else trains
 * or probes that model.
 *
 * @throws INVALID_TYPE, INVALID_VALUE, PATTERN_UNMATCHED, SOURCE_INVALID, BUSY, DISPOSED
 */
export async function createTrainer(model: Model, options: TrainerOptions = {}): Promise<Trainer> {
  if (typeof model?.replaceHead !== 'function')
    throw invalidType('createTrainer: expected a Model from loadModel.');
  const checked = checkOptions(schema, options, 'createTrainer');
  checkLbfgs(checked, 'createTrainer');
  const { optimizer, loss, clipNorm, accumulate, auxiliaryWeight, seed, precision, split } = checked;
  const weightDecay = checked.weightDecay ?? (optimizer.kind === 'adamw' ? 0.01 : 0);
  const summary = await model.summary();
  checkLbfgsModel(checked, summary, 'createTrainer');
  const groups = buildGroups(summary, [], { ...checked, weightDecay });
  await model.configure({
    ...{ optimizer, loss, clipNorm, accumulate, auxiliaryWeight, seed, groups },
    ...(checked.groupDro ? { groupDro: checked.groupDro } : {}),
    preprocess: null,
    augment: null,
  });
  const learnable = groups.reduce((sum, { parameters }) => sum + parameters.length, 0);
  const loan = model.lend('trainer');
  return new Trainer(loan, groups, new TrainerPlan(loan.model, { precision, split }, learnable));
}

/**
 * A model's optimizer and loss. One operation at a time; a second one is refused with BUSY, and so are calls of the model
 * meanwhile. Those that began before are waited for.
 */
export class Trainer {
  /** The model is the trainer's while it works on it. */
  readonly #loan: Loan;
  /** The model's, by number. */
  readonly #training: number;
  readonly #groups: NativeGroup[];
  readonly #plan: TrainerPlan;

  /** Use {@link createTrainer}. @internal */
  constructor(loan: Loan, groups: NativeGroup[], plan: TrainerPlan) {
    this.#loan = loan;
    this.#training = loan.model.trainings;
    this.#groups = groups;
    this.#plan = plan;
  }

  /**
   * How steps are computed: the cut, precision, and what was tried. Undefined before the first step, and while nothing is
   * frozen. It is made anew by the next step when the model was changed otherwise; where it fails, steps run the model as
   * it was loaded, and `reason` says why.
   */
  get plan(): Plan | undefined {
    return this.#plan.plan;
  }

  /**
   * Forward, loss, backward and, when an accumulation ends, the optimizer.
   *
   * @throws SHAPE_MISMATCH, MODEL_FAILED, NOT_TRAINABLE; INVALID_VALUE for shares that do not sum to 1; LOSS_NOT_FINITE, which leaves the weights as they were
   */
  async step(batch: TrainerBatch): Promise<StepResult> {
    const { inputs, target, weights, groups, factor = 1, flush = false } = batch;
    const weighing = { ...(weights ? { weights } : {}), ...(groups ? { groups } : {}) };
    const learningRates = this.#groups.map(({ learningRate }) => learningRate * factor);
    return this.#during(async ({ native }) => {
      await this.#plan.prepare({ inputs, target });
      const result = await callNative(() =>
        native.step({ inputs, target, ...weighing, learningRates, flush }),
      );
      this.#plan.settle();
      return result;
    });
  }

  /** Loss and logits of a batch in eval mode, without gradients. @throws SHAPE_MISMATCH, MODEL_FAILED */
  async evaluate({ inputs, target }: Pick<TrainerBatch, 'inputs' | 'target'>): Promise<EvaluateResult> {
    return this.#during(({ native }) => callNative(() => native.evaluate({ inputs, target })));
  }

  /** Keeps a copy of all weights and buffers. */
  async keepBest(): Promise<void> {
    await this.#during(({ native }) => callNative(() => native.keepBest()));
  }

  /** Puts the kept copy back. @throws NOT_TRAINABLE when none was kept */
  async restoreBest(): Promise<void> {
    await this.#during(({ native }) => callNative(() => native.restoreBest()));
    this.#plan.forget();
  }

  /** Writes weights, optimizer, step count and kept weights into one file, atomically. */
  async saveCheckpoint(path: string): Promise<void> {
    const text = this.#plan.saved();
    const extra: Record<string, string> = text ? { [cardFile]: text } : {};
    await this.#during(({ native }) =>
      writeAtomically(path, (temporary) => callNative(() => native.saveCheckpoint(temporary, extra))),
    );
  }

  /** Goes on from a checkpoint of the same model and optimizer. @throws CHECKPOINT_INVALID; nothing is changed then */
  async loadCheckpoint(path: string): Promise<void> {
    const extra = await this.#during(({ native }) => callNative(() => native.loadCheckpoint(path)));
    this.#plan.restore(extra[cardFile]);
  }

  #during<T>(work: (model: Model) => Promise<T>): Promise<T> {
    return this.#loan.during(async (model) => {
      if (model.trainings === this.#training) return work(model);
      throw new TorchgraftError(
        'NOT_TRAINABLE',
        'This trainer has ended: another one, a fine-tuning or a probe of the model has begun since. Make a new one with createTrainer.',
      );
    });
  }
}
