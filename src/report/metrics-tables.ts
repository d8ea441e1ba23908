import type { ClassificationMetrics, ClassScores, Scores } from '../metrics/classification.js';
import { confusionsOf } from '../metrics/confusions.js';
import type { MetricInterval } from '../metrics/intervals.js';
import type { StatisticName } from '../metrics/statistics.js';
import { formatTable } from './table.js';
import { type Shown, worstOf } from './worst.js';

/** More classes than this do not fit a terminal as a matrix. */
const matrixClasses = 20;

/** Classes of which nothing can be found come behind those in which something is missed. */
export function worstClasses({ perClass }: ClassificationMetrics): Shown<ClassScores> {
  return worstOf(perClass, ({ f1, support }) => (support > 0 ? f1 : null), 'with the lowest F1');
}

/**
 * Precision, recall, F1, support and the areas under the ROC and precision-recall curves of each class (of more than 50, the
 * 20 with the lowest F1), then macro, micro and weighted averages. A dash is an area that is undefined.
 */
export function perClassTable(metrics: ClassificationMetrics): string {
  const cells = ({ precision, recall, f1 }: Scores) =>
    [precision, recall, f1].map((value) => value.toFixed(4));
  const count = String(metrics.count);
  const { rows, note } = worstClasses(metrics);
  return formatTable(
    [
      { title: note ? `class (${note})` : 'class' },
      ...['precision', 'recall', 'f1', 'support', 'roc auc', 'pr auc'].map(rightColumn),
    ],
    [
      ...rows.map((scores) => [
        scores.class,
        ...cells(scores),
        String(scores.support),
        figure(scores.rocAuc),
        figure(scores.prAuc),
      ]),
      ['macro average', ...cells(metrics.macro), count],
      ['micro average', ...cells(metrics.micro), count],
      ['weighted average', ...cells(metrics.weighted), count],
    ],
  );
}

/**
 * The figures of all classes together, one a line, with their intervals where they are given. A dash is a figure that is
 * undefined.
 */
export function figuresTable(
  metrics: ClassificationMetrics,
  intervals: Partial<Record<StatisticName, MetricInterval>> = {},
): string {
  const { accuracy, balancedAccuracy, macro, mcc, kappa, rocAuc, prAuc, calibration } = metrics;
  const figures: [title: string, name: StatisticName, value: number | null][] = [
    ['accuracy', 'accuracy', accuracy],
    ['balanced accuracy', 'balancedAccuracy', balancedAccuracy],
    ['macro F1', 'macroF1', macro.f1],
    ['MCC', 'mcc', mcc],
    ["Cohen's kappa", 'kappa', kappa],
    ['ROC-AUC', 'rocAuc', rocAuc],
    ['PR-AUC', 'prAuc', prAuc],
    ['ECE', 'ece', calibration.ece],
    ['MCE', 'mce', calibration.mce],
    ['Brier score', 'brier', calibration.brier],
    ['NLL', 'nll', calibration.nll],
  ];
  return formatTable(
    [
      { title: 'figure' },
      rightColumn('value'),
      { title: Object.keys(intervals).length > 0 ? 'interval' : '' },
    ],
    figures.map(([title, name, value]) => [title, figure(value), intervalText(intervals[name])]),
  );
}

/** The reliability curve: how sure the model was, and how often rightly so. Bins without samples are left out. */
export function calibrationTable({ calibration }: ClassificationMetrics): string {
  return formatTable(
    [{ title: 'confidence' }, ...['samples', 'mean', 'accuracy'].map(rightColumn)],
    calibration.bins
      .filter(({ count }) => count > 0)
      .map(({ low, high, count, confidence, accuracy }) => [
        `${low.toFixed(2)} to ${high.toFixed(2)}`,
        String(count),
        figure(confidence),
        figure(accuracy),
      ]),
  );
}

/** `0.9012 to 0.9534`, or nothing. */
function intervalText(interval: MetricInterval | undefined): string {
  return interval ? `${figure(interval.low)} to ${figure(interval.high)}` : '';
}

function figure(value: number | null): string {
  return value === null ? '-' : value.toFixed(4);
}

/**
 * The confusion matrix, rows true and columns predicted. With more than 20 classes: the 20 most frequent confusions
 * instead, one a line.
 */
export function confusionTable(metrics: ClassificationMetrics): string {
  const names = metrics.perClass.map((scores) => scores.class);
  if (names.length > matrixClasses) return confusionList(metrics, names);
  return formatTable(
    [{ title: 'true \\ predicted' }, ...names.map(rightColumn)],
    metrics.confusionMatrix.map((row, index) => [names[index] ?? '', ...row.map(String)]),
  );
}

function confusionList(metrics: ClassificationMetrics, names: readonly string[]): string {
  const confusions = confusionsOf(metrics)
    .filter(([truth, predicted]) => truth !== predicted)
    .sort(([, , a], [, , b]) => b - a)
    .slice(0, 20);
  return formatTable(
    [{ title: 'true' }, { title: 'predicted' }, rightColumn('count')],
    confusions.map(([truth, predicted, count]) => [
      names[truth] ?? '',
      names[predicted] ?? '',
      String(count),
    ]),
  );
}

function rightColumn(title: string) {
  return { title, align: 'right' as const };
}
