import type { Sample } from './data/dataset.js';
import { sliceNames, sliceValues } from './data/slices.js';
import type { ClassificationScores } from './metrics/scores.js';
import { type SliceOptions, type SliceReport, sliceMetrics } from './metrics/slices.js';
import { type TargetScores, type TargetSliceReport, targetSliceMetrics } from './metrics/target-slices.js';
import type { Outcomes } from './outcomes.js';

/** How a model does on one slice of a split, by name. */
export interface NamedSliceReport extends SliceReport {
  /** The slice, for example `scanner`. */
  name: string;
}

/** How a multi-label model, or a regression, does on one slice of a split, by name. */
export interface NamedTargetSliceReport extends TargetSliceReport {
  name: string;
}

/** Reports of all slices, one for each name. */
export function reportSlices(
  scores: ClassificationScores,
  values: Readonly<Record<string, readonly string[]>>,
  classes: readonly string[],
  options: SliceOptions = {},
): NamedSliceReport[] {
  return Object.entries(values).map(([name, own]) => ({
    name,
    ...sliceMetrics(scores, own, classes, options),
  }));
}

/** The same of a multi-label model; of a regression one for each name and target, which may differ in their unit. */
export function reportTargetSlices(
  scores: TargetScores,
  values: Readonly<Record<string, readonly string[]>>,
  classes: readonly string[],
): NamedTargetSliceReport[] {
  const targets = scores.task === 'regression' ? classes.map((target) => ({ target })) : [{}];
  return Object.entries(values).flatMap(([name, own]) =>
    targets.map((options) => ({ name, ...targetSliceMetrics(scores, own, classes, options) })),
  );
}

/** The values of samples in each of their slices, [n] by name. */
export function valuesBySlice(samples: readonly Sample[], where: string): Record<string, string[]> {
  return Object.fromEntries(sliceNames(samples).map((name) => [name, sliceValues(samples, name, where)]));
}

/** Reports of the slices that samples have, from what a model says of those that could be read. */
export function outcomeSlices(outcomes: Outcomes, samples: readonly Sample[]): NamedSliceReport[] {
  if (outcomes.labels.length === 0) return [];
  const byPath = new Map(samples.map((sample) => [sample.path, sample]));
  const read = outcomes.paths.map((path) => byPath.get(path) as Sample);
  return reportSlices(scoresOf(outcomes), valuesBySlice(read, 'slices'), outcomes.classes);
}

function scoresOf({ labels, probabilities, classes }: Outcomes): ClassificationScores {
  const size = classes.length;
  const predicted = labels.map((_, row) => {
    const own = probabilities.subarray(row * size, (row + 1) * size);
    return own.indexOf(own.reduce((most, value) => Math.max(most, value), 0));
  });
  const nll = Float64Array.from(
    labels,
    (label, row) => -Math.log(probabilities[row * size + label] as number),
  );
  return { labels, predicted, probabilities, nll };
}
