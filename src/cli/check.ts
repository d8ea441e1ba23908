import { type Command, Option } from 'commander';
import { completePreprocessing } from '../data/preprocessing.js';
import type { AppendedFeatures } from '../head-options.js';
import type { ProbeMetric } from '../probe/interval.js';
import { transferCheck } from '../probe/transfer-check.js';
import { modelFile, readData, requireOptions, wholeNumber } from './arguments.js';
import { appendHead, headLayer } from './graft-flags.js';
import { loadWithHead } from './load-with-head.js';
import { print, printJson } from './output.js';
import {
  addPreprocessing,
  addReading,
  type PreprocessingFlags,
  preprocessingOf,
  type ReadingFlags,
  readingOf,
  skippedLines,
} from './reading-flags.js';

interface CheckFlags extends PreprocessingFlags, ReadingFlags {
  model: string;
  headLayer?: string;
  appendHead?: AppendedFeatures;
  data: string;
  metric: ProbeMetric;
  untrained: number;
  shuffled?: boolean;
  batchSize: number;
  seed: number;
}

/** `torchgraft check`. */
export function define(command: Command): Command {
  command
    .option('--model <file>', 'TorchScript model, or run folder')
    .option('--data <dir>', 'folder or manifest');
  addPreprocessing(command)
    .option(...headLayer)
    .addOption(appendHead())
    .addOption(
      new Option('--metric <name>', 'what is compared').choices(['macroF1', 'accuracy']).default('macroF1'),
    )
    .option('--untrained <n>', 'number of untrained networks to compare with', wholeNumber(1), 3)
    .option('--shuffled', "also compare with the model's own weights in random order")
    .option('--batch-size <n>', 'images per batch', wholeNumber(1), 32)
    .option(
      '--seed <n>',
      'of untrained and shuffled weights, folds, resampling and the split that is made where the data has none',
      wholeNumber(0),
      0,
    );
  return addReading(command).action(async (flags: CheckFlags, self: Command) => {
    requireOptions(self, ['model', 'data']);
    const data = await readData(flags.data, flags.seed, undefined, readingOf(flags));
    const preprocessing = preprocessingOf(flags);
    const loading = { ...flags, imageSize: completePreprocessing(preprocessing).size };
    await using model = await loadWithHead(modelFile(flags.model), data.classes, loading);
    const { metric, untrained, seed, batchSize } = flags;
    const checked = await transferCheck(model, data, {
      ...{ metric, untrained, seed, batchSize, shuffled: flags.shuffled ?? false },
      ...(flags.headLayer ? { layer: flags.headLayer } : {}),
      preprocessing,
      ...readingOf(flags),
    });
    const lines = [`${checked.verdict}: ${checked.text}`, ...skippedLines(checked.skipped)];
    if (flags.json) printJson(checked);
    else print(lines.join('\n'));
  });
}
