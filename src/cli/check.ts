import { type Command, Option } from 'commander';
import { type Normalisation, normalisation } from '../data/preprocessing.js';
import { loadModel } from '../model.js';
import type { ProbeMetric } from '../probe/interval.js';
import { transferCheck } from '../probe/transfer-check.js';
import { modelFile, normalisationName, readData, requireOptions, sideOf, wholeNumber } from './arguments.js';

interface CheckFlags {
  model: string;
  data: string;
  normalise?: Normalisation;
  imageSize?: number;
  metric: ProbeMetric;
  untrained: number;
  shuffled?: boolean;
  batchSize: number;
  seed: number;
  skipUnreadable?: boolean;
  threads?: number;
  device: string;
  json?: boolean;
}

/** `torchgraft check`. */
export function addCheck(program: Command): Command {
  return program
    .command('check')
    .description('Whether what a pretrained model has learnt helps on a data set')
    .option('--model <file>', 'TorchScript model, or run folder')
    .option('--data <dir>', 'folder or manifest')
    .option(
      '--normalise <name>',
      "imagenet, signed or none (default: the model's own, or imagenet)",
      normalisationName,
    )
    .option('--image-size <px>', "side of the images (default: the model's own, or 224)", wholeNumber(1))
    .addOption(new Option('--metric <name>').choices(['macroF1', 'accuracy']).default('macroF1'))
    .option('--untrained <n>', 'untrained networks to compare with', wholeNumber(1), 3)
    .option('--shuffled', "compare with the model's own weights in a random order too")
    .option('--batch-size <n>', 'images a batch', wholeNumber(1), 32)
    .option('--seed <n>', 'of untrained and shuffled weights, folds and resampling', wholeNumber(0), 0)
    .option('--skip-unreadable', 'leave out images that cannot be decoded, and list them')
    .option('--threads <n>', 'default: all processors', wholeNumber(1))
    .option('--device <name>', 'auto, cpu or cuda:0', 'auto')
    .option('--json', 'one JSON object on standard output')
    .action(async (flags: CheckFlags, self: Command) => {
      requireOptions(self, ['model', 'data']);
      const data = await readData(flags.data, flags.seed);
      await using model = await loadModel(modelFile(flags.model), { device: flags.device });
      const { imageSize, normalise, metric, untrained, seed, batchSize, threads } = flags;
      const checked = await transferCheck(model, data, {
        ...{ metric, untrained, seed, batchSize, shuffled: flags.shuffled ?? false },
        preprocessing: {
          ...(imageSize ? sideOf(imageSize) : {}),
          ...(normalise ? normalisation(normalise) : {}),
        },
        unreadable: flags.skipUnreadable ? 'skip' : 'fail',
        ...(threads ? { threads } : {}),
      });
      const lines = [
        `${checked.verdict}: ${checked.text}`,
        ...checked.skipped.map(({ path, reason }) => `skipped ${path}: ${reason}`),
      ];
      process.stdout.write(`${flags.json ? JSON.stringify(checked) : lines.join('\n')}\n`);
    });
}
