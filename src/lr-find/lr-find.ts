import { z } from 'zod';
import type { ImageDataset } from '../data/dataset.js';
import { DecodedImages } from '../data/decoded-images.js';
import { invalidType, invalidValue, TorchgraftError, throwIfAborted } from '../errors.js';
import { Computation } from '../fine-tune/computation.js';
import { type CheckedOptions, checkFineTuneOptions, type FineTuneOptions } from '../fine-tune/options.js';
import { prepareModel } from '../fine-tune/prepare.js';
import { configureStage } from '../fine-tune/stage-run.js';
import type { Model } from '../model.js';
import { copyModel } from '../model-copy.js';
import type { NativeGroup } from '../native.js';
import { checkOptions } from '../options.js';
import { callback } from '../value-kinds.js';
import { type FoundRates, LearningGroups } from './groups.js';
import { describeSweep } from './notice.js';
import { fewestPoints, type LearningRateSuggestion, type SweepPoint, suggestRates } from './suggestions.js';
import { runSweep, type SweepEnd } from './sweep.js';

const sweepSchema = z.strictObject({
  lowest: z.number().gt(0).default(1e-7),
  highest: z.number().gt(0).default(10),
  steps: z.int().min(20).max(1000).default(100),
  onStep: callback<(point: SweepPoint, step: number) => void>(),
});

/** The sweep of findLearningRate; all may be left out. */
export interface SweepOptions {
  /** First learning rate. Default 1e-7. */
  lowest?: number;
  /** Last learning rate. Default 10. */
  highest?: number;
  /** Optimizer steps from one to the other, 20 to 1000, each by the same factor. Default 100. */
  steps?: number;
  /** Called after each step, numbered from 1; the next one waits for a promise that it returns. */
  onStep?: (point: SweepPoint, step: number) => unknown;
}

/**
 * The options of the fineTune that is to follow. The sweep takes from them what decides a training step, and has no use
 * for `schedule`, `earlyStopping`, `checkpoint`, `resume`, `onBatch`, `retain`, `regularisation` and `distillation`.
 */
export interface FindLearningRateOptions extends FineTuneOptions {
  sweep?: SweepOptions;
}

/** What a sweep found; plain JSON. */
export interface LearningRateSearch {
  /** Up to `steps` points, by rising rate: fewer where the loss grew to 4 times its least, or was not finite. */
  curve: SweepPoint[];
  /** Of the layers that learn fastest, as `curve` is. */
  suggestion: LearningRateSuggestion;
  /** `valley` as options of fineTune, every group in its ratio: `fineTune(model, data, { ...options, ...found.options })`. */
  options: FoundRates;
  /** Why the sweep ended. */
  ended: SweepEnd;
  /** What a person should know before trusting it; undefined when all is well. */
  notice?: string;
}

/**
 * Finds a learning rate by a sweep (Smith 2017, "Cyclical learning rates for training neural networks"; fastai's
 * `lr_find`): about 100 steps of the training that is to follow, with the same strategy, batches and augmentation, each at
 * a rate higher than the one before. Layers keep the ratios of their rates.
 *
 * The sweep trains a copy of the model, which is in memory beside it meanwhile, so that the model given is not changed:
 * weights, buffers, head, what learns, optimizer and best weights stay as they are, bit for bit.
 *
 * @example
 * const options = { strategy: 'head', preprocessing: { size: 96, resize: 96 } } as const;
 * const found = await findLearningRate(model, data, options);
 * for await (const epoch of fineTune(model, data, { ...options, ...found.options })) console.log(epoch.metrics);
 *
 * @throws INVALID_TYPE, INVALID_VALUE (options, and `lbfgs`, which searches its steps itself), LOSS_NOT_FINITE where not
 * even the first steps can be taken, ABORTED, and what fineTune throws before its first epoch
 */
export async function findLearningRate(
  model: Model,
  data: ImageDataset,
  options: FindLearningRateOptions = {},
): Promise<LearningRateSearch> {
  if (typeof model?.replaceHead !== 'function')
    throw invalidType('findLearningRate: expected a Model from loadModel.');
  if (!data?.splits?.train)
    throw invalidType('findLearningRate: expected data from imageFolder or imageManifest.');
  const { sweep: given, ...rest } = options;
  const sweep = checkOptions(sweepSchema, given, 'findLearningRate: sweep');
  if (sweep.lowest >= sweep.highest)
    throw invalidValue('findLearningRate: sweep: `lowest` must be less than `highest`.');
  const checked = checkFineTuneOptions(
    {
      strategy: 'head',
      ...rest,
      ...{ resume: false, baselines: 'none' as const, ...withoutForgetting },
    },
    data.task,
  );
  refuseStages(checked);
  if (checked.optimizer.kind === 'lbfgs') {
    throw invalidValue(
      'findLearningRate: optimizer `lbfgs` finds the length of each step by a line search. Leave its rate at 1.',
    );
  }
  throwIfAborted(checked.signal);
  await using copy = await copyModel(model);
  return await sweepModel(copy, data, checked, sweep);
}

/** Nothing is forgotten in a hundred steps. */
const withoutForgetting = { retain: undefined, regularisation: undefined, distillation: undefined };

/** The sweep itself, on a model that is of no use afterwards. */
async function sweepModel(
  model: Model,
  data: ImageDataset,
  options: CheckedOptions,
  { lowest, highest, steps, onStep }: z.output<typeof sweepSchema>,
): Promise<LearningRateSearch> {
  const { preprocessing, strategy } = await prepareModel(model, data, options);
  const [stage] = strategy.stages;
  const { batchSize, threads, unreadable, accumulate, signal } = options;
  const settings = { model, data, options, reading: { preprocessing, batchSize, threads, unreadable } };
  await configureStage(settings, stage, false);
  const learning = learningGroups(stage.groups, model.trainable);
  const { decodedBytes: maxBytes } = options;
  let decoded: DecodedImages | undefined;
  const computation = await Computation.begin({
    ...settings,
    stage,
    decoded: () => {
      decoded ??= new DecodedImages(maxBytes === undefined ? {} : { maxBytes });
      return decoded;
    },
  });
  try {
    const { curve, ended } = await runSweep({
      ...{ model, accumulate, signal, onStep },
      rates: Array.from({ length: steps }, (_, i) => lowest * (highest / lowest) ** (i / (steps - 1))),
      ratesOfGroups: (rate) => learning.at(rate),
      source: (epoch) => computation.trainSource(epoch, 0),
    });
    if (curve.length < fewestPoints) throw nothingFound(curve, lowest);
    const suggestion = suggestRates(curve, steps);
    const notice = describeSweep(curve, { steps, ended, ratios: learning.ratios, highest });
    return {
      ...{ curve, suggestion, ended },
      options: learning.optionsAt(suggestion.valley),
      ...(notice ? { notice } : {}),
    };
  } finally {
    decoded?.dispose();
  }
}

function refuseStages({ strategy }: CheckedOptions): void {
  if (strategy !== 'auto' && !strategy.startsWith('lp-ft')) return;
  throw invalidValue(
    `findLearningRate: strategy \`${strategy}\` has several stages, each with rates of its own. Name what is swept: ` +
      '`head`, `last:k`, `full`, `llrd`, `norm`, `bias` or `gradual`.',
  );
}

function learningGroups(groups: readonly NativeGroup[], trainable: readonly string[]): LearningGroups {
  const learning = new LearningGroups(groups, trainable);
  if (learning.fastest > 0) return learning;
  throw invalidValue(
    'findLearningRate: `learningRates` sets every rate to 0, so there are no ratios to keep. Raise one of them.',
  );
}

function nothingFound({ length }: readonly SweepPoint[], lowest: number): TorchgraftError {
  return new TorchgraftError(
    'LOSS_NOT_FINITE',
    `findLearningRate: after ${length} steps from a learning rate of ${lowest} the loss was not finite, or had grown to 4 ` +
      'times its least. Check mean and std and the loss, or begin lower with `sweep.lowest`.',
  );
}
