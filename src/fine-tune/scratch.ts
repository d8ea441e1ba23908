import type { ImageDataset } from '../data/dataset.js';
import type { Task } from '../data/task.js';
import { invalidType, invalidValue } from '../errors.js';
import type { Model } from '../model.js';
import { copyModel } from '../model-copy.js';
import { fineTune } from './fine-tune.js';
import { defaultRates } from './groups.js';
import { checkFineTuneOptions, type FineTuneOptions } from './options.js';
import type { EpochReport } from './report.js';

/** What the same network reached from random weights. Plain JSON. */
export interface ScratchBaseline<T extends Task = 'single-label'> {
  /** Epochs trained; fewer than asked for after early stopping. */
  epochs: number;
  /** Of all layers. */
  learningRate: number;
  /** The best epoch, by the metric of `earlyStopping`. */
  best: EpochReport<T>;
}

/**
 * The baseline that says what the pretrained weights are worth: the same network from random weights (PyTorch's
 * initialisation, BatchNorm's too), all layers learning at one rate, on the same budget. The model stays as it is; a copy
 * of it is trained, with a new head.
 *
 * @param model best the pretrained one, before it is fine-tuned
 * @param options those of the fine-tuning that it is compared with. Epochs, batch size, optimizer, schedule, loss,
 * augmentation, sampler, early stopping, seed and the like are taken over; what is about pretrained weights (strategy, layer
 * rates, freezing, LoRA, regularisation, distillation, retention) and the checkpoint are not. `learningRate` by default is that of a new
 * head: 1e-3 for AdamW and Adam, 1e-2 for SGD, 1e-4 for RMSprop; a rate given for pretrained weights may be too low for random ones.
 * @example
 * const scratch = await trainFromScratch(model, data, { epochs: 10 });
 * console.log(scratch.best.validation.accuracy, 'without the pretrained weights');
 *
 * @throws those of fineTune
 */
export async function trainFromScratch<T extends Task = 'single-label'>(
  model: Model,
  data: ImageDataset<T>,
  options?: FineTuneOptions,
): Promise<ScratchBaseline<T>> {
  if (typeof model?.replaceHead !== 'function')
    throw invalidType('trainFromScratch: expected a Model from loadModel.');
  if (!data?.splits?.train)
    throw invalidType('trainFromScratch: expected data from imageFolder or imageManifest.');
  const budget = budgetOf(options ?? {});
  const { optimizer, seed } = checkFineTuneOptions(budget, data.task);
  if (optimizer.kind === 'lbfgs') {
    throw invalidValue(
      'trainFromScratch: `optimizer` `lbfgs` fits heads alone. Take adamw, adam, sgd or rmsprop.',
    );
  }
  const learningRate = budget.learningRate ?? defaultRates[optimizer.kind].head;
  const preprocessing = { ...model.card?.preprocessing, ...budget.preprocessing };
  await using copy = await copyModel(model);
  await copy.reinitialise(seed);
  // Without a card it gets a head of its own, as for classes that it has not seen.
  copy.card = undefined;
  const { best, history } = await fineTune(copy, data, { ...budget, learningRate, preprocessing });
  return { epochs: history.length, learningRate, best };
}

/** Options that mean the same for random weights. */
function budgetOf(options: FineTuneOptions): FineTuneOptions {
  const {
    strategy,
    layerDecay,
    unfreezeEvery,
    stages,
    probeEpochs,
    lora,
    learningRates,
    freeze,
    retain,
    regularisation,
    distillation,
    checkpoint,
    resume,
    ...budget
  } = options;
  return { ...budget, strategy: 'full', baselines: 'none' };
}
