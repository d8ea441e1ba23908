import { z } from 'zod';
import { randomIntegers } from '../data/random.js';
import { invalidType, invalidValue } from '../errors.js';
import { type FineTuneOptions, fineTuneShape } from '../fine-tune/options.js';
import { suggest } from '../options.js';
import { checkSchedule, type ScheduleOptions } from '../schedule.js';

/** The options of one trial that are searched; all but those that belong to a run, or that all trials must share. */
export type TrialConfig = Omit<
  FineTuneOptions,
  | ('checkpoint' | 'resume' | 'signal' | 'onBatch' | 'seed' | 'threads')
  | ('decodedBytes' | 'cache' | 'unreadable' | 'earlyStopping' | 'groups')
>;

const isShared: Record<Exclude<keyof FineTuneOptions, keyof TrialConfig>, true> = {
  checkpoint: true,
  resume: true,
  signal: true,
  onBatch: true,
  seed: true,
  threads: true,
  decodedBytes: true,
  cache: true,
  unreadable: true,
  earlyStopping: true,
  groups: true,
};
const shared = Object.keys(isShared);
const searchable = Object.keys(fineTuneShape).filter((name) => !shared.includes(name));

/** Numbers from `low` to `high`, evenly or, with `log`, in their logarithm; whole where the option takes no others. */
export interface SearchRange {
  low: number;
  high: number;
  log?: boolean;
}

/** What is searched: a range of numbers, or a list of values, for each of these options of fineTune. */
export type SearchSpace = {
  [K in keyof TrialConfig]?: SearchRange | readonly NonNullable<TrialConfig[K]>[];
};

/** Searched unless told otherwise, each where `fineTune` does not fix it. */
export const defaultSpace: SearchSpace = {
  learningRate: { low: 1e-5, high: 3e-2, log: true },
  strategy: ['head', 'last:2', 'full'],
  epochs: [5, 10, 20],
  batchSize: [16, 32, 64],
  weightDecay: { low: 1e-4, high: 1e-1, log: true },
  augment: ['none', 'default'],
};

/** One dimension of a space. `whole`: whole numbers alone. */
export type SearchDimension =
  | { name: string; kind: 'range'; low: number; high: number; log: boolean; whole: boolean }
  | { name: string; kind: 'choice'; values: readonly unknown[] };

const rangeSchema = z
  .strictObject({ low: z.number(), high: z.number(), log: z.boolean().default(false) })
  .refine(({ low, high }) => low < high, 'expected `low` less than `high`')
  .refine(({ low, log }) => !log || low > 0, 'a logarithmic range begins above 0');
const choiceSchema = z.array(z.unknown()).min(1, 'expected at least one value');

/**
 * The dimensions of a space, by name.
 *
 * @throws INVALID_TYPE for an option that cannot be searched, naming the nearest, and for what is no range and no list;
 * INVALID_VALUE for an empty one, and for a value that the option does not take
 */
export function readSpace(space: SearchSpace, where: string): SearchDimension[] {
  if (typeof space !== 'object' || space === null || Array.isArray(space))
    throw invalidType(`${where}: \`space\` must be an object of ranges and lists.`);
  const entries = Object.entries(space).filter(([, given]) => given !== undefined);
  if (entries.length === 0) throw invalidValue(`${where}: \`space\` is empty. Name at least one option.`);
  return entries
    .map(([name, given]) => readDimension(name, given, where))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

function readDimension(name: string, given: unknown, where: string): SearchDimension {
  if (shared.includes(name))
    throw invalidType(`${where}: \`space.${name}\`: all trials share this option; it cannot be searched.`);
  if (!searchable.includes(name))
    throw invalidType(`${where}: unknown option \`space.${name}\`. ${suggest(name, searchable)}`);
  const parsed = (Array.isArray(given) ? choiceSchema : rangeSchema).safeParse(given);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    const path = ['space', name, ...(issue?.path ?? [])].join('.');
    const isType = issue?.code === 'invalid_type' || issue?.code === 'unrecognized_keys';
    const message = `${where}: \`${path}\`: ${issue?.message}. Give { low, high, log } or a list of values.`;
    throw isType ? invalidType(message) : invalidValue(message);
  }
  const option = fineTuneShape[name] as z.ZodType;
  const check = (value: unknown) => {
    if (name === 'schedule') checkSchedule(value as ScheduleOptions, `${where}: \`space.schedule\``);
    const issue = option.safeParse(value).error?.issues[0];
    if (issue) throw invalidValue(`${where}: \`space.${name}\`: ${JSON.stringify(value)}: ${issue.message}.`);
  };
  if (Array.isArray(parsed.data)) {
    for (const value of parsed.data) check(value);
    return { name, kind: 'choice', values: parsed.data };
  }
  const { low, high, log } = parsed.data as { low: number; high: number; log: boolean };
  for (const end of [low, high]) check(end);
  return { name, kind: 'range', low, high, log, whole: !option.safeParse(low + 0.5).success };
}

/** The configuration of a trial, a pure function of the space, the seed and the trial's number. */
export function drawTrial(dimensions: readonly SearchDimension[], seed: number, trial: number): TrialConfig {
  const next = randomIntegers(seed, trial);
  return Object.fromEntries(
    dimensions.map((dimension) => [dimension.name, draw(dimension, next() / 2 ** 32)]),
  );
}

function draw(dimension: SearchDimension, share: number): unknown {
  if (dimension.kind === 'choice') return dimension.values[Math.floor(share * dimension.values.length)];
  const { low, high, log, whole } = dimension;
  if (whole) return Math.min(high, Math.floor(between(low, high + 1, log, share)));
  // Three digits are all that matter, read well, and are the same wherever the logarithm's last digit is not.
  return Math.min(high, Math.max(low, Number(between(low, high, log, share).toPrecision(3))));
}

function between(low: number, high: number, log: boolean, share: number): number {
  return log ? Math.exp(Math.log(low) + share * Math.log(high / low)) : low + share * (high - low);
}

/** The largest value of a dimension of numbers. */
export function largestOf(dimension: SearchDimension): number {
  return dimension.kind === 'range' ? dimension.high : Math.max(...(dimension.values as number[]));
}
