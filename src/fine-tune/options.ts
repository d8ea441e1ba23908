import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { type AugmentOption, augmentOption } from '../augment-option.js';
import type { Preprocessing } from '../data/preprocessing.js';
import type { Task } from '../data/task.js';
import type { EarlyStoppingOptions } from '../early-stopping.js';
import { invalidValue } from '../errors.js';
import {
  checkForgetting,
  type DistillationOption,
  distillationOption,
  type RegularisationOption,
  type RetainOption,
  regularisationOption,
  retainOption,
} from '../forgetting/options.js';
import { type HeadForm, headShape } from '../head-options.js';
import { checkLbfgs } from '../lbfgs.js';
import { type LoraOptions, loraOptions } from '../lora/options.js';
import type { NativeLoss, Precision } from '../native.js';
import { checkOptions, innerOptions } from '../options.js';
import { checkSchedule, type Schedule, type ScheduleOptions } from '../schedule.js';
import { type LossOption, lossOption, type OptimizerOption, optimizerOption } from '../training-options.js';
import { callback, signalOption } from '../value-kinds.js';
import { checkAugmentation } from './augment-conflicts.js';
import type { CachePlace } from './features.js';
import { checkGroups, type GroupsOption, groupsOption } from './group-training.js';
import { type Licences, licencesOption } from './licences.js';
import { checkTask, taskDefaults } from './task-options.js';

/**
 * Which parameters learn, and when:
 * - `head`: the new head; `last:k`: the last k layers in forward order (the head counts); `full`: all
 * - `norm`, `bias`: the normalisation layers, or the biases, and the head
 * - `llrd`: all, each layer slower than the one above it
 * - `gradual`: the head first, then layer group by layer group from the top
 * - `lp-ft`: a linear probe, then everything from its head; `lp-ft:last:k` the last k layers, `lp-ft:llrd` with
 *   layer-wise decay
 * - `lora`: low-rank adapters of the frozen layers, and the head
 * - `auto`: a linear probe, and `lp-ft:llrd` from there where the validation images say that it is worth it
 */
export type Strategy =
  | 'auto'
  | 'head'
  | `last:${number}`
  | 'full'
  | 'norm'
  | 'bias'
  | 'llrd'
  | 'gradual'
  | 'lora'
  | 'lp-ft'
  | `lp-ft:last:${number}`
  | 'lp-ft:llrd';

/** What happens while an epoch runs; for progress displays. */
export interface BatchProgress {
  phase: 'train' | 'validate';
  epoch: number;
  /** Images done and images in all, in this phase. */
  done: number;
  total: number;
  /** Since this phase began with its first batch; of a resumed epoch those before it was stopped count too. */
  seconds: number;
  /** Mean training loss so far in this epoch; undefined while validating. */
  loss?: number;
  /** The stage's name. */
  stage: string;
  /** Epochs of the whole run, at most. */
  epochs: number;
}

/** Options of fineTune; all may be left out. */
export interface FineTuneOptions {
  /** Passes over the training images, at most; with `lp-ft` and `auto` those after the probe. Default 10. */
  epochs?: number;
  /** Images a batch. Default 32. */
  batchSize?: number;
  /** Default `auto`; `head` with L-BFGS. Of multi-label data and regressions `auto` is `lp-ft:llrd`. */
  strategy?: Strategy;
  /**
   * Learning rate of each layer over that of the one above it, with `llrd`, `last:k`, `full`, `gradual`, `lp-ft` and
   * `auto`. Default with `llrd`, `lp-ft:llrd` and `auto` 0.9, in networks with attention or LayerNorm 0.75 a block;
   * else 1.
   */
  layerDecay?: number;
  /** With `gradual`: epochs after which the next group of layers learns, or `plateau`: when an epoch is no better. Default 1. */
  unfreezeEvery?: number | 'plateau';
  /** With `gradual`: groups of layers, the head alone being the first. Default 4, or as many as there are. */
  stages?: number;
  /**
   * With `lp-ft` and `auto`: most epochs of the probe. Default 5, of up to 20 iterations of L-BFGS each; it ends when it
   * has converged.
   */
  probeEpochs?: number;
  /**
   * For everything that learns; with `llrd` for the top, with `lp-ft` and `auto` not for the probe. Default by
   * optimizer: AdamW and Adam 1e-3 for the head and 1e-4 below it, SGD 1e-2 and 1e-3, RMSprop 1e-4 and 1e-5, L-BFGS 1.
   * `lora` has the head's throughout, `llrd`, `lp-ft:llrd` and `auto` begin at it, `lp-ft` has the lower one throughout.
   */
  learningRate?: number;
  /** With `lora`: rank (8), alpha (2 * rank) and layers (all Linear and Conv2d) of the adapters. */
  lora?: LoraOptions;
  /** Learning rates by pattern (name, module, glob); of several that match, the last counts. */
  learningRates?: Record<string, number>;
  /**
   * Default `adamw`. `lbfgs` (strong-Wolfe line search) is for strategy `head` on kept features: an epoch is one step of
   * up to `maxIterations` (20) on all training images together, unaugmented, without dropout, from a fresh history.
   */
  optimizer?: OptimizerOption;
  /**
   * Default 0.01 for AdamW, else and with `l2-sp` 0. With L-BFGS an L2 term, weightDecay / 2 times the squared norm, beside the mean loss:
   * scikit-learn's C is 1 / (images * weightDecay).
   */
  weightDecay?: number;
  /** Whether weight decay applies to biases and normalisation layers too (all parameters of one dimension). Default false. */
  decayNormAndBias?: boolean;
  /** Default `cosine` with 5 % warm-up; `constant` with L-BFGS. */
  schedule?: ScheduleOptions;
  /** Default `crossEntropy`; of multi-label data `bceWithLogits`, of a regression `mse`. */
  loss?: LossOption;
  /** Largest 2-norm of the gradient. Default: no clipping, with `auto` 1. */
  clipNorm?: number;
  /** Batches whose gradients are averaged before an optimizer step. Default 1. */
  accumulate?: number;
  /** `none`, `light`, `default`, `strong`, or its parts. Default `default`. */
  augment?: AugmentOption;
  /**
   * `shuffle`: each training image once in an epoch. `balanced`: as many images, drawn with replacement so that all classes
   * are equally frequent on average (torch's WeightedRandomSampler with weights 1 / images of the class); a probe by L-BFGS
   * sees each image once all the same. Default `shuffle`.
   */
  sampler?: 'shuffle' | 'balanced';
  /** Parts that differ from 224 px, resize 256, centre crop, ImageNet's mean and std, bilinear. */
  preprocessing?: Partial<Preprocessing>;
  /** Hidden layers, dropout, kind and pooling of the new head. Default: one Linear (or 1x1 convolution). */
  head?: HeadForm;
  /** Groups by a slice of the data, whose worst is measured as `valWorstGroupAccuracy`; default none. {@link GroupsOption} */
  groups?: GroupsOption;
  /** Patterns to freeze in addition to what the strategy freezes. */
  freeze?: string[];
  /** BatchNorm of frozen layers keeps updating its statistics. Default false. */
  trainBatchNorm?: boolean;
  /**
   * Metric that picks the best epoch (epoch 0 included; of equal ones the lowest validation loss, then the last), and when
   * to stop. Default: `valMacroF1`, of multi-label data `valMeanAveragePrecision`, of a regression `valR2`; never stop.
   */
  earlyStopping?: EarlyStoppingOptions;
  /** Of order, augmentation, dropout and the head's initialisation. Default 0. */
  seed?: number;
  /** Images decoded at a time. Default: processors. */
  threads?: number;
  /**
   * Most memory for decoded images, in bytes, so that later epochs need not decode them again. Default: a quarter of
   * the free memory, at most 2 GiB; 0 keeps none.
   */
  decodedBytes?: number;
  /**
   * Of activations and of the weights of what is frozen; what learns and the loss stay float32. Default `auto`, in each
   * stage: bfloat16 where the device has it natively, what is frozen takes 100 million operations an image or more, and it
   * proves equal on the first images; else float32. No clock decides.
   */
  precision?: Precision | 'auto';
  /**
   * With augmentation: how many fixed views of each training image take turns, the unaugmented one first, so that what
   * is frozen computes each once; or `live`, a new one in each epoch. Default where the frozen part's outputs can be
   * kept: 1 for `head`, 4 for `last:k` (up to 1 GiB of them), else `live`. Mixup and cutmix are always live, so that all of
   * the network runs in each step; a probe by L-BFGS has one unaugmented view and no mixing.
   */
  views?: number | 'live';
  /** False runs the model as it was loaded, frozen layers included in each step. Default true. */
  split?: boolean;
  /**
   * Where outputs of what is frozen are kept: `disk` (shared with later runs), `memory`, or `none`: computed anew in each
   * pass. What is learned is the same. Default `disk`.
   */
  cache?: CachePlace;
  /**
   * `measure`: before training, the majority class, and on up to 400 + 400 images a linear probe of the model's frozen trunk
   * beside one of the same network untrained (transferCheck), for `result.baselines`; it warns where the pretrained weights
   * harm. Default `measure`; `none` saves a second or a few.
   */
  baselines?: 'measure' | 'none';
  /**
   * Images of the source task, a folder or more: how much of it the source's head can still do on the fine-tuned trunk is
   * measured before and after, as `retention`. Default: none.
   */
  retain?: string | RetainOption;
  /**
   * A penalty on moving away from the pretrained weights, in every stage but a probe's: `l2-sp` (Li et al. 2018; alpha 0.1
   * and beta 0.01, as its authors train; takes the place of weight decay) or `ewc` (Kirkpatrick et al. 2017; lambda 1000,
   * which they choose by task), which needs `retain`. Default: none.
   */
  regularisation?: RegularisationOption;
  /**
   * Learning without forgetting (Li and Hoiem 2016): the source's head is held to what the source says of the training
   * images, with their `weight` 1 and `temperature` 2. Until the loop has ended the model has both heads. Default: none.
   */
  distillation?: DistillationOption;
  /** Of the pretrained model and of the images, kept in the saved model and shown in the report. Default: none. */
  licences?: Licences;
  /** What to do with an image that cannot be decoded. Default `fail`. */
  unreadable?: 'fail' | 'skip';
  /**
   * File that receives a checkpoint before the first epoch, after each (after some, where an epoch is shorter than 19
   * times the writing), and when stopped by `signal`. Default: none.
   */
  checkpoint?: string;
  /** Go on from `checkpoint` if that file exists. Default false. */
  resume?: boolean;
  /** Stops within a batch with ABORTED; best weights are restored. */
  signal?: AbortSignal;
  /** Called after each batch; the next one waits for a promise that it returns, whose rejection ends the training. */
  onBatch?: (progress: BatchProgress) => unknown;
}

/** A strategy's name. */
export const strategyPattern = z
  .string()
  .regex(
    /^(auto|head|full|norm|bias|llrd|gradual|lora|last:[1-9]\d*|lp-ft(:(llrd|last:[1-9]\d*))?)$/,
    'expected head, last:K (for example last:2), full, norm, bias, llrd, gradual, lora, lp-ft, lp-ft:last:K, lp-ft:llrd or auto',
  );

const defaultStrategy: Strategy = 'auto';

const schema = z.strictObject({
  epochs: z.int().min(1).max(1_000_000).default(10),
  batchSize: z.int().min(1).max(65_536).default(32),
  strategy: strategyPattern.optional(),
  layerDecay: z.number().gt(0).max(1).optional(),
  unfreezeEvery: z
    .union(
      [z.int().min(1).max(1_000_000), z.literal('plateau')],
      'expected a whole number from 1, or plateau',
    )
    .optional(),
  stages: z.int().min(2).max(1000).optional(),
  probeEpochs: z.int().min(1).max(1_000_000).optional(),
  lora: loraOptions.optional(),
  learningRate: z.number().gt(0).optional(),
  learningRates: z.record(z.string(), z.number().min(0)).default({}),
  optimizer: optimizerOption.prefault('adamw'),
  weightDecay: z.number().min(0).optional(),
  decayNormAndBias: z.boolean().default(false),
  schedule: z.custom<ScheduleOptions>().optional(),
  loss: lossOption.optional(),
  clipNorm: z.number().gt(0).optional(),
  accumulate: z.int().min(1).max(1024).default(1),
  augment: augmentOption.prefault('default'),
  sampler: z.enum(['shuffle', 'balanced']).default('shuffle'),
  preprocessing: z
    .looseObject({})
    .transform((parts) => parts as Partial<Preprocessing>)
    .optional(),
  head: innerOptions(headShape).prefault({}),
  groups: groupsOption.optional(),
  freeze: z.array(z.string()).default([]),
  trainBatchNorm: z.boolean().default(false),
  earlyStopping: z.custom<EarlyStoppingOptions>().optional(),
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
  threads: z.int().min(1).max(1024).default(availableParallelism()),
  decodedBytes: z.int().min(0).optional(),
  precision: z.enum(['auto', 'float32', 'bfloat16', 'float16']).default('auto'),
  views: z
    .union([z.int().min(1).max(1024), z.literal('live')], 'expected a whole number from 1, or live')
    .optional(),
  split: z.boolean().default(true),
  cache: z.enum(['disk', 'memory', 'none']).default('disk'),
  baselines: z.enum(['measure', 'none']).default('measure'),
  retain: retainOption.optional(),
  regularisation: regularisationOption.optional(),
  distillation: distillationOption.optional(),
  licences: licencesOption.optional(),
  unreadable: z.enum(['fail', 'skip']).default('fail'),
  checkpoint: z.string().min(1).optional(),
  resume: z.boolean().default(false),
  signal: signalOption,
  onBatch: callback<(progress: BatchProgress) => unknown>(),
});

/** How each option is checked alone, by name. */
export const fineTuneShape: Readonly<Record<string, z.ZodType>> = schema.shape;

/** Options whose defaults depend on others, or on the data. */
type Filled = 'strategy' | 'schedule' | 'weightDecay' | 'loss' | 'earlyStopping';

/** FineTuneOptions, checked and with defaults. */
export type CheckedOptions = Omit<z.output<typeof schema>, Filled> & {
  strategy: string;
  loss: NativeLoss;
  earlyStopping: EarlyStoppingOptions;
  schedule: Schedule;
  weightDecay: number;
};

/** @param task of the data @throws INVALID_TYPE or INVALID_VALUE naming the option */
export function checkFineTuneOptions(options: FineTuneOptions, task: Task = 'single-label'): CheckedOptions {
  const given = checkOptions(schema, options, 'fineTune');
  const { loss, metric } = taskDefaults[task];
  const checked = { ...given, loss: given.loss ?? loss, earlyStopping: given.earlyStopping ?? { metric } };
  if (checked.resume && !checked.checkpoint) {
    throw invalidValue('fineTune: `resume` needs `checkpoint`, the file to go on from.');
  }
  const isLbfgs = checked.optimizer.kind === 'lbfgs';
  const schedule = checkSchedule(checked.schedule ?? (isLbfgs ? 'constant' : 'cosine'), 'fineTune');
  const strategy = checked.strategy ?? (isLbfgs ? 'head' : defaultStrategy);
  checkLbfgsRun({ ...checked, strategy }, schedule);
  checkStrategyOptions({ ...checked, strategy });
  checkTask(checked, task);
  checkAugmentation(checked);
  checkForgetting(checked);
  checkGroups(checked);
  checkLora({ ...checked, strategy });
  const weightDecay = checked.weightDecay ?? defaultDecay(checked);
  return { ...checked, strategy, schedule, weightDecay };
}

// L2-SP takes the place of weight decay, which would pull pretrained weights elsewhere.
function defaultDecay({ optimizer, regularisation }: z.output<typeof schema>): number {
  return optimizer.kind === 'adamw' && regularisation?.kind !== 'l2-sp' ? 0.01 : 0;
}

/** Which strategies each of these options is for. */
const strategyOptions = {
  layerDecay: /^(llrd|last:|full|gradual|lp-ft|auto)/,
  unfreezeEvery: /^gradual$/,
  stages: /^gradual$/,
  probeEpochs: /^(lp-ft|auto)/,
  lora: /^lora$/,
};

function checkStrategyOptions(options: z.output<typeof schema> & { strategy: string }): void {
  const { strategy } = options;
  for (const [name, pattern] of Object.entries(strategyOptions)) {
    if (options[name as keyof typeof strategyOptions] === undefined || pattern.test(strategy)) continue;
    throw invalidValue(`fineTune: \`${name}\` has no meaning with strategy \`${strategy}\`. Leave it out.`);
  }
}

/** An adapter's file has no place for statistics of the layers that it leaves alone. */
function checkLora({ strategy, trainBatchNorm }: { strategy: string; trainBatchNorm: boolean }): void {
  if (strategy !== 'lora' || !trainBatchNorm) return;
  throw invalidValue('fineTune: strategy `lora` leaves BatchNorm as it is. Leave `trainBatchNorm` out.');
}

function checkLbfgsRun(options: z.output<typeof schema> & { strategy: string }, schedule: Schedule): void {
  const { strategy, views, split, head, trainBatchNorm } = options;
  const isConstant = schedule.kind === 'constant' && !schedule.warmup && !schedule.warmupEpochs;
  checkLbfgs(options, 'fineTune', [
    [
      strategy !== 'head',
      `fits a head on kept outputs of what is frozen. Use strategy \`head\`, or another optimizer for \`${strategy}\`.`,
    ],
    [!isConstant, 'begins anew in each epoch, with a constant learning rate. Leave `schedule` out.'],
    [
      (views ?? 1) !== 1,
      'needs the same images in each evaluation, one view of each. Leave `views` out, or use another optimizer.',
    ],
    [!split, 'needs the model split, for the outputs of what is frozen. Leave `split` out.'],
    [
      head.dropout > 0,
      'learns without dropout. Leave `head.dropout` out; `weightDecay` is what holds weights back.',
    ],
    [trainBatchNorm, 'learns in eval mode. Leave `trainBatchNorm` out.'],
  ]);
}
