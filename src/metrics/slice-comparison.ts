import { randomIntegers, shuffle } from '../data/random.js';
import { invalidType, invalidValue, TorchgraftError } from '../errors.js';
import {
  type BootstrapDifference,
  type BootstrapInterval,
  bootstrapDifference,
  bootstrapInterval,
} from './bootstrap.js';
import type { MetricInterval } from './intervals.js';
import type { Statistic } from './statistics.js';

/** How a slice does beside all other samples. */
export type SliceStanding = 'worse' | 'better' | 'no difference seen' | 'too few to tell';

/** One value of a slice, for example one scanner, by the metric that slices are compared by. */
export interface ComparedSlice {
  value: string;
  /** Samples. */
  count: number;
  /** The metric that slices are compared by, with its 95 % interval. */
  score: MetricInterval;
  /** This slice less all other samples, with the 95 % interval; null where it is too small, or all there is. */
  toRest: BootstrapDifference | null;
  standing: SliceStanding;
}

/** The best slice less the worst, of those that are large enough. */
export interface SliceGap {
  best: string;
  worst: string;
  /** Never negative: in favour of `best`. */
  value: number;
  /** 95 % bootstrap interval of the difference between these two. */
  low: number | null;
  high: number | null;
  /** Share of random divisions of the samples into slices of these sizes that have as large a gap: small is real. */
  chance: number;
}

/** Samples of one class, or with one label, in one slice: the groups of Sagawa et al. (2020). */
export interface GroupScores {
  value: string;
  class: string;
  count: number;
  /** Share that is right, the recall of the class in the slice, with its 95 % Wilson interval. */
  accuracy: number;
  low: number;
  high: number;
}

/** What slices of a name are compared by. */
export interface SliceMeasure {
  /** Samples of each slice. */
  members: ReadonlyMap<string, Int32Array>;
  statistic: Statistic;
  /** The statistic of a slice, with its interval. */
  intervalOf: (indices: Int32Array) => MetricInterval;
  /** 1 where a larger value is better, -1 where a smaller one is. */
  sign: 1 | -1;
  /** [n], a stratum of each sample, within which resamples are drawn. */
  strata: Int32Array;
  /** Whether a slice is too small to tell. */
  isSmall: (indices: Int32Array) => boolean;
  /** Whether a slice cannot be told from the others all the same, although the resamples say that it can. */
  isLike: (indices: Int32Array) => boolean;
  resamples: number;
  seed: number;
}

/** The slices beside each other, in the order of the members; the worst, and the gap. */
export function compareSlices(measure: SliceMeasure): {
  slices: ComparedSlice[];
  worst: string | null;
  gap: SliceGap | null;
} {
  const { members, sign, isSmall } = measure;
  const large = [...members.values()].filter((indices) => !isSmall(indices)).length;
  // Of two slices the one is better where the other is worse.
  const comparisons = large === 2 ? 1 : large;
  const slices = Array.from(members, ([value, indices]): ComparedSlice => {
    const tooFew = isSmall(indices);
    const isAll = indices.length === measure.strata.length;
    const toRest = tooFew || isAll ? null : compareWithRest(measure, indices);
    return {
      ...{ value, count: indices.length, toRest },
      score: measure.intervalOf(indices),
      standing: tooFew ? 'too few to tell' : standingOf(measure, indices, toRest, comparisons),
    };
  });
  const judged = slices
    .filter(({ standing, score }) => standing !== 'too few to tell' && score.value !== null)
    .sort((a, b) => sign * ((a.score.value as number) - (b.score.value as number)));
  return {
    slices,
    worst: judged[0]?.value ?? null,
    gap: judged.length < 2 ? null : gapBetween(measure, judged),
  };
}

/** The bootstrap's interval of a statistic of a slice. */
export function bootstrapSlice(
  { strata, resamples, seed }: Pick<SliceMeasure, 'strata' | 'resamples' | 'seed'>,
  indices: Int32Array,
  statistic: Statistic,
): BootstrapInterval {
  return bootstrapInterval(indices.length, (drawn) => statistic(drawn.map((at) => indices[at] as number)), {
    strata: indices.map((index) => strata[index] as number),
    resamples,
    seed,
  });
}

/** Both sides are drawn within their strata. */
function compareWithRest(
  { statistic, sign, strata, resamples, seed }: SliceMeasure,
  indices: Int32Array,
): BootstrapDifference {
  const inside = new Uint8Array(strata.length);
  for (const index of indices) inside[index] = 1;
  const of = (side: number) => (drawn: Int32Array) => {
    const own = drawn.filter((index) => inside[index] === side);
    return statistic(own);
  };
  return bootstrapDifference(strata.length, of(1), of(0), {
    strata: strata.map((stratum, index) => 2 * stratum + (inside[index] as number)),
    mode: sign > 0 ? 'max' : 'min',
    ...{ resamples, seed },
  });
}

function standingOf(
  { isLike }: SliceMeasure,
  indices: Int32Array,
  toRest: BootstrapDifference | null,
  comparisons: number,
): SliceStanding {
  if (!toRest || toRest.betterShare === null) return 'no difference seen';
  const { betterShare } = toRest;
  if (2 * Math.min(betterShare, 1 - betterShare) > 0.05 / comparisons) return 'no difference seen';
  if (isLike(indices)) return 'no difference seen';
  return betterShare > 0.5 ? 'better' : 'worse';
}

function gapBetween(measure: SliceMeasure, judged: readonly ComparedSlice[]): SliceGap {
  const { members, statistic, sign, resamples, seed } = measure;
  const [worst, best] = [judged[0], judged.at(-1)] as [ComparedSlice, ComparedSlice];
  const sides = [best, worst].map(({ value }) => members.get(value) as Int32Array) as [
    Int32Array,
    Int32Array,
  ];
  const both = Int32Array.from([...sides[0], ...sides[1]]);
  const first = sides[0].length;
  const of = (isFirst: boolean) => (drawn: Int32Array) =>
    statistic(drawn.filter((at) => at < first === isFirst).map((at) => both[at] as number));
  const strata = both.map((_, at) => Number(at >= first));
  const { low, high } = bootstrapDifference(both.length, of(true), of(false), { strata, resamples, seed });
  const ends = sign > 0 ? [low, high] : [high, low];
  const value = sign * ((best.score.value as number) - (worst.score.value as number));
  const pools = judged.map((one) => members.get(one.value) as Int32Array);
  return {
    ...{ best: best.value, worst: worst.value, value },
    low: ends[0] === null ? null : sign * (ends[0] as number),
    high: ends[1] === null ? null : sign * (ends[1] as number),
    chance: chanceOf(value, pools, measure),
  };
}

/** A permutation test: of as many random divisions, counting the one at hand, the share with as large a gap. */
function chanceOf(
  value: number,
  pools: readonly Int32Array[],
  { statistic, resamples, seed }: Pick<SliceMeasure, 'statistic' | 'resamples' | 'seed'>,
): number {
  const all = Int32Array.from(pools.flatMap((pool) => [...pool]));
  let asLarge = 1;
  for (let number = 0; number < resamples; number++) {
    shuffle(all, randomIntegers(seed, number));
    let from = 0;
    let lowest = Number.POSITIVE_INFINITY;
    let highest = Number.NEGATIVE_INFINITY;
    for (const { length } of pools) {
      const found = statistic(all.subarray(from, from + length));
      from += length;
      if (found === null) continue;
      lowest = Math.min(lowest, found);
      highest = Math.max(highest, found);
    }
    if (highest - lowest >= value - 1e-12) asLarge += 1;
  }
  return asLarge / (resamples + 1);
}

/** Samples by value, the values sorted. */
export function indicesByValue(values: readonly string[]): Map<string, Int32Array> {
  const found = new Map<string, number[]>();
  for (const [index, value] of values.entries()) {
    const own = found.get(value);
    if (own) own.push(index);
    else found.set(value, [index]);
  }
  const sorted = [...found].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return new Map(sorted.map(([value, indices]) => [value, Int32Array.from(indices)]));
}

/** The group of the lowest accuracy of those of at least `least` samples; null where none is. */
export function worstGroupOf(groups: readonly GroupScores[], least: number): GroupScores | null {
  const counted = groups.filter(({ count }) => count >= least);
  return counted.length === 0 ? null : counted.reduce((a, b) => (b.accuracy < a.accuracy ? b : a));
}

/**
 * @param count samples; undefined where they are none of the expected kind
 * @throws INVALID_TYPE, INVALID_VALUE for no samples, SHAPE_MISMATCH for values of another length
 */
export function checkSlices(
  count: number | undefined,
  values: readonly string[],
  classes: readonly string[],
  where: string,
): void {
  if (count === undefined || !Array.isArray(values) || !Array.isArray(classes)) {
    throw invalidType(`${where}: expected scores, the slice of each sample, and names of classes.`);
  }
  if (count === 0) throw invalidValue(`${where}: there are no samples.`);
  if (values.length !== count) {
    throw new TorchgraftError(
      'SHAPE_MISMATCH',
      `${where}: \`values\` has ${values.length} entries for ${count} samples. Give one for each.`,
    );
  }
}
