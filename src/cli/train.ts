import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Preprocessing } from '../data/preprocessing.js';
import { type Normalisation, normalisation } from '../data/preprocessing.js';
import { parseEarlyStopping } from '../early-stopping.js';
import { invalidValue } from '../errors.js';
import type { CachePlace } from '../fine-tune/features.js';
import type { FineTuneOptions, Strategy } from '../fine-tune/options.js';
import type { Precision } from '../native.js';
import { optimizerNames } from '../training-options.js';
import {
  collect,
  collectRates,
  positiveNumber,
  requireOptions,
  sideOf,
  threeNumbers,
  wholeNumber,
} from './arguments.js';
import { runTraining, type TrainRequest } from './run.js';

interface TrainFlags {
  model: string;
  data: string;
  out: string;
  epochs: number;
  batchSize: number;
  strategy: string;
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
  augment: 'default' | 'none';
  earlyStop?: string;
  skipUnreadable?: boolean;
  seed: number;
  threads?: number;
  device: string;
  precision: Precision | 'auto';
  views?: number | 'live';
  cache: CachePlace;
  split: boolean;
  resume?: boolean;
  json?: boolean;
}

/** `torchgraft train`. */
export function addTrain(program: Command): Command {
  const command = program
    .command('train')
    .description('Fine-tune a pretrained TorchScript model on a folder of images')
    .option('--model <file>', 'TorchScript model, scripted or traced')
    .option(
      '--data <dir>',
      'folder with train/<class>/*, val/<class>/* or <class>/*; or a .csv or .jsonl manifest',
    )
    .option('--out <run>', 'folder that receives model.pt, run.json and checkpoint.pt')
    .option('--epochs <n>', 'passes over the training images', wholeNumber(1), 10)
    .option('--batch-size <n>', 'images a batch', wholeNumber(1), 32)
    .option(
      '--strategy <name>',
      'what learns: head, last:K (layers, the head counts) or full',
      strategyName,
      'head',
    )
    .option(
      '--learning-rate <x>',
      'for all that learns (default: by optimizer; the head 10 times the rest; 1 for lbfgs)',
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
    .option('--clip-norm <x>', 'largest norm of the gradient', positiveNumber)
    .option('--freeze <glob>', 'freeze these too; may be given often', collect, [])
    .option('--lr <glob=x>', 'learning rate of these layers; may be given often', collectRates, {})
    .option('--image-size <px>', 'side of the square image the model gets (default: 224)', wholeNumber(1))
    .option('--mean <a,b,c>', 'of red, green, blue, 0 to 1', threeNumbers)
    .option('--std <a,b,c>', 'likewise', threeNumbers);
  return addRest(command);
}

function addRest(command: Command): Command {
  return command
    .addOption(
      new Option('--normalise <name>', 'mean and std by name (default: imagenet)').choices([
        'imagenet',
        'signed',
        'none',
      ]),
    )
    .addOption(
      new Option('--augment <name>', 'random crops and flips')
        .choices(['default', 'none'])
        .default('default'),
    )
    .option('--early-stop <metric:patience>', 'for example valMacroF1:3; also picks the best epoch')
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
      'fixed augmented views of an image whose features are kept, or live (default: 1 for head, 4 for last:K, else live)',
      viewCount,
    )
    .addOption(
      new Option('--cache <place>', 'where features of what is frozen are kept')
        .choices(['disk', 'memory', 'none'])
        .default('disk'),
    )
    .option('--no-split', 'run the model as it was loaded, frozen layers in each step')
    .option('--resume', 'go on from the checkpoint in the run folder, if there is one')
    .option('--json', 'one JSON object a line on standard output')
    .action(async (flags: TrainFlags, self: Command) => {
      requireOptions(self, ['model', 'data', 'out']);
      process.exitCode = await runTraining(toRequest(flags));
    });
}

function viewCount(text: string): number | 'live' {
  return text === 'live' ? text : wholeNumber(1)(text);
}

function strategyName(text: string): Strategy {
  if (text === 'head' || text === 'full' || /^last:[1-9]\d*$/.test(text)) return text as Strategy;
  throw new InvalidArgumentError('Expected head, full or last:K with K from 1, for example last:2.');
}

function toRequest(flags: TrainFlags): TrainRequest {
  const { model, data, out, seed, device, threads, json, resume } = flags;
  const options: FineTuneOptions = {
    epochs: flags.epochs,
    batchSize: flags.batchSize,
    strategy: flags.strategy as Strategy,
    optimizer: flags.optimizer as (typeof optimizerNames)[number],
    freeze: flags.freeze,
    learningRates: flags.lr,
    augment: flags.augment,
    preprocessing: toPreprocessing(flags),
    seed,
    unreadable: flags.skipUnreadable ? 'skip' : 'fail',
    resume: resume ?? false,
    precision: flags.precision,
    cache: flags.cache,
    split: flags.split,
    ...(flags.schedule === undefined ? {} : { schedule: flags.schedule }),
    ...(flags.views === undefined ? {} : { views: flags.views }),
    ...(flags.learningRate === undefined ? {} : { learningRate: flags.learningRate }),
    ...(flags.weightDecay === undefined ? {} : { weightDecay: flags.weightDecay }),
    ...(flags.loss === undefined ? {} : { loss: flags.loss }),
    ...(flags.clipNorm === undefined ? {} : { clipNorm: flags.clipNorm }),
    ...(threads === undefined ? {} : { threads }),
    ...(flags.earlyStop === undefined
      ? {}
      : { earlyStopping: parseEarlyStopping(flags.earlyStop, '--early-stop') }),
  };
  return { model, data, out, device, isJson: json ?? false, options };
}

function toPreprocessing({ imageSize, mean, std, normalise }: TrainFlags): Partial<Preprocessing> {
  if (normalise && (mean || std)) throw invalidValue('train: give either --normalise, or --mean and --std.');
  if ((mean === undefined) !== (std === undefined))
    throw invalidValue('train: --mean and --std go together.');
  const size = imageSize === undefined ? {} : sideOf(imageSize);
  return { ...size, ...(normalise ? normalisation(normalise) : {}), ...(mean && std ? { mean, std } : {}) };
}
