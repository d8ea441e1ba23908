import type { ClassificationMetrics, Scores } from './classification.js';
import type { Areas } from './curves.js';
import { classificationMetrics } from './meter.js';
import type { MultiLabelMetrics } from './multi-label.js';
import type { RegressionMetrics } from './regression.js';

/**
 * Values by metric name, as epoch reports carry them, for example `{ valLoss: 0.2, 'valF1:ants': 0.9 }`; null where a
 * metric is undefined.
 */
export type NamedMetrics = Record<string, number | null>;

/**
 * Metrics by the names of epoch reports: `valLoss`, `valAccuracy`, `valTop5` (the k in use), `valBalancedAccuracy`,
 * `valMcc`, `valKappa`, `valRocAuc`, `valPrAuc`, `valEce`, `valMce`, `valBrier`, `valNll`, `valMacroF1`,
 * `valMicroRecall`, `valWeightedPrecision` and so on, and of each class `valPrecision:<class>`, `valRecall:<class>`,
 * `valF1:<class>`, `valRocAuc:<class>`, `valPrAuc:<class>`.
 *
 * @param prefix the split, for example `val`
 */
export function nameMetrics(prefix: string, metrics: ClassificationMetrics): NamedMetrics {
  return {
    [`${prefix}Loss`]: metrics.loss,
    [`${prefix}Accuracy`]: metrics.accuracy,
    [`${prefix}Top${metrics.topK.k}`]: metrics.topK.accuracy,
    [`${prefix}BalancedAccuracy`]: metrics.balancedAccuracy,
    [`${prefix}Mcc`]: metrics.mcc,
    [`${prefix}Kappa`]: metrics.kappa,
    ...nameAreas(prefix, '', metrics),
    [`${prefix}Ece`]: metrics.calibration.ece,
    [`${prefix}Mce`]: metrics.calibration.mce,
    [`${prefix}Brier`]: metrics.calibration.brier,
    [`${prefix}Nll`]: metrics.calibration.nll,
    ...nameScores(`${prefix}Macro`, '', metrics.macro),
    ...nameScores(`${prefix}Micro`, '', metrics.micro),
    ...nameScores(`${prefix}Weighted`, '', metrics.weighted),
    ...nameEach(metrics.perClass, (scores) => nameClass(prefix, scores.class, scores)),
  };
}

/** All names that `nameMetrics` will give for these classes; k as in `topK` of the meter. */
export function metricNames(
  prefix: string,
  classes: readonly string[],
  k = Math.min(5, classes.length),
): string[] {
  const logits = new Float32Array(classes.length);
  const one = classificationMetrics(logits, Int32Array.of(0), 0, { classes, topK: k });
  return Object.keys(nameMetrics(prefix, one));
}

/**
 * Multi-label metrics by name: `valSubsetAccuracy`, `valHammingLoss`, `valMeanAveragePrecision`, `valRocAuc`,
 * `valMacroF1`, `valMicroRecall`, `valSamplesPrecision` and so on, and of each label what `nameMetrics` gives of a class.
 */
export function nameMultiLabelMetrics(prefix: string, metrics: MultiLabelMetrics): NamedMetrics {
  return {
    [`${prefix}SubsetAccuracy`]: metrics.subsetAccuracy,
    [`${prefix}HammingLoss`]: metrics.hammingLoss,
    [`${prefix}MeanAveragePrecision`]: metrics.meanAveragePrecision,
    [`${prefix}RocAuc`]: metrics.rocAuc,
    ...nameScores(`${prefix}Macro`, '', metrics.macro),
    ...nameScores(`${prefix}Micro`, '', metrics.micro),
    ...nameScores(`${prefix}Samples`, '', metrics.samples),
    ...nameEach(metrics.perLabel, (scores) => nameClass(prefix, scores.label, scores)),
  };
}

/** Regression metrics by name: `valMae`, `valRmse`, `valMedianAbsoluteError`, `valR2`, `valPearson`, `valSpearman`. */
export function nameRegressionMetrics(prefix: string, metrics: RegressionMetrics): NamedMetrics {
  return {
    [`${prefix}Mae`]: metrics.mae,
    [`${prefix}Rmse`]: metrics.rmse,
    [`${prefix}MedianAbsoluteError`]: metrics.medianAbsoluteError,
    [`${prefix}R2`]: metrics.r2,
    [`${prefix}Pearson`]: metrics.pearson,
    [`${prefix}Spearman`]: metrics.spearman,
  };
}

/** Ends of the names of which a smaller value is better. */
const minimised = /(?:Loss|Ece|Mce|Brier|Nll|Mae|Rmse|MedianAbsoluteError)$/;

/** Those of them that each target of a regression has. */
const errors = /(?:Mae|Rmse|MedianAbsoluteError)$/;

/**
 * Whether a smaller or a larger value of the metric is better: losses, errors of calibration and of regression are
 * minimised, all else is maximised.
 */
export function metricMode(name: string): 'min' | 'max' {
  // Of a class there are scores alone, and its name may end like an error's; errors of a target stand before its name.
  const [own = '', of] = name.split(/:(.*)/s);
  return minimised.test(own) && (of === undefined || errors.test(own)) ? 'min' : 'max';
}

function nameEach<T>(all: readonly T[], name: (one: T) => NamedMetrics): NamedMetrics {
  const names: NamedMetrics = {};
  for (const one of all) Object.assign(names, name(one));
  return names;
}

function nameClass(prefix: string, name: string, scores: Scores & Areas): NamedMetrics {
  return { ...nameScores(prefix, `:${name}`, scores), ...nameAreas(prefix, `:${name}`, scores) };
}

function nameAreas(before: string, after: string, { rocAuc, prAuc }: Areas): NamedMetrics {
  return { [`${before}RocAuc${after}`]: rocAuc, [`${before}PrAuc${after}`]: prAuc };
}

function nameScores(before: string, after: string, { precision, recall, f1 }: Scores): NamedMetrics {
  return {
    [`${before}Precision${after}`]: precision,
    [`${before}Recall${after}`]: recall,
    [`${before}F1${after}`]: f1,
  };
}
