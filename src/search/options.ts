import { z } from 'zod';
import { type Task, taskOf } from '../data/task.js';
import { invalidValue } from '../errors.js';
import {
  type BatchProgress,
  type CheckedOptions,
  checkFineTuneOptions,
  type FineTuneOptions,
  fineTuneShape,
} from '../fine-tune/options.js';
import { checkTask } from '../fine-tune/task-options.js';
import { checkOptions } from '../options.js';
import { callback, signalOption } from '../value-kinds.js';
import { rungEpochs } from './halving.js';
import { defaultSpace, largestOf, readSpace, type SearchDimension, type SearchSpace } from './space.js';
import type { SearchTrial } from './trials.js';

/** What all trials share: options of fineTune that are not searched. */
export type SharedOptions = Omit<FineTuneOptions, 'checkpoint' | 'resume' | 'signal' | 'onBatch'>;

/** Options of search; all but `folder` may be left out. */
export interface SearchOptions {
  /** Folder that receives the journal, checkpoints while it runs, and the best trial's model.pt; made if need be. */
  folder: string;
  /**
   * What is searched. Default: learning rate (1e-5 to 3e-2), strategy (`head`, `last:2`, `full`), epochs (5, 10, 20),
   * batch size (16, 32, 64), weight decay (1e-4 to 1e-1) and augmentation, but for what `fineTune` fixes.
   */
  space?: SearchSpace;
  /** Options that all trials share. `earlyStopping.metric` is what trials are compared by, by default as in fineTune. */
  fineTune?: SharedOptions;
  /** `asha`: successive halving, most trials stop after few epochs; or `random`: each trial has all its epochs. Default `asha`. */
  method?: 'asha' | 'random';
  /** Trials drawn at most. Default 20; without limit when `minutes` is given. */
  trials?: number;
  /** No training begins after so many minutes of training, earlier calls on this folder included. Default: no limit. */
  minutes?: number;
  /** ASHA: one trial in so many goes on to the next rung, with so many times the epochs. Default 3. */
  reduction?: number;
  /** ASHA: epochs of the first rung. Default 1. */
  minEpochs?: number;
  /** Of the trials' configurations; `fineTune.seed` is the trainings'. Default 0. */
  seed?: number;
  /** Go on with the journal in the folder, if there is one. Default false: a folder that has one is refused. */
  resume?: boolean;
  /** As of loadModel. */
  device?: string;
  /** Threads of libtorch, as of loadModel. */
  threads?: number;
  /** Stops within a batch with ABORTED; a later call with `resume` goes on from there. */
  signal?: AbortSignal;
  /** Called when a trial has reached a rung, also for those that are read from the journal. */
  onTrial?: (trial: SearchTrial) => unknown;
  /** Called after each batch, as in fineTune. */
  onBatch?: (progress: BatchProgress & { trial: number }) => unknown;
}

const schema = z.strictObject({
  folder: z.string().min(1),
  space: z.custom<SearchSpace>().optional(),
  fineTune: z
    .looseObject({})
    .transform((options) => options as SharedOptions)
    .default({}),
  method: z.enum(['asha', 'random']).default('asha'),
  trials: z.int().min(1).max(1_000_000).optional(),
  minutes: z.number().gt(0).optional(),
  reduction: z.int().min(2).max(100).default(3),
  minEpochs: z.int().min(1).default(1),
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
  resume: z.boolean().default(false),
  device: z.string().optional(),
  threads: z.int().min(1).max(1024).optional(),
  signal: signalOption,
  onTrial: callback<NonNullable<SearchOptions['onTrial']>>(),
  onBatch: callback<NonNullable<SearchOptions['onBatch']>>(),
});

/** SearchOptions, checked and with defaults. */
export type CheckedSearch = Omit<z.output<typeof schema>, 'trials' | 'space'> & {
  /** Infinity for no limit. */
  trials: number;
  dimensions: SearchDimension[];
  /** `fineTune` with its defaults. */
  shared: CheckedOptions;
  /** Epochs of each rung. */
  rungs: number[];
};

/** @param task of the data @throws INVALID_TYPE or INVALID_VALUE naming the option */
export function checkSearchOptions(options: SearchOptions, task?: Task): CheckedSearch {
  const { space, trials, ...rest } = checkOptions(schema, options, 'search');
  const given = rest.fineTune as FineTuneOptions;
  for (const name of ['checkpoint', 'resume', 'signal', 'onBatch'] as const) {
    if (given[name] === undefined) continue;
    throw invalidValue(`search: \`fineTune.${name}\`: each trial has its own. Use the options of search.`);
  }
  const shared = checkFineTuneOptions(rest.fineTune, task);
  const dimensions = readSpace(space ?? withoutFixed(given), 'search');
  const both = dimensions.find(({ name }) => given[name as keyof FineTuneOptions] !== undefined);
  if (both) {
    throw invalidValue(
      `search: \`${both.name}\` is both in \`space\` and in \`fineTune\`. Leave one of them out.`,
    );
  }
  checkChoices(dimensions, shared, task);
  return {
    ...rest,
    ...{ dimensions, shared },
    trials: trials ?? (rest.minutes === undefined ? 20 : Number.POSITIVE_INFINITY),
    rungs: rungsOf(rest, shared, dimensions),
  };
}

/** A value that means nothing for the data's task would fail in every trial that draws it. @throws INVALID_VALUE */
function checkChoices(dimensions: readonly SearchDimension[], shared: CheckedOptions, task?: Task): void {
  for (const dimension of dimensions) {
    if (dimension.kind !== 'choice') continue;
    const { name, values } = dimension;
    const option = fineTuneShape[name] as z.ZodType;
    for (const value of values)
      checkTask({ ...shared, [name]: option.parse(value) }, taskOf({ task }), `search: \`space.${name}\``);
  }
}

function withoutFixed(given: FineTuneOptions): SearchSpace {
  const free = Object.entries(defaultSpace).filter(
    ([name]) => given[name as keyof FineTuneOptions] === undefined,
  );
  return Object.fromEntries(free);
}

function rungsOf(
  { method, minEpochs, reduction }: Pick<z.output<typeof schema>, 'method' | 'minEpochs' | 'reduction'>,
  shared: CheckedOptions,
  dimensions: readonly SearchDimension[],
): number[] {
  const searched = dimensions.find(({ name }) => name === 'epochs');
  const most = searched ? largestOf(searched) : shared.epochs;
  return method === 'random' ? [most] : rungEpochs(Math.min(minEpochs, most), most, reduction);
}
