import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { writeAtomically } from '../atomic-file.js';
import { invalidValue, TorchgraftError } from '../errors.js';
import type { BatchProgress } from '../fine-tune/options.js';
import { formatTime, Progress } from '../report/progress.js';
import type { SharedOptions } from '../search/options.js';
import { renderSearchChart, searchTable } from '../search/render.js';
import { type SearchResult, search } from '../search/search.js';
import { defaultSpace, type SearchSpace } from '../search/space.js';
import type { SearchTrial } from '../search/trials.js';
import { modelFile, positiveNumber, readData, requireOptions, wholeNumber } from './arguments.js';
import { batchDisplay } from './batch-display.js';
import { listenForInterrupt } from './interrupt.js';
import { checkOutFolder, type OutFlags, overwriteOption, removeEarlier } from './out.js';
import { print, printJson, progressStream } from './output.js';
import { addTraining, type TrainingFlags, toTrainingOptions } from './training-flags.js';

interface SearchFlags extends TrainingFlags, OutFlags {
  model: string;
  data: string;
  out: string;
  space?: string;
  method: 'asha' | 'random';
  trials?: number;
  minutes?: number;
  reduction: number;
  minEpochs: number;
  json?: boolean;
}

/** `torchgraft search`. */
export function define(command: Command): Command {
  command
    .optionsGroup('The search:')
    .option('--model <file>', 'TorchScript model, scripted or traced')
    .option('--data <dir>', 'folder or manifest, as for train')
    .option('--out <dir>', 'folder for model.pt, search.jsonl, search.json and search.svg')
    .option(
      '--space <file>',
      'JSON file with what to search, { "learningRate": { "low", "high", "log" }, "strategy": [...] }',
    )
    .addOption(
      new Option(
        '--method <name>',
        'asha: most trials stop after a few epochs. random: every trial runs to its end',
      )
        .choices(['asha', 'random'])
        .default('asha'),
    )
    .option('--trials <n>', 'most trials (default: 20; no limit with --minutes)', wholeNumber(1))
    .option('--minutes <x>', 'begin no more training after this many minutes of it', positiveNumber)
    .option('--reduction <n>', 'for asha: one trial in this many goes on', wholeNumber(2), 3)
    .option('--min-epochs <n>', 'for asha: epochs before the first trials are dropped', wholeNumber(1), 1)
    .option('--resume', 'go on with the search in the folder, if there is one')
    .option(...overwriteOption)
    .option('--json', 'one JSON object per line on standard output');
  return addTraining(command)
    .addHelpText('after', '\nAn option below the search holds for all trials, and is not searched.')
    .action(async (flags: SearchFlags, self: Command) => {
      requireOptions(self, ['model', 'data', 'out']);
      await prepareOut(flags);
      const result = await run(flags, sharedOptions(flags, self));
      await writeFiles(flags.out, result);
      if (flags.json) printJson({ event: 'done', ...result });
      else print(summary(result));
    });
}

const searchMarks = ['search.jsonl', 'model.pt'];
const searchFiles = [...searchMarks, 'search.json', 'search.svg', 'trials'];

async function prepareOut({ out, model, overwrite, resume = false }: SearchFlags): Promise<void> {
  await checkOutFolder(out, searchMarks, { overwrite, resume });
  if (!overwrite) return;
  // Not for a search that cannot begin.
  modelFile(model);
  await removeEarlier(out, searchFiles);
}

/** What was given on the command line, and what is not searched unless told otherwise. */
function sharedOptions(flags: SearchFlags, command: Command): SharedOptions {
  const { checkpoint, resume, signal, onBatch, ...options } = toTrainingOptions(flags);
  const left = Object.entries(options).filter(
    ([name]) => !Object.hasOwn(defaultSpace, name) || command.getOptionValueSource(name) !== 'default',
  );
  return Object.fromEntries(left);
}

async function run(flags: SearchFlags, fineTune: SharedOptions): Promise<SearchResult> {
  const { out, method, trials, minutes, reduction, minEpochs, seed, device, threads } = flags;
  const space = flags.space === undefined ? undefined : await readSpaceFile(flags.space);
  const data = await readData(flags.data, seed, undefined, fineTune);
  const interrupt = listenForInterrupt({
    now: `Finishing this batch. Finished trials are kept in ${out}.`,
    then: () => 'To go on, run the same command with --resume.',
  });
  const progress = new Progress({ stream: progressStream });
  try {
    return await search(flags.model, data, {
      ...{ folder: out, fineTune, method, reduction, minEpochs, seed, device, signal: interrupt.signal },
      resume: flags.resume ?? false,
      ...(space === undefined ? {} : { space }),
      ...(trials === undefined ? {} : { trials }),
      ...(minutes === undefined ? {} : { minutes }),
      ...(threads === undefined ? {} : { threads }),
      onTrial: (trial) => {
        progress.line(trialLine(trial));
        if (flags.json) printJson({ event: 'trial', ...trial });
      },
      onBatch: batchDisplay(progress, labelOf),
    });
  } finally {
    progress.finish();
    interrupt.stop();
  }
}

function labelOf({ trial, phase, epoch }: BatchProgress & { trial: number }): string {
  return `trial ${trial}, ${phase === 'train' ? `epoch ${epoch}` : 'validating'}`;
}

async function readSpaceFile(path: string): Promise<SearchSpace> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    throw new TorchgraftError('FILE_NOT_FOUND', `No search space at ${path}.`, { cause });
  }
  try {
    return JSON.parse(text) as SearchSpace;
  } catch (error) {
    throw invalidValue(`search: ${path} is not JSON: ${(error as Error).message}.`);
  }
}

async function writeFiles(folder: string, result: SearchResult): Promise<void> {
  const files = [
    ['search.json', `${JSON.stringify(result, null, 2)}\n`],
    ['search.svg', await renderSearchChart(result)],
  ] as const;
  for (const [name, text] of files)
    await writeAtomically(join(folder, name), (temporary) => writeFile(temporary, text));
}

function trialLine({ trial, rung, epochs, value, config, failure, seconds }: SearchTrial): string {
  const what = failure
    ? `failed (${failure.code})`
    : `${epochs} epochs, best ${value?.toFixed(4) ?? 'unknown'}`;
  return `trial ${String(trial).padStart(3)}  rung ${rung}  ${what}  ${formatTime(seconds)}  ${JSON.stringify(config)}`;
}

function summary(result: SearchResult): string {
  const { best, metric, model, seconds, ended } = result;
  return [
    searchTable(result),
    '',
    `best   trial ${best.trial}: ${metric} ${best.value?.toFixed(4)} at epoch ${best.bestEpoch}; ${JSON.stringify(best.config)}`,
    `saved  ${model}  (${formatTime(seconds)} of training${ended === 'minutes' ? ', the minutes are spent' : ''})`,
  ].join('\n');
}
