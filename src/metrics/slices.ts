import { z } from 'zod';
import { checkOptions } from '../options.js';
import { isInt32Array } from '../value-kinds.js';
import { accuracyInterval, fromBootstrap, type MetricInterval, macroF1Interval } from './intervals.js';
import { type Margins, macroF1Of, marginsOf } from './margins.js';
import type { ClassificationScores } from './scores.js';
import {
  bootstrapSlice,
  type ComparedSlice,
  checkSlices,
  compareSlices,
  type GroupScores,
  indicesByValue,
  type SliceGap,
  type SliceMeasure,
  worstGroupOf,
} from './slice-comparison.js';
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

/** One value of a slice, for example one scanner. Intervals are those of `classificationInterval`. */
export interface SliceScores extends ComparedSlice {
  accuracy: MetricInterval;
  /** Mean F1 over the classes that the slice has samples of. */
  macroF1: MetricInterval;
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
  const { metric, least, widest, resamples, seed } = checkOptions(schema, options, 'sliceMetrics');
  const { labels } = scores ?? {};
  checkSlices(isInt32Array(labels) ? labels.length : undefined, values, classes, 'sliceMetrics');
  const members = indicesByValue(values);
  const statistics = statisticsOf(scores, metric, classes.length);
  const drawing = { strata: scores.labels, resamples, seed };
  const intervalsOf = {
    accuracy: (indices: Int32Array) => accuracyInterval(scores, indices),
    macroF1: (indices: Int32Array) =>
      macroF1Interval(
        presentMargins(scores, indices, classes.length),
        bootstrapSlice(drawing, indices, statistics.macroF1),
      ),
    score: (indices: Int32Array) => fromBootstrap(bootstrapSlice(drawing, indices, statistics.score)),
  };
  const measure: SliceMeasure = {
    ...{ members, ...drawing },
    statistic: statistics.score,
    intervalOf: intervalsOf[metric === 'accuracy' || metric === 'macroF1' ? metric : 'score'],
    sign: minimised.includes(metric) ? -1 : 1,
    isSmall: (indices) => {
      const [low, high] = wilsonOf(scores, indices);
      return indices.length < least || high - low > widest;
    },
    isLike: (indices) => metric === 'accuracy' && holdsTheRest(scores, indices, statistics.accuracy),
  };
  const { slices: compared, worst, gap } = compareSlices(measure);
  const slices = compared.map((slice): SliceScores => {
    const indices = members.get(slice.value) as Int32Array;
    const accuracy = intervalsOf.accuracy(indices);
    return { ...slice, accuracy, macroF1: metric === 'macroF1' ? slice.score : intervalsOf.macroF1(indices) };
  });
  const groups = groupScores(scores, values, classes);
  const report = { metric, slices, worst, gap, groups, worstGroup: worstGroupOf(groups, least) };
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

interface Statistics {
  accuracy: Statistic;
  /** Of the classes that the given samples have. */
  macroF1: Statistic;
  score: Statistic;
}

function statisticsOf(scores: ClassificationScores, metric: StatisticName, classes: number): Statistics {
  const accuracy = classificationStatistic('accuracy', scores);
  const macroF1 = (indices: Int32Array) => macroF1Of(presentMargins(scores, indices, classes));
  if (metric === 'macroF1') return { accuracy, macroF1, score: macroF1 };
  return { accuracy, macroF1, score: classificationStatistic(metric, scores) };
}

/** Of the classes that the samples have, as in scikit-learn's f1_score(average='macro', labels=those of y_true). */
function presentMargins(scores: ClassificationScores, indices: Int32Array, classes: number): Margins {
  const { hits, predicted, support } = marginsOf(scores, indices, classes);
  const present = (values: Float64Array) => values.filter((_, index) => (support[index] as number) > 0);
  return { hits: present(hits), predicted: present(predicted), support: present(support) };
}

function wilsonOf({ labels, predicted }: ClassificationScores, indices: Int32Array) {
  return wilson(indices.filter((index) => labels[index] === predicted[index]).length, indices.length);
}

/** Whether the Wilson interval of a slice's accuracy holds that of all other samples. */
function holdsTheRest(scores: ClassificationScores, indices: Int32Array, accuracy: Statistic): boolean {
  const own = new Set(indices);
  const others = scores.labels.map((_, index) => index).filter((index) => !own.has(index));
  const [low, high] = wilsonOf(scores, indices);
  const theirs = accuracy(others) as number;
  return theirs >= low && theirs <= high;
}
