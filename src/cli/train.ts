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
  requireOptions,
  sideOf,
  threeNumbers,
  wholeNumber,
} from './arguments.js';
import { addGrafts, type GraftFlags, toGrafts } from './graft-flags.js';
import { addOverwrite, type OutFlags } from './out.js';
import { addPixelLimit } from './reading-flags.js';
import { parseRegularisation } from './regularisation.js';
import type { TrainRequest } from './run.js';
import { addSlices, type SliceFlags, sliceRulesOf } from './slices.js';

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
  freeze: string[];
  lr: Record<string, number>;
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

interface TrainFlags extends TrainingFlags, SliceFlags, OutFlags {
  groups?: string;
  groupLoss?: 'mean' | 'balanced' | 'dro';
  model: string;
  data: string;
  out: string;
  adapt?: string;
  adaptEpochs?: number;
  scratch?: boolean;
  modelLicence?: string;
  dataLicence?: string;
  report: boolean;
  tensorboard?: boolean;
  json?: boolean;
}

/** `torchgraft train`. */
export function define(command: Command): Command {
  command
    .option('--model <file>', 'TorchScript model, scripted or traced')
    .option(
      '--data <dir>',
      'folder with train/<class>/*, val/<class>/* or <class>/*; or a .csv or .jsonl manifest',
    )
    .option('--out <run>', 'folder that receives model.pt, run.json, checkpoint.pt and report.html');
  return addOverwrite(addSlices(addTraining(command)))
    .option('--groups <slice>', 'groups, a slice by class, whose worst is measured as valWorstGroupAccuracy')
    .addOption(
      new Option('--group-loss <name>', 'with --groups: how they are weighed (default: mean)').choices([
        'mean',
        'balanced',
        'dro',
      ]),
    )
    .option('--resume', 'go on from the checkpoint in the run folder, if there is one')
    .option('--adapt <dir>', 'related labelled images to fine-tune on first')
    .option('--adapt-epochs <n>', 'on those (default: as --epochs)', wholeNumber(1))
    .option('--scratch', 'train the same network from random weights too, to compare with')
    .option(
      '--model-licence <words>',
      'of the pretrained model; kept in the saved model, shown in the report',
    )
    .option('--data-licence <words>', 'of the images, likewise')
    .option('--no-report', 'write no report.html')
    .option('--tensorboard', 'write the figures of each epoch to an event file for TensorBoard')
    .option('--json', 'one JSON object a line on standard output')
    .action(async (flags: TrainFlags, self: Command) => {
      requireOptions(self, ['model', 'data', 'out']);
      const { runTraining } = await import('./run.js');
      process.exitCode = await runTraining(toRequest(flags));
    });
}

/** The options of {@link TrainingFlags}. */
export function addTraining(command: Command): Command {
  command
    .option(
      '--epochs <n>',
      'passes over the training images, those of a probe not counted',
      wholeNumber(1),
      10,
    )
    .option('--batch-size <n>', 'images a batch', wholeNumber(1), 32)
    .option(
      '--strategy <name>',
      'what learns: auto (a linear probe, and fine-tuning where validation says that it is worth it), head, last:K ' +
        '(layers, the head counts), full, norm, bias, llrd (all, lower layers slower), gradual (unfreezing from the ' +
        'top), lora (low-rank adapters), lp-ft, lp-ft:last:K or lp-ft:llrd (a probe, then fine-tuning) (default: auto; head for lbfgs)',
      strategyName,
    )
    .option(
      '--layer-decay <x>',
      'learning rate of each layer over that of the one above (default: 0.9 or, with attention, 0.75 for llrd and auto)',
      positiveNumber,
    )
    .option('--unfreeze-every <epochs>', 'with gradual: epochs, or plateau (default: 1)', unfreezing)
    .option(
      '--stages <n>',
      'with gradual: groups of layers, the head being the first (default: 4)',
      wholeNumber(2),
    )
    .option('--probe-epochs <n>', 'with lp-ft and auto: of the probe, at most (default: 5)', wholeNumber(1))
    .option(
      '--learning-rate <x>',
      'for all that learns, but for a probe (default: by optimizer and strategy)',
      positiveNumber,
    )
    .addOption(new Option('--optimizer <name>').choices(optimizerNames).default('adamw'))
    .option('--weight-decay <x>', 'default 0.01 for adamw, else 0', positiveNumber)
    .option(
      '--schedule <name>',
      'constant, cosine[:warmup], onecycle[:warmup], step:every[:gamma], plateau[:patience[:factor]] ' +
        '(default: cosine; constant for lbfgs)',
    )
    .option('--loss <name>', 'crossEntropy, bceWithLogits, focal, mse, huber, or TorchScript source')
    .option('--clip-norm <x>', 'largest norm of the gradient (default: none; 1 for auto)', positiveNumber)
    .option('--freeze <glob>', 'freeze these too; may be given often', collect, [])
    .option('--lr <glob=x>', 'learning rate of these layers; may be given often', collectRates, {})
    .option('--image-size <px>', 'side of the square image the model gets (default: 224)', wholeNumber(1))
    .option('--mean <a,b,c>', 'of red, green, blue, 0 to 1', threeNumbers)
    .option('--std <a,b,c>', 'likewise', threeNumbers)
    .option(
      '--pixel-range <black,white>',
      'of images of more than 8 bits per channel, for example 0,4095',
      pixelRange,
    );
  return addRest(addGrafts(command));
}

function addRest(command: Command): Command {
  return addPixelLimit(command)
    .addOption(
      new Option('--normalise <name>', 'mean and std by name (default: imagenet)').choices([
        'imagenet',
        'signed',
        'none',
      ]),
    )
    .addOption(
      new Option(
        '--augment <name>',
        'light and default: random crops and flips; strong: also RandAugment, erasing, mixup, cutmix',
      )
        .choices(augmentPresetNames)
        .default('default'),
    )
    .addOption(
      new Option('--sampler <name>', 'balanced: all classes equally often, drawn with replacement')
        .choices(['shuffle', 'balanced'])
        .default('shuffle'),
    )
    .option('--early-stop <metric:patience>', 'for example valMacroF1:3; also picks the best epoch')
    .option(
      '--retain <dir>',
      'images of the source task: how much of it is left is measured before and after',
    )
    .option(
      '--regularisation <name>',
      'l2-sp[:alpha[:beta]] or ewc[:lambda], which needs --retain: hold weights near the pretrained ones',
      parseRegularisation,
    )
    .option(
      '--distillation <weight>',
      'hold the pretrained head to what it said (for example 1)',
      positiveNumber,
    )
    .option('--skip-unreadable', 'leave out images that cannot be decoded, and list them')
    .option('--seed <n>', 'of order, augmentation, dropout, the new head and the split', wholeNumber(0), 0)
    .option('--threads <n>', 'default: all processors', wholeNumber(1))
    .option('--device <name>', 'auto, cpu or cuda:0', 'auto')
    .addOption(
      new Option('--precision <name>', 'auto: bfloat16 where a trial shows that it is faster')
        .choices(['auto', 'float32', 'bfloat16', 'float16'])
        .default('auto'),
    )
    .option(
      '--views <k>',
      'fixed augmented views of an image whose features are kept, or live (default: 1 for head and probes, 4 for last:K, else live)',
      viewCount,
    )
    .addOption(
      new Option('--cache <place>', 'where features of what is frozen are kept')
        .choices(['disk', 'memory', 'none'])
        .default('disk'),
    )
    .option('--no-baselines', 'measure nothing to compare with before training')
    .option('--no-split', 'run the model as it was loaded, frozen layers in each step');
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

function toRequest(flags: TrainFlags): TrainRequest {
  const { model, data, out, device, json, resume, report } = flags;
  const { scratch = false, tensorboard = false, overwrite = false } = flags;
  const options = {
    ...toTrainingOptions(flags),
    ...groupsOf(flags),
    ...licencesOf(flags),
    resume: resume ?? false,
  };
  if (flags.adaptEpochs !== undefined && flags.adapt === undefined)
    throw invalidValue('train: --adapt-epochs goes with --adapt.');
  const adapt = flags.adapt && { data: flags.adapt, epochs: flags.adaptEpochs ?? flags.epochs };
  return {
    ...{
      model,
      data,
      out,
      device,
      isJson: json ?? false,
      report,
      scratch,
      tensorboard,
      overwrite,
      options,
      slices: sliceRulesOf(flags),
    },
    ...(adapt ? { adapt } : {}),
  };
}

function licencesOf({
  modelLicence: model,
  dataLicence: data,
}: TrainFlags): Pick<FineTuneOptions, 'licences'> {
  if (model === undefined && data === undefined) return {};
  return {
    licences: { ...(model === undefined ? {} : { model }), ...(data === undefined ? {} : { data }) },
  };
}

function groupsOf({ groups: slice, groupLoss: loss }: TrainFlags): Pick<FineTuneOptions, 'groups'> {
  if (slice !== undefined) return { groups: { slice, ...(loss ? { loss } : {}) } };
  if (loss) throw invalidValue('train: --group-loss needs --groups, the slice that it weighs by.');
  return {};
}

/** What the flags say, as options of fineTune. */
export function toTrainingOptions(flags: TrainingFlags): FineTuneOptions {
  const { seed, threads } = flags;
  return {
    epochs: flags.epochs,
    batchSize: flags.batchSize,
    optimizer: flags.optimizer as (typeof optimizerNames)[number],
    freeze: flags.freeze,
    learningRates: flags.lr,
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
