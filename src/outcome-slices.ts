import type { Sample } from './data/dataset.js';
import { sliceNames, sliceValues } from './data/slices.js';
import type { ClassificationScores } from './metrics/scores.js';
import { type SliceOptions, type SliceReport, sliceMetrics } from './metrics/slices.js';
import type { Outcomes } from './outcomes.js';

/** How a model does on one slice of a split, by name. */
export interface NamedSliceReport extends SliceReport {
  /** The slice, for example `scanner`. */
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

/** Reports of the slices that samples have, from what a model says of those that could be read. */
export function outcomeSlices(outcomes: Outcomes, samples: readonly Sample[]): NamedSliceReport[] {
  const names = sliceNames(samples);
  if (names.length === 0 || outcomes.labels.length === 0) return [];
  const byPath = new Map(samples.map((sample) => [sample.path, sample]));
  const read = outcomes.paths.map((path) => byPath.get(path) as Sample);
  const values = Object.fromEntries(names.map((name) => [name, sliceValues(read, name, 'slices')]));
  return reportSlices(scoresOf(outcomes), values, outcomes.classes);
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
