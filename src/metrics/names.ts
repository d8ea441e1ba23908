import { type ClassificationMetrics, type Scores, scoreCounts } from './classification.js';

/** Values by metric name, as epoch reports carry them, for example `{ valLoss: 0.2, 'valF1:ants': 0.9 }`. */
export type NamedMetrics = Record<string, number>;

/**
 * Metrics by the names of epoch reports: `valLoss`, `valAccuracy`, `valTop5` (the k in use), `valMacroF1`,
 * `valMicroRecall`, `valWeightedPrecision` and so on, and `valPrecision:<class>`, `valRecall:<class>`, `valF1:<class>`.
 *
 * @param prefix the split, for example `val`
 */
export function nameMetrics(prefix: string, metrics: ClassificationMetrics): NamedMetrics {
  return {
    [`${prefix}Loss`]: metrics.loss,
    [`${prefix}Accuracy`]: metrics.accuracy,
    [`${prefix}Top${metrics.topK.k}`]: metrics.topK.accuracy,
    ...nameScores(`${prefix}Macro`, '', metrics.macro),
    ...nameScores(`${prefix}Micro`, '', metrics.micro),
    ...nameScores(`${prefix}Weighted`, '', metrics.weighted),
    ...Object.assign({}, ...metrics.perClass.map((scores) => nameScores(prefix, `:${scores.class}`, scores))),
  };
}

/** All names that `nameMetrics` will give for these classes; k as in `topK` of the meter. */
export function metricNames(
  prefix: string,
  classes: readonly string[],
  k = Math.min(5, classes.length),
): string[] {
  const confusion = new Float64Array(classes.length ** 2);
  return Object.keys(nameMetrics(prefix, scoreCounts({ classes, confusion, loss: 0, k, inTopK: 0 })));
}

/** Whether a smaller or a larger value of the metric is better: losses are minimised, all else is maximised. */
export function metricMode(name: string): 'min' | 'max' {
  return name.endsWith('Loss') && !name.includes(':') ? 'min' : 'max';
}

function nameScores(before: string, after: string, { precision, recall, f1 }: Scores): NamedMetrics {
  return {
    [`${before}Precision${after}`]: precision,
    [`${before}Recall${after}`]: recall,
    [`${before}F1${after}`]: f1,
  };
}
