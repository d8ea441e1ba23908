import { z } from 'zod';
import { invalidValue } from '../errors.js';
import { listNames } from '../name-list.js';
import { checkOptions, suggest } from '../options.js';
import { isFloat32Array } from '../value-kinds.js';
import { meanOfDefined } from './classification.js';
import { areasUnder } from './curves.js';
import { fromBootstrap, macroF1Interval } from './intervals.js';
import { type Margins, macroF1Of } from './margins.js';
import { regressionMetrics } from './regression.js';
import {
  bootstrapSlice,
  type ComparedSlice,
  checkSlices,
  compareSlices,
  type GroupScores,
  indicesByValue,
  type SliceGap,
  worstGroupOf,
} from './slice-comparison.js';
import { describeGap } from './slice-verdict.js';
import type { Statistic } from './statistics.js';
import { wilson } from './wilson.js';

/** Truth and outputs of each sample of a multi-label set or a regression, as `Classifier.evaluateTargets` gives them. */
export interface TargetScores {
  task: 'multi-label' | 'regression';
  /** The model's outputs, logits or numbers, row-major [n, classes]. */
  outputs: Float32Array;
  /** Likewise: 1 or 0, or the numbers. */
  targets: Float32Array;
}

/** What slices of each task can be compared by; the first by default. */
const metrics = {
  'multi-label': ['macroF1', 'meanAveragePrecision', 'rocAuc', 'hammingLoss'],
  regression: ['mae', 'rmse', 'r2'],
} as const;

/** A metric of slices of a multi-label set or a regression. */
export type TargetSliceMetric = (typeof metrics)[keyof typeof metrics][number];

/** Whether a smaller value is better. */
export function isError(metric: TargetSliceMetric): boolean {
  return ['hammingLoss', 'mae', 'rmse'].includes(metric);
}

const schema = z.strictObject({
  metric: z.enum([...metrics['multi-label'], ...metrics.regression]).optional(),
  target: z.string().optional(),
  least: z.int().min(2).default(30),
  resamples: z.int().min(1).default(1000),
  seed: z.int().min(0).default(0),
});

/**
 * - `metric`: what slices are compared by. Of a multi-label set `macroF1` (default; at a probability of 0.5),
 *   `meanAveragePrecision`, `rocAuc`, each over the labels that a slice has, or `hammingLoss`; of a regression `mae`
 *   (default), `rmse` or `r2`, which is low in a slice whose targets spread little, however near the numbers are
 * - `target`: of a regression, the target's name; needed where it has several, for they may differ in their unit
 * - `least`: images below which a slice, and a group, is too small to tell; default 30, for of fewer a bootstrap interval is
 *   too narrow
 * - `resamples`: of the bootstrap, and random divisions for the gap; default 1000
 * - `seed`: of both; default 0
 */
export type TargetSliceOptions = z.input<typeof schema>;

/** How a multi-label model, or a regression, does on the slices of one name. Plain JSON. */
export interface TargetSliceReport {
  task: TargetScores['task'];
  metric: TargetSliceMetric;
  /** Of a regression, the target that it is of. */
  target?: string;
  /** Sorted by value. */
  slices: ComparedSlice[];
  /** By the metric, of those large enough to tell; null where none is. */
  worst: string | null;
  /** Null where fewer than two slices are large enough. */
  gap: SliceGap | null;
  /** Of a multi-label set, slice by label: of the images that have it, the share that was given it. Else empty. */
  groups: GroupScores[];
  /** The group of the lowest share, of those of at least `least` images; null where none is. */
  worstGroup: GroupScores | null;
  /** One sentence. */
  verdict: string;
}

/**
 * How a multi-label model, or a regression, does on parts of the samples, as `sliceMetrics` tells it of one class an image:
 * each slice with its interval, the gap between best and worst, and which are too small to tell. A slice is worse or
 * better where at most 5 % of the resamples, divided by the number of slices compared (Bonferroni), say otherwise, on both
 * sides together.
 *
 * @param scores of all samples, as `Classifier.evaluateTargets` gives them
 * @param values the slice of each sample, [n]
 * @param classes names of the labels or targets, in the order of the columns
 * @throws INVALID_TYPE, INVALID_VALUE (options, a metric of the other task, no samples), SHAPE_MISMATCH for values of another
 * length
 *
 * @example
 * const evaluation = await classifier.evaluateTargets(data, { split: 'test' });
 * const report = targetSliceMetrics(evaluation, evaluation.slices.site, classifier.classes);
 * console.log(report.verdict);
 */
export function targetSliceMetrics(
  scores: TargetScores,
  values: readonly string[],
  classes: readonly string[],
  options: TargetSliceOptions = {},
): TargetSliceReport {
  const where = 'targetSliceMetrics';
  const { least, resamples, seed, ...asked } = checkOptions(schema, options, where);
  const isKnown = isFloat32Array(scores?.outputs) && isFloat32Array(scores.targets);
  checkSlices(isKnown ? scores.outputs.length / (classes?.length ?? 1) : undefined, values, classes, where);
  const { task } = scores;
  const metric = metricOf(task, asked.metric);
  const target = task === 'regression' ? targetOf(classes, asked.target) : undefined;
  const column = target === undefined ? 0 : classes.indexOf(target);
  const members = indicesByValue(values);
  const statistic = statistics[metric]({ ...scores, size: classes.length, column });
  const drawing = { strata: new Int32Array(values.length), resamples, seed };
  const compared = compareSlices({
    ...{ members, statistic, ...drawing },
    intervalOf: (indices) => {
      const drawn = bootstrapSlice(drawing, indices, statistic);
      return metric === 'macroF1'
        ? macroF1Interval(marginsOfLabels(decisionsOf(scores), indices, classes.length), drawn)
        : fromBootstrap(drawn);
    },
    sign: isError(metric) ? -1 : 1,
    isSmall: ({ length }) => length < least,
    isLike: () => false,
  });
  const groups = task === 'multi-label' ? labelGroups(scores, members, classes) : [];
  const report = { task, metric, ...(target === undefined ? {} : { target }), ...compared };
  return { ...report, groups, worstGroup: worstGroupOf(groups, least), verdict: describeGap(report) };
}

function metricOf(task: TargetScores['task'], asked: TargetSliceMetric | undefined): TargetSliceMetric {
  const known: readonly TargetSliceMetric[] = metrics[task];
  if (asked === undefined || known.includes(asked)) return asked ?? (known[0] as TargetSliceMetric);
  throw invalidValue(
    `targetSliceMetrics: \`metric\` ${asked} is none of data that is ${task}. Use ${known.join(', ')}.`,
  );
}

function targetOf(classes: readonly string[], asked: string | undefined): string {
  const target = asked ?? (classes.length === 1 ? classes[0] : undefined);
  if (target !== undefined && classes.includes(target)) return target;
  throw invalidValue(
    target === undefined
      ? `targetSliceMetrics: there are several targets. Name one as \`target\`: ${listNames(classes)}.`
      : `targetSliceMetrics: there is no target \`${target}\`. ${suggest(target, classes)}`,
  );
}

interface Table extends TargetScores {
  /** Columns. */
  size: number;
  /** The target's. */
  column: number;
}

const statistics: Record<TargetSliceMetric, (table: Table) => Statistic> = {
  macroF1: labelF1Of,
  hammingLoss: (table) => {
    const { predicted, truth } = decisionsOf(table);
    const wrong = countByRow(table, (at) => predicted[at] !== truth[at]);
    return (indices) => meanOf(wrong, indices) / table.size;
  },
  meanAveragePrecision: (table) => areaOf(table, 'prAuc'),
  rocAuc: (table) => areaOf(table, 'rocAuc'),
  mae: (table) => {
    const errors = errorsOf(table);
    return (indices) => meanOf(errors, indices);
  },
  rmse: (table) => {
    const squares = errorsOf(table).map((error) => error * error);
    return (indices) => Math.sqrt(meanOf(squares, indices));
  },
  r2: (table) => {
    const [outputs, targets] = [columnOf(table, table.outputs), columnOf(table, table.targets)];
    return (indices) => {
      const taken = (values: Float32Array) => Float64Array.from(indices, (index) => values[index] as number);
      return regressionMetrics(taken(outputs), taken(targets)).r2;
    };
  },
};

/** scikit-learn's f1_score(average='macro', labels=those that any of the samples has). */
function labelF1Of(table: Table): Statistic {
  const decisions = decisionsOf(table);
  return (indices) => {
    const margins = marginsOfLabels(decisions, indices, table.size);
    return margins.support.length === 0 ? null : macroF1Of(margins);
  };
}

/** Of the labels that any of the samples has. */
function marginsOfLabels(
  { predicted, truth }: ReturnType<typeof decisionsOf>,
  indices: Int32Array,
  size: number,
): Record<keyof Margins, number[]> {
  const margins: Record<keyof Margins, number[]> = { hits: [], predicted: [], support: [] };
  for (let label = 0; label < size; label++) {
    let [hits, guesses, support] = [0, 0, 0];
    for (const index of indices) {
      const guess = predicted[index * size + label] as number;
      const real = truth[index * size + label] as number;
      hits += guess & real;
      guesses += guess;
      support += real;
    }
    if (support === 0) continue;
    margins.hits.push(hits);
    margins.predicted.push(guesses);
    margins.support.push(support);
  }
  return margins;
}

/** Mean of the areas of the labels of which they are defined. */
function areaOf(table: Table, area: 'prAuc' | 'rocAuc'): Statistic {
  const columns = Array.from({ length: table.size }, (_, column) => ({
    outputs: columnOf({ ...table, column }, table.outputs).map(probabilityOf),
    truth: Uint8Array.from(columnOf({ ...table, column }, table.targets)),
  }));
  return (indices) =>
    meanOfDefined(
      columns.map(({ outputs, truth }) => {
        const own = Float32Array.from(indices, (index) => outputs[index] as number);
        const real = Uint8Array.from(indices, (index) => truth[index] as number);
        return areasUnder(own, real)[area];
      }),
    );
}

/** 1 where a label counts as predicted, from a probability of 0.5 on, and where the image has it; row-major [n, labels]. */
function decisionsOf({ outputs, targets }: TargetScores): { predicted: Uint8Array; truth: Uint8Array } {
  return {
    predicted: Uint8Array.from(outputs, (logit) => Number(probabilityOf(logit) >= 0.5)),
    truth: Uint8Array.from(targets),
  };
}

/** As `multiLabelMetrics` has it. */
function probabilityOf(logit: number): number {
  return Math.fround(1 / (1 + Math.exp(-logit)));
}

/** Recall of each label in each slice, without those that none of its images has. */
function labelGroups(
  scores: TargetScores,
  members: ReadonlyMap<string, Int32Array>,
  labels: readonly string[],
): GroupScores[] {
  const { predicted, truth } = decisionsOf(scores);
  return Array.from(members).flatMap(([value, indices]) =>
    labels.flatMap((name, label) => {
      const own = indices.map((index) => index * labels.length + label).filter((at) => truth[at] === 1);
      if (own.length === 0) return [];
      const hits = own.filter((at) => predicted[at] === 1).length;
      const [low, high] = wilson(hits, own.length);
      return [{ value, class: name, count: own.length, accuracy: hits / own.length, low, high }];
    }),
  );
}

function countByRow({ size, outputs }: Table, is: (at: number) => boolean): Float64Array {
  const counts = new Float64Array(outputs.length / size);
  for (let at = 0; at < outputs.length; at++) if (is(at)) (counts[Math.floor(at / size)] as number) += 1;
  return counts;
}

function columnOf({ size, column }: Table, values: Float32Array): Float32Array {
  return values.filter((_, at) => at % size === column);
}

/** Absolute errors of the target, in its unit. */
function errorsOf(table: Table): Float64Array {
  const targets = columnOf(table, table.targets);
  return Float64Array.from(columnOf(table, table.outputs), (output, row) =>
    Math.abs(output - (targets[row] as number)),
  );
}

function meanOf(values: Float64Array, indices: Int32Array): number {
  let sum = 0;
  for (const index of indices) sum += values[index] as number;
  return sum / indices.length;
}
