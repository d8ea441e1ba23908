import { z } from 'zod';
import { invalidType, invalidValue, TorchgraftError } from './errors.js';
import { metricMode, type NamedMetrics } from './metrics/names.js';
import { checkOptions, nearest } from './options.js';
import { compareStandings } from './standing.js';

export interface EarlyStoppingOptions {
  /** A metric of the epoch reports, for example `valLoss`, `valMacroF1`, `valRocAuc` or `valF1:ants`. */
  metric: string;
  /** Epochs without improvement after which training stops, at least 1. Default: never stop, only pick the best. */
  patience?: number;
  /** The metric must get better by more than this to count as an improvement for `patience`. Default 0. */
  minDelta?: number;
  /** Whether smaller or larger is better. Default `auto`: losses and errors (`valEce`) are minimised, all else is maximised. */
  mode?: 'auto' | 'min' | 'max';
}

const optionsSchema = z.strictObject({
  metric: z.string().min(1),
  patience: z.number().int().min(1).optional(),
  minDelta: z.number().min(0).default(0),
  mode: z.enum(['auto', 'min', 'max']).default('auto'),
});

const stateSchema = z.strictObject({
  metric: z.string(),
  best: z.strictObject({ epoch: z.number().int().min(0), value: z.number() }).nullable(),
  loss: z.number().nullable().default(null),
  reference: z.number().nullable(),
  waited: z.number().int().min(0),
});

/** What a checkpoint keeps of early stopping; plain JSON. */
export interface EarlyStoppingState {
  metric: string;
  /** The best epoch so far and its value. */
  best: { epoch: number; value: number } | null;
  /** Its validation loss. */
  loss: number | null;
  /** The value that the next improvement is measured against. */
  reference: number | null;
  /** Epochs without improvement. */
  waited: number;
}

/**
 * Picks the best epoch by one metric and says when to stop waiting for a better one.
 *
 * The best epoch is the one with the best value, whatever `minDelta`; of equal ones that with the lowest `valLoss`, where the
 * reports have it, and of those the last. Epoch 0, the model before the first step, takes part. `patience` counts epochs since
 * the metric last got better by more than `minDelta` (as Keras does): a tie is no improvement, however it is broken.
 * NaN, infinities and null, a metric that is undefined on these samples, are never better.
 *
 * @example
 * const stopping = new EarlyStopping({ metric: 'valLoss', patience: 3 }, metricNames('val', classes));
 * if (stopping.update(epoch, report).best) await model.keepBest();
 */
export class EarlyStopping {
  readonly metric: string;
  readonly mode: 'min' | 'max';
  readonly #patience: number;
  readonly #minDelta: number;
  #state: Omit<EarlyStoppingState, 'metric'> = {
    best: null,
    loss: null,
    reference: null,
    waited: 0,
  };

  /**
   * @param known names that the epoch reports will carry
   * @throws INVALID_VALUE for a metric that is not among them, naming the nearest
   */
  constructor(options: EarlyStoppingOptions, known: readonly string[]) {
    const { metric, patience, minDelta, mode } = checkOptions(optionsSchema, options, 'EarlyStopping');
    if (!known.includes(metric)) throw unknownMetric(metric, known);
    this.metric = metric;
    this.mode = mode === 'auto' ? metricMode(metric) : mode;
    this.#patience = patience ?? Number.POSITIVE_INFINITY;
    this.#minDelta = minDelta;
  }

  /** The best epoch so far and its value; null before the first finite one. */
  get best(): { epoch: number; value: number } | null {
    return this.#state.best;
  }

  /** Patience has run out. */
  get isSpent(): boolean {
    return this.#state.waited >= this.#patience;
  }

  /** Patience counts anew, as when another part of a run begins; the best epoch stays. */
  renew(): void {
    this.#state = { ...this.#state, waited: 0 };
  }

  /**
   * Takes one epoch's report.
   *
   * @param epoch 0 for the model before the first step, then 1, 2, ...
   * @returns `best`: this epoch is the best so far; `stop`: patience has run out
   * @throws INVALID_VALUE when the report lacks the metric
   */
  update(epoch: number, report: NamedMetrics): { best: boolean; stop: boolean } {
    const reported = Object.hasOwn(report, this.metric) ? report[this.metric] : undefined;
    if (reported === undefined) throw unknownMetric(this.metric, Object.keys(report));
    const value = reported ?? Number.NaN;
    const { best, loss: bestLoss, reference, waited } = this.#state;
    const loss = finite(report.valLoss);
    const before = { value: best?.value ?? null, loss: bestLoss };
    const isBest = Number.isFinite(value) && compareStandings({ value, loss }, before, this.mode) <= 0;
    const isImprovement = this.#isImprovement(value, reference);
    this.#state = {
      best: isBest ? { epoch, value } : best,
      loss: isBest ? loss : bestLoss,
      reference: isImprovement ? value : reference,
      waited: isImprovement || epoch === 0 ? 0 : waited + 1,
    };
    return { best: isBest, stop: this.isSpent };
  }

  /** The state for a checkpoint; `restore` of it, through JSON or not, continues exactly. */
  toJSON(): EarlyStoppingState {
    return { metric: this.metric, ...this.#state };
  }

  /** @throws CHECKPOINT_INVALID when the state is damaged or of another metric */
  restore(state: unknown): void {
    const parsed = stateSchema.safeParse(state);
    if (!parsed.success) {
      throw new TorchgraftError(
        'CHECKPOINT_INVALID',
        'The state of early stopping in the checkpoint cannot be read. Start without resuming.',
        { cause: parsed.error },
      );
    }
    const { metric, ...rest } = parsed.data;
    if (metric !== this.metric) {
      throw new TorchgraftError(
        'CHECKPOINT_INVALID',
        `The checkpoint picked its best epoch by \`${metric}\`, this run by \`${this.metric}\`. ` +
          'Resume with the same metric, or start without resuming.',
      );
    }
    this.#state = rest;
  }

  #isImprovement(value: number, than: number | null): boolean {
    if (!Number.isFinite(value)) return false;
    if (than === null) return true;
    const delta = this.#minDelta;
    return this.mode === 'min' ? value < than - delta : value > than + delta;
  }
}

function finite(value: number | null | undefined): number | null {
  return Number.isFinite(value) ? (value as number) : null;
}

// Metrics of one class carry the class after a colon, and its name may be a number.
const earlyStoppingForm =
  /^([a-zA-Z]+(?<!Macro|Micro|Weighted)(?:Precision|Recall|F1|RocAuc|PrAuc):.+?|[^:]+):(\d+)(?::(\d*\.?\d+(?:e[+-]?\d+)?))?$/;

/**
 * Reads `metric:patience[:minDelta]`, for example `valLoss:5`, `valMacroF1:3:0.001`, `valF1:ants:4`. `valRocAuc:3:4` is
 * of the class `3`: a whole number is no delta of an area.
 *
 * @throws INVALID_VALUE when the text has another form
 */
export function parseEarlyStopping(text: string, where: string): EarlyStoppingOptions {
  if (typeof text !== 'string') throw invalidType(`${where}: early stopping must be a string.`);
  const parts = earlyStoppingForm.exec(text);
  const metric = parts?.[1];
  if (metric === undefined) {
    throw invalidValue(
      `${where}: early stopping \`${text}\` cannot be read; expected \`metric:patience[:minDelta]\`, ` +
        'for example `valLoss:5` or `valMacroF1:3:0.001`.',
    );
  }
  const minDelta = parts?.[3] === undefined ? {} : { minDelta: Number(parts[3]) };
  return { metric, patience: Number(parts?.[2]), ...minDelta };
}

function unknownMetric(metric: string, known: readonly string[]): RangeError {
  const guess = nearest(metric, known);
  const hint = guess ? `Did you mean \`${guess}\`?` : `Known: ${known.slice(0, 20).join(', ')}.`;
  return invalidValue(`EarlyStopping: unknown metric \`${metric}\`. ${hint}`);
}
