import { z } from 'zod';
import { randomIntegers, shuffle } from '../data/random.js';
import { invalidType, invalidValue, TorchgraftError } from '../errors.js';
import { checkOptions } from '../options.js';
import {
  type BootstrapDifference,
  type BootstrapInterval,
  bootstrapDifference,
  bootstrapInterval,
} from './bootstrap.js';
import type { ClassificationScores } from './scores.js';
import { describeGap } from './slice-verdict.js';
import { classificationStatistic, type Statistic, type StatisticName } from './statistics.js';
import { wilson } from './wilson.js';

const schema = z.strictObject({
  metric: z
    .enum([
      ...(['accuracy', 'macroF1', 'balancedAccuracy', 'mcc', 'kappa', 'rocAuc', 'prAuc'] as const),
      ...(['ece', 'mce', 'brier', 'nll'] as const),
    ])
    .default('accuracy'),
  least: z.int().min(2).default(10),
  widest: z.number().gt(0).max(1).default(0.4),
  resamples: z.int().min(1).default(1000),
  seed: z.int().min(0).default(0),
});

/**
 * - `metric`: what slices are compared by, any of `classificationStatistic`; default `accuracy`
 * - `least`: images below which a slice is too small to tell; default 10
 * - `widest`: and it is where the Wilson interval of its accuracy is wider; default 0.4
 * - `resamples`: of the bootstrap, and random divisions for the gap; default 1000
 * - `seed`: of both; default 0
 */
export type SliceOptions = z.input<typeof schema>;

/** How a slice does beside all other samples. */
export type SliceStanding = 'worse' | 'better' | 'no difference seen' | 'too few to tell';

/** One value of a slice, for example one scanner. */
export interface SliceScores {
  value: string;
  /** Samples. */
  count: number;
  /** With 95 % bootstrap intervals, drawn within the classes. */
  accuracy: BootstrapInterval;
  /** Mean F1 over the classes that the slice has samples of. */
  macroF1: BootstrapInterval;
  /** The metric that slices are compared by. */
  score: BootstrapInterval;
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

/** Samples of one class in one slice: the groups of Sagawa et al. (2020). */
export interface GroupScores {
  value: string;
  class: string;
  count: number;
  /** Share that is right, the recall of the class in the slice, with its 95 % Wilson interval. */
  accuracy: number;
  low: number;
  high: number;
}

/** How a model does on the slices of one name. Plain JSON. */
export interface SliceReport {
  metric: StatisticName;
  /** Sorted by value. */
  slices: SliceScores[];
  /** By the metric, of those large enough to tell; null where none is. */
  worst: string | null;
  /** Null where fewer than two slices are large enough. */
  gap: SliceGap | null;
  /** Slice by class, sorted; those without samples are left out. */
  groups: GroupScores[];
  /** The group of the lowest accuracy of those of at least `least` samples; null where none is. */
  worstGroup: GroupScores | null;
  /** One sentence. */
  verdict: string;
}

/** Metrics of which a smaller value is better. */
const minimised: readonly StatisticName[] = ['ece', 'mce', 'brier', 'nll'];

/**
 * How a model does on parts of the samples: each slice's scores with intervals, the gap between best and worst, and
 * which are too small to tell.
 *
 * A slice is too small where it has fewer than `least` samples, or where the Wilson interval of its accuracy is wider than
 * `widest`. It is worse or better where at most 5 % of the resamples, divided by the number of slices compared
 * (Bonferroni), say otherwise, on both sides together, and, by accuracy, its Wilson interval leaves out theirs:
 * a bootstrap of a few samples that are all right would be a point.
 *
 * @param scores of all samples, as `Classifier.evaluate` gives them
 * @param values the slice of each sample, [n]
 * @param classes names, in the order of the labels
 * @throws INVALID_TYPE, INVALID_VALUE, SHAPE_MISMATCH for values of another length
 *
 * @example
 * const { scores, values } = await classifier.evaluate(data, { split: 'test' });
 * const report = sliceMetrics(scores, values.scanner, classifier.classes);
 * console.log(report.verdict);
 */
export function sliceMetrics(
  scores: ClassificationScores,
  values: readonly string[],
  classes: readonly string[],
  options: SliceOptions = {},
): SliceReport {
  const settings = checkOptions(schema, options, 'sliceMetrics');
  checkArguments(scores, values, classes);
  const sign = minimised.includes(settings.metric) ? -1 : 1;
  const members = indicesByValue(values);
  const statistics = statisticsOf(scores, settings.metric);
  const large = [...members].filter(([, indices]) => !isSmall(scores, indices, settings)).length;
  // Of two slices the one is better where the other is worse.
  const comparisons = large === 2 ? 1 : large;
  const slices = Array.from(members, ([value, indices]) =>
    scoreSlice({ value, indices, scores, statistics, sign, settings, comparisons }),
  );
  const judged = slices
    .filter(({ standing, score }) => standing !== 'too few to tell' && score.value !== null)
    .sort((a, b) => sign * ((a.score.value as number) - (b.score.value as number)));
  const worst = judged[0]?.value ?? null;
  const gap = judged.length < 2 ? null : gapBetween(judged, members, statistics.score, sign, settings);
  const groups = groupScores(scores, values, classes);
  const counted = groups.filter(({ count }) => count >= settings.least);
  const worstGroup =
    counted.length === 0 ? null : counted.reduce((a, b) => (b.accuracy < a.accuracy ? b : a));
  const report = { metric: settings.metric, slices, worst, gap, groups, worstGroup };
  return { ...report, verdict: describeGap(report) };
}

/** Accuracy by slice and class, sorted by slice, then class. */
export function groupScores(
  { labels, predicted }: Pick<ClassificationScores, 'labels' | 'predicted'>,
  values: readonly string[],
  classes: readonly string[],
): GroupScores[] {
  return Array.from(indicesByValue(values)).flatMap(([value, indices]) =>
    classes.flatMap((name, label) => {
      const own = indices.filter((index) => labels[index] === label);
      if (own.length === 0) return [];
      const hits = own.filter((index) => predicted[index] === label).length;
      const [low, high] = wilson(hits, own.length);
      return [{ value, class: name, count: own.length, accuracy: hits / own.length, low, high }];
    }),
  );
}

type Settings = z.output<typeof schema>;

interface Statistics {
  accuracy: Statistic;
  /** Of the classes that the given samples have. */
  macroF1: Statistic;
  score: Statistic;
}

function statisticsOf(scores: ClassificationScores, metric: StatisticName): Statistics {
  const accuracy = classificationStatistic('accuracy', scores);
  const macroF1 = (indices: Int32Array) => presentMacroF1(scores, indices);
  if (metric === 'macroF1') return { accuracy, macroF1, score: macroF1 };
  return { accuracy, macroF1, score: classificationStatistic(metric, scores) };
}

/** scikit-learn's f1_score(average='macro', labels=the classes that y_true has). */
function presentMacroF1({ labels, predicted }: ClassificationScores, indices: Int32Array): number {
  const counts = new Map<number, { hits: number; both: number }>();
  for (const index of indices) {
    const label = labels[index] as number;
    const own = counts.get(label) ?? { hits: 0, both: 0 };
    own.both += 1;
    if (predicted[index] === label) own.hits += 1;
    counts.set(label, own);
  }
  for (const index of indices) {
    const guessed = counts.get(predicted[index] as number);
    if (guessed) guessed.both += 1;
  }
  return [...counts.values()].reduce((sum, { hits, both }) => sum + (2 * hits) / both, 0) / counts.size;
}

function scoreSlice(slice: {
  value: string;
  indices: Int32Array;
  scores: ClassificationScores;
  statistics: Statistics;
  sign: number;
  settings: Settings;
  comparisons: number;
}): SliceScores {
  const { value, indices, scores, statistics, settings } = slice;
  const count = indices.length;
  const strata = indices.map((index) => scores.labels[index] as number);
  const { resamples, seed } = settings;
  const interval = (statistic: Statistic) =>
    bootstrapInterval(count, (drawn) => statistic(drawn.map((at) => indices[at] as number)), {
      ...{ strata, resamples, seed },
    });
  const accuracy = interval(statistics.accuracy);
  const score = settings.metric === 'accuracy' ? accuracy : interval(statistics.score);
  const tooFew = isSmall(scores, indices, settings);
  const toRest = tooFew || count === scores.labels.length ? null : compareWithRest(slice);
  const standing = tooFew ? 'too few to tell' : standingOf(slice, toRest);
  return { value, count, accuracy, macroF1: interval(statistics.macroF1), score, toRest, standing };
}

function wilsonOf({ labels, predicted }: ClassificationScores, indices: Int32Array) {
  return wilson(indices.filter((index) => labels[index] === predicted[index]).length, indices.length);
}

function isSmall(scores: ClassificationScores, indices: Int32Array, { least, widest }: Settings): boolean {
  const [low, high] = wilsonOf(scores, indices);
  return indices.length < least || high - low > widest;
}

/** Both sides are drawn within their classes. */
function compareWithRest({
  indices,
  scores,
  statistics,
  sign,
  settings,
}: Parameters<typeof scoreSlice>[0]): BootstrapDifference {
  const { labels } = scores;
  const inside = new Uint8Array(labels.length);
  for (const index of indices) inside[index] = 1;
  const of = (side: number) => (drawn: Int32Array) =>
    statistics.score(drawn.filter((index) => inside[index] === side));
  return bootstrapDifference(labels.length, of(1), of(0), {
    strata: labels.map((label, index) => 2 * label + (inside[index] as number)),
    mode: sign > 0 ? 'max' : 'min',
    resamples: settings.resamples,
    seed: settings.seed,
  });
}

function standingOf(
  { indices, scores, statistics, settings, comparisons }: Parameters<typeof scoreSlice>[0],
  toRest: BootstrapDifference | null,
): SliceStanding {
  if (!toRest || toRest.betterShare === null) return 'no difference seen';
  const { betterShare } = toRest;
  if (2 * Math.min(betterShare, 1 - betterShare) > 0.05 / comparisons) return 'no difference seen';
  if (settings.metric === 'accuracy') {
    const own = new Set(indices);
    const others = scores.labels.map((_, index) => index).filter((index) => !own.has(index));
    const [low, high] = wilsonOf(scores, indices);
    const theirs = statistics.accuracy(others) as number;
    if (theirs >= low && theirs <= high) return 'no difference seen';
  }
  return betterShare > 0.5 ? 'better' : 'worse';
}

function gapBetween(
  judged: readonly SliceScores[],
  members: ReadonlyMap<string, Int32Array>,
  statistic: Statistic,
  sign: number,
  { resamples, seed }: Settings,
): SliceGap {
  const [worst, best] = [judged[0], judged.at(-1)] as [SliceScores, SliceScores];
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
    chance: chanceOf(value, pools, statistic, { resamples, seed }),
  };
}

/** A permutation test: of as many random divisions, counting the one at hand, the share with as large a gap. */
function chanceOf(
  value: number,
  pools: readonly Int32Array[],
  statistic: Statistic,
  { resamples, seed }: Pick<Settings, 'resamples' | 'seed'>,
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
function indicesByValue(values: readonly string[]): Map<string, Int32Array> {
  const found = new Map<string, number[]>();
  for (const [index, value] of values.entries()) {
    const own = found.get(value);
    if (own) own.push(index);
    else found.set(value, [index]);
  }
  const sorted = [...found].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return new Map(sorted.map(([value, indices]) => [value, Int32Array.from(indices)]));
}

function checkArguments(
  scores: ClassificationScores,
  values: readonly string[],
  classes: readonly string[],
): void {
  if (!(scores?.labels instanceof Int32Array) || !Array.isArray(values) || !Array.isArray(classes)) {
    throw invalidType('sliceMetrics: expected scores, the slice of each sample, and names of classes.');
  }
  if (scores.labels.length === 0) throw invalidValue('sliceMetrics: there are no samples.');
  if (values.length !== scores.labels.length) {
    throw new TorchgraftError(
      'SHAPE_MISMATCH',
      `sliceMetrics: \`values\` has ${values.length} entries for ${scores.labels.length} samples. Give one for each.`,
    );
  }
}
