import { z } from 'zod';
import { randomIntegers } from '../data/random.js';
import { invalidType, invalidValue, TorchgraftError } from '../errors.js';
import { checkOptions } from '../options.js';
import { isInt32Array, optionOf } from '../value-kinds.js';
import type { Statistic } from './statistics.js';

const resampling = {
  resamples: z.int().min(1).default(1000),
  seed: z.int().min(0).default(0),
};

const shape = {
  ...resampling,
  confidence: z.number().gt(0).lt(1).default(0.95),
  strata: optionOf<Int32Array>(isInt32Array, 'an Int32Array').optional(),
};

/** How often samples are drawn anew, and the seed of it. */
export const resamplingSchema = z.strictObject(resampling);
const intervalSchema = z.strictObject(shape);
const differenceSchema = z.strictObject({ ...shape, mode: z.enum(['max', 'min']).default('max') });

export interface BootstrapOptions {
  /** How often samples are drawn anew. Default 1000. */
  resamples?: number;
  /** Of the interval, above 0 and below 1. Default 0.95. */
  confidence?: number;
  /** A whole number, 0 or more. Default 0. */
  seed?: number;
  /**
   * [n], a group of each sample, for example its true class: as many as a group has are drawn from it, so that no rare
   * class gets lost. Default: all samples are one group.
   */
  strata?: Int32Array;
}

export interface BootstrapDifferenceOptions extends BootstrapOptions {
  /** Whether a larger or a smaller value is better. Default `max`. */
  mode?: 'max' | 'min';
}

export interface BootstrapInterval {
  /** The statistic of the samples themselves; null where it is undefined. */
  value: number | null;
  /** Ends of the interval; null when the statistic is undefined of every resample. */
  low: number | null;
  high: number | null;
  /** Resamples of which the statistic is defined, and which the interval is made of. */
  resamples: number;
}

export interface BootstrapDifference {
  /** First minus second, of the samples themselves; null where either is undefined. */
  difference: number | null;
  /** Ends of the interval of the difference; null when it is undefined of every resample. */
  low: number | null;
  high: number | null;
  /** Share of the resamples in which the first is better, equal ones counting one half; null likewise. */
  betterShare: number | null;
  /** Resamples of which the difference is defined. */
  resamples: number;
}

/**
 * A percentile bootstrap interval (Efron 1979): the statistic of many sets of as many samples, drawn from the given ones
 * with replacement; the interval leaves out the same share of them at both ends, interpolated as numpy.percentile does.
 *
 * It says how much the figure would vary with other samples of the same kind, not with another training. Of few samples
 * (under about 30), and near the best value that can be reached, it is too narrow; of one sample, or of samples that are all
 * right, it is a point. `classificationInterval` has better ones of accuracy and macro F1.
 *
 * @param count how many samples there are, at least 1
 * @param statistic gets `count` indices, 0 to count - 1, in an array that is used again for the next call
 * @throws INVALID_TYPE or INVALID_VALUE for wrong arguments, SHAPE_MISMATCH for strata of another length
 *
 * @example
 * const { scores } = await classifier.evaluate(data);
 * const rocAuc = classificationStatistic('rocAuc', scores);
 * const { low, high } = bootstrapInterval(scores.labels.length, rocAuc, { strata: scores.labels });
 */
export function bootstrapInterval(
  count: number,
  statistic: Statistic,
  options: BootstrapOptions = {},
): BootstrapInterval {
  const checked = checkOptions(intervalSchema, options, 'bootstrapInterval');
  checkStatistics([statistic], 'bootstrapInterval');
  const { strata, seed, resamples, confidence } = checked;
  const resampler = new Resampler(count, strata, 'bootstrapInterval');
  const values = Array.from({ length: resamples }, (_, number) => statistic(resampler.draw(seed, number)));
  const sorted = sortDefined(values);
  return {
    value: defined(statistic(resampler.all())),
    ...interval(sorted, confidence),
    resamples: sorted.length,
  };
}

/**
 * A paired percentile bootstrap of the difference between two statistics of the same samples, for example of two models:
 * both are computed of the same resamples, so what makes a sample hard for both cancels out.
 *
 * @param first and `second` get the same indices; see `bootstrapInterval`
 * @throws INVALID_TYPE or INVALID_VALUE for wrong arguments, SHAPE_MISMATCH for strata of another length
 *
 * @example
 * const of = (scores: ClassificationScores) => classificationStatistic('macroF1', scores);
 * const { low, high, betterShare } = bootstrapDifference(scores.labels.length, of(tuned), of(probe));
 * const isBetter = low !== null && low > 0;
 */
export function bootstrapDifference(
  count: number,
  first: Statistic,
  second: Statistic,
  options: BootstrapDifferenceOptions = {},
): BootstrapDifference {
  const checked = checkOptions(differenceSchema, options, 'bootstrapDifference');
  checkStatistics([first, second], 'bootstrapDifference');
  const { strata, seed, resamples, confidence, mode } = checked;
  const resampler = new Resampler(count, strata, 'bootstrapDifference');
  const differenceOf = (indices: Int32Array) => {
    const [one, other] = [defined(first(indices)), defined(second(indices))];
    return one === null || other === null ? null : one - other;
  };
  const values = Array.from({ length: resamples }, (_, number) => differenceOf(resampler.draw(seed, number)));
  const sorted = sortDefined(values);
  const sign = mode === 'max' ? 1 : -1;
  const wins = sorted.reduce((sum, value) => sum + (1 + Math.sign(sign * value)) / 2, 0);
  return {
    difference: differenceOf(resampler.all()),
    ...interval(sorted, confidence),
    betterShare: sorted.length === 0 ? null : wins / sorted.length,
    resamples: sorted.length,
  };
}

/** Draws samples with replacement; a draw is a function of its seed and number. */
class Resampler {
  /** The samples of each stratum. */
  readonly #strata: Int32Array[];
  readonly #drawn: Int32Array;

  constructor(count: number, strata: Int32Array | undefined, where: string) {
    if (!Number.isInteger(count) || count < 1) {
      throw invalidValue(`${where}: \`count\` is ${count}; expected how many samples there are, at least 1.`);
    }
    if (strata && strata.length !== count) {
      throw new TorchgraftError(
        'SHAPE_MISMATCH',
        `${where}: \`strata\` has ${strata.length} values for ${count} samples. Give one for each.`,
      );
    }
    this.#drawn = new Int32Array(count);
    const groups = new Map<number, number[]>();
    for (let index = 0; index < count; index++) {
      const group = groups.get(strata?.[index] ?? 0);
      if (group) group.push(index);
      else groups.set(strata?.[index] ?? 0, [index]);
    }
    this.#strata = Array.from(groups.values(), (group) => Int32Array.from(group));
  }

  draw(seed: number, number: number): Int32Array {
    const next = randomIntegers(seed, number);
    let at = 0;
    for (const stratum of this.#strata) {
      for (let i = 0; i < stratum.length; i++) {
        this.#drawn[at] = stratum[Math.floor((next() / 2 ** 32) * stratum.length)] as number;
        at += 1;
      }
    }
    return this.#drawn;
  }

  /** Every sample once. */
  all(): Int32Array {
    return this.#drawn.map((_, index) => index);
  }
}

function defined(value: number | null): number | null {
  return value !== null && Number.isFinite(value) ? value : null;
}

function sortDefined(values: readonly (number | null)[]): Float64Array {
  return Float64Array.from(values.filter((value) => defined(value) !== null) as number[]).sort();
}

function interval(sorted: Float64Array, confidence: number) {
  const tail = (1 - confidence) / 2;
  return { low: quantile(sorted, tail), high: quantile(sorted, 1 - tail) };
}

/** numpy.percentile's linear interpolation between neighbours. */
function quantile(sorted: Float64Array, share: number): number | null {
  if (sorted.length === 0) return null;
  const position = share * (sorted.length - 1);
  const below = sorted[Math.floor(position)] as number;
  const above = sorted[Math.ceil(position)] as number;
  return below + (above - below) * (position - Math.floor(position));
}

function checkStatistics(statistics: readonly unknown[], where: string): void {
  if (statistics.some((statistic) => typeof statistic !== 'function')) {
    throw invalidType(
      `${where}: a statistic must be a function of indices, for example classificationStatistic('accuracy', scores).`,
    );
  }
}
