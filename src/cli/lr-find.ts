import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import { writeAtomically } from '../atomic-file.js';
import { findLearningRate, type LearningRateSearch } from '../lr-find/lr-find.js';
import { formatRate, renderSweepChart, renderSweepText } from '../lr-find/render.js';
import { loadModel } from '../model.js';
import { Progress } from '../report/progress.js';
import { positiveNumber, readData, requireOptions, wholeNumber } from './arguments.js';
import { listenForInterrupt } from './interrupt.js';
import { checkOutFolder, type OutFlags, overwriteOption } from './out.js';
import { print, printJson, progressStream } from './output.js';
import { addTraining, type TrainingFlags, toTrainingOptions } from './training-flags.js';

interface LrFindFlags extends TrainingFlags, OutFlags {
  model: string;
  data: string;
  out: string;
  lowest: number;
  highest: number;
  steps: number;
  json?: boolean;
}

/** `torchgraft lr-find`. */
export function define(command: Command): Command {
  command
    .optionsGroup('The sweep:')
    .option('--model <file>', 'TorchScript model, scripted or traced')
    .option('--data <dir>', 'folder or manifest, as for train')
    .option('--out <dir>', 'folder for lr-find.json and lr-find.svg', '.')
    .option('--lowest <x>', 'learning rate to begin with', positiveNumber, 1e-7)
    .option('--highest <x>', 'learning rate to end with', positiveNumber, 10)
    .option('--steps <n>', 'steps from one to the other, from 20 to 1000', wholeNumber(1), 100)
    .option(...overwriteOption)
    .option('--json', 'one JSON object on standard output');
  return addTraining(command)
    .addHelpText('after', '\nBelow the sweep, give the options that the train command will have.')
    .action(async (flags: LrFindFlags, self: Command) => {
      requireOptions(self, ['model', 'data']);
      await checkOutFolder(flags.out, sweepFiles, flags);
      const found = await find(flags);
      const written = await writeFiles(flags.out, found);
      const text = [renderSweepText(found), '', ...trainFlags(found), `saved  ${written.join(', ')}`].join(
        '\n',
      );
      if (flags.json) printJson(found);
      else print(text);
    });
}

const sweepFiles = ['lr-find.json', 'lr-find.svg'];

async function find(flags: LrFindFlags): Promise<LearningRateSearch> {
  const { device, threads, lowest, highest, steps } = flags;
  const options = toTrainingOptions(flags);
  const data = await readData(flags.data, flags.seed, undefined, options);
  await using model = await loadModel(flags.model, { device, ...(threads ? { threads } : {}) });
  const interrupt = listenForInterrupt({ now: 'Finishing this step.', then: () => 'Nothing was written.' });
  const progress = new Progress({ stream: progressStream });
  const images = flags.batchSize;
  progress.start('sweep', steps * images);
  try {
    const onStep = (_: unknown, step: number) => progress.update(step * images);
    const sweep = { lowest, highest, steps, onStep };
    return await findLearningRate(model, data, { ...options, sweep, signal: interrupt.signal });
  } finally {
    progress.finish();
    interrupt.stop();
  }
}

async function writeFiles(folder: string, found: LearningRateSearch): Promise<string[]> {
  await mkdir(folder, { recursive: true });
  const files = [
    [join(folder, 'lr-find.json'), `${JSON.stringify(found, null, 2)}\n`],
    [join(folder, 'lr-find.svg'), await renderSweepChart(found)],
  ] as const;
  for (const [path, text] of files) await writeAtomically(path, (temporary) => writeFile(temporary, text));
  return files.map(([path]) => path);
}

/** Named rates that fit a line. */
const mostNamed = 4;

/** The valley as flags of train, where they are few. */
function trainFlags({ options: { learningRate, learningRates } }: LearningRateSearch): string[] {
  const named = Object.entries(learningRates);
  if (named.length > mostNamed) return ['try    the rates in `options` of lr-find.json'];
  const rates = named.map(([name, rate]) => ` --lr ${name}=${formatRate(rate)}`);
  return [`try    train … --learning-rate ${formatRate(learningRate)}${rates.join('')}`];
}
