import { type Command, InvalidArgumentError, Option } from 'commander';
import { type AugmentPreset, augmentPresetNames } from '../augment-option.js';
import type { Preprocessing } from '../data/preprocessing.js';
import { type Normalisation, normalisation } from '../data/preprocessing.js';
import { parseEarlyStopping } from '../early-stopping.js';
import { invalidValue } from '../errors.js';
import type { CachePlace } from '../fine-tune/features.js';
import { type FineTuneOptions, type Strategy, strategyPattern } from '../fine-tune/options.js';
import type { RegularisationOption } from '../forgetting/options.js';
import type { Precision } from '../native.js';
import { optimizerNames } from '../training-options.js';
import {
  collect,
  collectRates,
  pixelRange,
  positiveNumber,
  sideOf,
  threeNumbers,
  wholeNumber,
} from './arguments.js';
import { addGrafts, type GraftFlags, toGrafts } from './graft-flags.js';
import { addPixelLimit } from './reading-flags.js';
import { parseRegularisation } from './regularisation.js';

/** Flags of what is trained and how; of every command that trains. */
export interface TrainingFlags extends GraftFlags {
  epochs: number;
  batchSize: number;
  strategy?: Strategy;
  layerDecay?: number;
  unfreezeEvery?: number | 'plateau';
  stages?: number;
  probeEpochs?: number;
  learningRate?: number;
  optimizer: string;
  weightDecay?: number;
  schedule?: string;
  loss?: string;
  clipNorm?: number;
  freeze?: string[];
  lr?: Record<string, number>;
  imageSize?: number;
  mean?: [number, number, number];
  std?: [number, number, number];
  normalise?: Normalisation;
  pixelRange?: [number, number];
  augment: AugmentPreset;
  sampler: 'shuffle' | 'balanced';
  earlyStop?: string;
  retain?: string;
  regularisation?: RegularisationOption;
  distillation?: number;
  skipUnreadable?: boolean;
  seed: number;
  threads?: number;
  device: string;
  precision: Precision | 'auto';
  views?: number | 'live';
  cache: CachePlace;
  split: boolean;
  baselines: boolean;
}

/** The options of {@link TrainingFlags}, in groups; what a command adds afterwards has to name a group of its own. */
export function addTraining(command: Command): Command {
  addLearning(command.optionsGroup('What learns:'));
  addGrafts(command);
  addSteps(command.optionsGroup('How it learns:'));
  addImages(command.optionsGroup('Images:'));
  addRetention(command.optionsGroup('Keeping what the model knew:'));
  return addComputation(command.optionsGroup('How it is computed:'));
}

function addLearning(command: Command): void {
  command
    .option(
      '--strategy <name>',
      'auto: a linear probe, then fine-tuning where validation says that it pays. head: the new head alone. last:K: ' +
        'the last K layers, the head included. full: everything. norm, bias: normalisation layers or biases, and the ' +
        'head. llrd: everything, lower layers more slowly. gradual: unfreezing from the top. lora: low-rank adapters. ' +
        'lp-ft, lp-ft:last:K, lp-ft:llrd: a probe, then fine-tuning (default: auto; head for lbfgs)',
      strategyName,
    )
    .option(
      '--layer-decay <x>',
      'for llrd: the learning rate of each layer, as a share of the rate of the layer above (default: 0.9; 0.75 for networks with attention)',
      positiveNumber,
    )
    .option(
      '--unfreeze-every <epochs>',
      'for gradual: epochs between two steps, or plateau (default: 1)',
      unfreezing,
    )
    .option(
      '--stages <n>',
      'for gradual: number of groups of layers, the head being the first (default: 4)',
      wholeNumber(2),
    )
    .option('--probe-epochs <n>', 'for lp-ft and auto: most epochs of the probe (default: 5)', wholeNumber(1))
    .option('--freeze <glob>', 'keep these layers frozen as well; may be repeated', collect);
}

function addSteps(command: Command): void {
  command
    .option(
      '--epochs <n>',
      'passes over the training images; those of a probe do not count',
      wholeNumber(1),
      10,
    )
    .option('--batch-size <n>', 'images per batch', wholeNumber(1), 32)
    .option(
      '--learning-rate <x>',
      'of everything that learns, except a probe (default: depends on optimizer and strategy)',
      positiveNumber,
    )
    .option('--lr <glob=x>', 'learning rate of these layers; may be repeated', collectRates)
    .addOption(new Option('--optimizer <name>').choices(optimizerNames).default('adamw'))
    .option('--weight-decay <x>', 'default: 0.01 for adamw, otherwise 0', positiveNumber)
    .option(
      '--schedule <name>',
      'of the learning rate: constant, cosine[:warmup], onecycle[:warmup], step:every[:gamma], ' +
        'plateau[:patience[:factor]] (default: cosine; constant for lbfgs)',
    )
    .option(
      '--loss <name>',
      'crossEntropy, bceWithLogits, focal, mse, huber, or TorchScript source (default: fits the data)',
    )
    .option(
      '--clip-norm <x>',
      'clip the norm of the gradient to this (default: no clipping; 1 for auto)',
      positiveNumber,
    )
    .option(
      '--early-stop <metric:patience>',
      'stop when this metric no longer improves, for example valMacroF1:3; it also picks the best epoch',
    )
    .option(
      '--seed <n>',
      'of the order of the images, augmentation, dropout, the new head and the split',
      wholeNumber(0),
      0,
    );
}

function addImages(command: Command): void {
  command
    .option(
      '--image-size <px>',
      "side of the square images that the model gets (default: the model's own, or 224)",
      wholeNumber(1),
    )
    .addOption(
      new Option(
        '--normalise <name>',
        "mean and standard deviation by name (default: the model's own, or imagenet)",
      ).choices(['imagenet', 'signed', 'none']),
    )
    .option('--mean <r,g,b>', 'mean of red, green and blue, from 0 to 1', threeNumbers)
    .option('--std <r,g,b>', 'standard deviation of red, green and blue, from 0 to 1', threeNumbers)
    .option(
      '--pixel-range <black,white>',
      'of images with more than 8 bits per channel, for example 0,4095',
      pixelRange,
    );
  addPixelLimit(command)
    .option('--skip-unreadable', 'leave out images that cannot be decoded, and list them')
    .addOption(
      new Option(
        '--augment <name>',
        'light, default: random crops and flips. strong: also RandAugment, erasing, mixup and cutmix',
      )
        .choices(augmentPresetNames)
        .default('default'),
    )
    .option(
      '--views <k>',
      'augmented views of each image whose features are kept, or live for new ones in each epoch (default: 1 for head and ' +
        'probes, 4 for last:K, otherwise live)',
      viewCount,
    )
    .addOption(
      new Option('--sampler <name>', 'balanced: all classes equally often, drawn with replacement')
        .choices(['shuffle', 'balanced'])
        .default('shuffle'),
    );
}

function addRetention(command: Command): void {
  command
    .option(
      '--retain <dir>',
      'images of the task that the model was pretrained for: how much of it is left is measured before and after',
    )
    .option(
      '--regularisation <name>',
      'hold weights near the pretrained ones: l2-sp[:alpha[:beta]], or ewc[:lambda], which needs --retain',
      parseRegularisation,
    )
    .option(
      '--distillation <weight>',
      'hold the outputs of the pretrained head where they were, for example 1',
      positiveNumber,
    );
}

function addComputation(command: Command): Command {
  return command
    .option('--threads <n>', 'default: all processors', wholeNumber(1))
    .option('--device <name>', 'auto, cpu, cuda:0, ...', 'auto')
    .addOption(
      new Option('--precision <name>', 'auto: bfloat16 where it is native, proves equal and enough is frozen')
        .choices(['auto', 'float32', 'bfloat16', 'float16'])
        .default('auto'),
    )
    .addOption(
      new Option('--cache <place>', 'where the features of frozen layers are kept')
        .choices(['disk', 'memory', 'none'])
        .default('disk'),
    )
    .option('--no-split', 'run the model as it was loaded, frozen layers in every step')
    .option('--no-baselines', 'do not measure what the result is compared with');
}

function viewCount(text: string): number | 'live' {
  return text === 'live' ? text : wholeNumber(1)(text);
}

function unfreezing(text: string): number | 'plateau' {
  return text === 'plateau' ? text : wholeNumber(1)(text);
}

function strategyName(text: string): Strategy {
  if (strategyPattern.safeParse(text).success) return text as Strategy;
  throw new InvalidArgumentError(
    'Expected auto, norm, bias, llrd, gradual, lora, lp-ft, lp-ft:llrd, lp-ft:last:K, head, full or last:K with K from 1, ' +
      'for example last:2.',
  );
}

/** What the flags say, as options of fineTune. */
export function toTrainingOptions(flags: TrainingFlags): FineTuneOptions {
  const { seed, threads } = flags;
  return {
    epochs: flags.epochs,
    batchSize: flags.batchSize,
    optimizer: flags.optimizer as (typeof optimizerNames)[number],
    freeze: flags.freeze ?? [],
    learningRates: flags.lr ?? {},
    augment: flags.augment,
    sampler: flags.sampler,
    preprocessing: toPreprocessing(flags),
    seed,
    unreadable: flags.skipUnreadable ? 'skip' : 'fail',
    precision: flags.precision,
    cache: flags.cache,
    split: flags.split,
    baselines: flags.baselines ? 'measure' : 'none',
    ...toGrafts(flags),
    ...(flags.strategy === undefined ? {} : { strategy: flags.strategy }),
    ...(flags.layerDecay === undefined ? {} : { layerDecay: flags.layerDecay }),
    ...(flags.unfreezeEvery === undefined ? {} : { unfreezeEvery: flags.unfreezeEvery }),
    ...(flags.stages === undefined ? {} : { stages: flags.stages }),
    ...(flags.probeEpochs === undefined ? {} : { probeEpochs: flags.probeEpochs }),
    ...(flags.schedule === undefined ? {} : { schedule: flags.schedule }),
    ...(flags.views === undefined ? {} : { views: flags.views }),
    ...(flags.learningRate === undefined ? {} : { learningRate: flags.learningRate }),
    ...(flags.weightDecay === undefined ? {} : { weightDecay: flags.weightDecay }),
    ...(flags.loss === undefined ? {} : { loss: flags.loss }),
    ...(flags.retain === undefined ? {} : { retain: flags.retain }),
    ...(flags.regularisation === undefined ? {} : { regularisation: flags.regularisation }),
    ...(flags.distillation === undefined ? {} : { distillation: { weight: flags.distillation } }),
    ...(flags.clipNorm === undefined ? {} : { clipNorm: flags.clipNorm }),
    ...(threads === undefined ? {} : { threads }),
    ...(flags.earlyStop === undefined
      ? {}
      : { earlyStopping: parseEarlyStopping(flags.earlyStop, '--early-stop') }),
  };
}

function toPreprocessing({
  imageSize,
  mean,
  std,
  normalise,
  pixelRange: range,
}: TrainingFlags): Partial<Preprocessing> {
  if (normalise && (mean || std)) throw invalidValue('train: give either --normalise, or --mean and --std.');
  if ((mean === undefined) !== (std === undefined))
    throw invalidValue('train: --mean and --std go together.');
  const size = imageSize === undefined ? {} : sideOf(imageSize);
  return {
    ...size,
    ...(normalise ? normalisation(normalise) : {}),
    ...(mean && std ? { mean, std } : {}),
    ...(range ? { pixelRange: range } : {}),
  };
}
