import { z } from 'zod';
import { invalidType, invalidValue } from './errors.js';
import { metricMode } from './metrics/names.js';
import { checkOptions, nearest } from './options.js';

const share = z.number().min(0).max(1);
const warmup = {
  /** Share of all steps in which the factor rises linearly to 1. */
  warmup: share.default(0),
  /** The same in epochs, instead of `warmup`. */
  warmupEpochs: z.number().min(0).optional(),
};

const schemas = {
  constant: z.strictObject({ kind: z.literal('constant'), ...warmup }),
  cosine: z.strictObject({ kind: z.literal('cosine'), ...warmup, warmup: share.default(0.05) }),
  onecycle: z.strictObject({
    kind: z.literal('onecycle'),
    ...warmup,
    warmup: share.default(0.3),
    divFactor: z.number().min(1).default(25),
    finalDivFactor: z.number().min(1).default(1e4),
  }),
  step: z.strictObject({
    kind: z.literal('step'),
    ...warmup,
    every: z.number().int().min(1),
    gamma: z.number().gt(0).max(1).default(0.1),
  }),
  plateau: z.strictObject({
    kind: z.literal('plateau'),
    ...warmup,
    metric: z.string().default('valLoss'),
    patience: z.number().int().min(0).default(10),
    factor: z.number().gt(0).lt(1).default(0.1),
    threshold: z.number().min(0).lt(1).default(1e-4),
    cooldown: z.number().int().min(0).default(0),
    minFactor: share.default(0),
  }),
};

type Kind = keyof typeof schemas;

/** A learning-rate schedule with all its defaults filled in. */
export type Schedule = { [K in Kind]: z.output<(typeof schemas)[K]> }[Kind];

/**
 * How the learning rate changes, as a caller writes it: an object, or a string as on the command line.
 * - `constant`, `cosine` (`warmup` 0.05): `kind[:warmup]`
 * - `onecycle`: `onecycle[:warmup]`; `warmup` 0.3, `divFactor` 25, `finalDivFactor` 1e4
 * - `step`: `step:every[:gamma]`; `every` in epochs, `gamma` 0.1
 * - `plateau`: `plateau[:patience[:factor]]`; `metric` valLoss, `patience` 10 epochs, `factor` 0.1, `threshold` 1e-4
 *   (relative), `cooldown` 0 epochs, `minFactor` 0
 *
 * All take `warmup` (share of all steps, 0..1) or `warmupEpochs`; where not said, 0.
 */
export type ScheduleOptions = string | { [K in Kind]: z.input<(typeof schemas)[K]> }[Kind];

/** Where training is. */
export interface SchedulePoint {
  /** Optimizer steps done before this one, 0 to totalSteps - 1. */
  step: number;
  /** Optimizer steps of the whole run, all epochs. */
  totalSteps: number;
  stepsPerEpoch: number;
  /** The plateau's metric after each finished epoch, oldest first, without epoch 0; needed by `plateau` alone. */
  history?: readonly number[];
}

/**
 * Checks a schedule and fills its defaults.
 *
 * @param where the verb as the caller wrote it; it opens every message
 * @throws INVALID_TYPE or INVALID_VALUE, naming the nearest kind or option
 */
export function checkSchedule(options: ScheduleOptions, where: string): Schedule {
  if (typeof options === 'string') return parseSchedule(options, where);
  if (typeof options !== 'object' || options === null) {
    throw invalidType(`${where}: \`schedule\` must be a string or an object with a \`kind\`.`);
  }
  const kind = checkKind(options.kind, where);
  const schedule = checkOptions(schemas[kind], options, where) as Schedule;
  if (schedule.warmupEpochs === undefined) return schedule;
  if (options.warmup) {
    throw invalidValue(`${where}: \`schedule\` has both \`warmup\` and \`warmupEpochs\`. Give one of them.`);
  }
  return { ...schedule, warmup: 0 };
}

/** The options that follow the kind in a schedule's string. */
const fieldsOf: Record<Kind, string[]> = {
  constant: ['warmup'],
  cosine: ['warmup'],
  onecycle: ['warmup'],
  step: ['every', 'gamma'],
  plateau: ['patience', 'factor'],
};

/** Reads `constant`, `cosine:0.1`, `onecycle`, `step:3:0.1`, `plateau:2:0.5`; see `ScheduleOptions`. */
export function parseSchedule(text: string, where: string): Schedule {
  const [name, ...fields] = text.split(':');
  const kind = checkKind(name, where);
  const names = fieldsOf[kind];
  const numbers = fields.map((field) => (field.trim() === '' ? Number.NaN : Number(field)));
  const few = kind === 'step' && numbers.length === 0;
  if (few || numbers.length > names.length || numbers.some(Number.isNaN)) {
    const form =
      kind === 'step' ? 'step:every[:gamma]' : `${kind}[:${names.join('[:')}${']'.repeat(names.length)}`;
    throw invalidValue(`${where}: schedule \`${text}\` cannot be read; expected \`${form}\`, with numbers.`);
  }
  const options = Object.fromEntries(numbers.map((value, index) => [names[index], value]));
  return checkOptions(schemas[kind], { kind, ...options }, where) as Schedule;
}

/**
 * The factor on every group's base learning rate for one step: a pure function of the schedule and of where
 * training is, so that a resumed run continues exactly.
 */
export function learningRateFactor(schedule: Schedule, point: SchedulePoint): number {
  const { step, totalSteps, stepsPerEpoch } = point;
  if (schedule.kind === 'onecycle') {
    const share =
      schedule.warmupEpochs === undefined ? schedule.warmup : warmupSteps(schedule, point) / totalSteps;
    return oneCycleFactor(step, totalSteps, share, schedule.divFactor, schedule.finalDivFactor);
  }
  const rising = warmupSteps(schedule, point);
  const rise = step < rising ? (step + 1) / (rising + 1) : 1;
  switch (schedule.kind) {
    case 'constant':
      return rise;
    case 'cosine':
      return step < rising ? rise : cosineFactor(step - rising, totalSteps - rising);
    case 'step':
      return rise * schedule.gamma ** Math.floor(step / stepsPerEpoch / schedule.every);
    case 'plateau':
      return rise * plateauFactor(schedule, point.history ?? []);
  }
}

/**
 * Whole steps of linear warm-up, (step + 1) / (steps + 1): torch.optim.lr_scheduler.LinearLR with
 * start_factor 1 / (steps + 1).
 */
function warmupSteps(schedule: Schedule, { totalSteps, stepsPerEpoch }: SchedulePoint): number {
  const steps =
    schedule.warmupEpochs === undefined
      ? schedule.warmup * totalSteps
      : schedule.warmupEpochs * stepsPerEpoch;
  return Math.min(Math.round(steps), totalSteps);
}

/** torch.optim.lr_scheduler.CosineAnnealingLR with eta_min 0 (SGDR, Loshchilov and Hutter 2017, without restarts). */
function cosineFactor(step: number, totalSteps: number): number {
  return (1 + Math.cos((Math.PI * step) / totalSteps)) / 2;
}

/**
 * torch.optim.lr_scheduler.OneCycleLR, cosine annealing in two phases, without its cycling of momentum
 * (Smith and Topin 2018). The base learning rate is its max_lr.
 */
function oneCycleFactor(
  step: number,
  totalSteps: number,
  share: number,
  divFactor: number,
  finalDivFactor: number,
): number {
  const peak = share * totalSteps - 1;
  const start = 1 / divFactor;
  if (step <= peak) return anneal(start, 1, peak === 0 ? 1 : step / peak);
  return anneal(1, start / finalDivFactor, (step - peak) / (totalSteps - 1 - peak));
}

function anneal(from: number, to: number, progress: number): number {
  return to + ((from - to) / 2) * (1 + Math.cos(Math.PI * progress));
}

/** torch.optim.lr_scheduler.ReduceLROnPlateau with threshold_mode 'rel'; NaN counts as no improvement. */
function plateauFactor(schedule: Extract<Schedule, { kind: 'plateau' }>, history: readonly number[]): number {
  const smaller = metricMode(schedule.metric) === 'min';
  let best = smaller ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
  let factor = 1;
  let waited = 0;
  let cooling = 0;
  for (const value of history) {
    const limit = best * (smaller ? 1 - schedule.threshold : 1 + schedule.threshold);
    if (smaller ? value < limit : value > limit) {
      best = value;
      waited = 0;
    } else {
      waited += 1;
    }
    if (cooling > 0) {
      cooling -= 1;
      waited = 0;
    }
    if (waited > schedule.patience) {
      factor = Math.max(factor * schedule.factor, schedule.minFactor);
      cooling = schedule.cooldown;
      waited = 0;
    }
  }
  return factor;
}

function checkKind(kind: unknown, where: string): Kind {
  if (typeof kind === 'string' && Object.hasOwn(schemas, kind)) return kind as Kind;
  const known = Object.keys(schemas);
  const guess = nearest(String(kind), known);
  throw invalidValue(
    `${where}: unknown schedule \`${String(kind)}\`. ${guess ? `Did you mean \`${guess}\`?` : `Known: ${known.join(', ')}.`}`,
  );
}
