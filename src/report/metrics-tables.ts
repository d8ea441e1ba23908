import type { ClassificationMetrics, Scores } from '../metrics/classification.js';
import { formatTable } from './table.js';

/** More classes than this do not fit a terminal as a matrix. */
const matrixClasses = 20;

/** Precision, recall, F1 and support of each class, then macro, micro and weighted averages. */
export function perClassTable(metrics: ClassificationMetrics): string {
  const cells = ({ precision, recall, f1 }: Scores) =>
    [precision, recall, f1].map((value) => value.toFixed(4));
  const count = String(metrics.count);
  return formatTable(
    [{ title: 'class' }, ...['precision', 'recall', 'f1', 'support'].map(rightColumn)],
    [
      ...metrics.perClass.map((scores) => [scores.class, ...cells(scores), String(scores.support)]),
      ['macro average', ...cells(metrics.macro), count],
      ['micro average', ...cells(metrics.micro), count],
      ['weighted average', ...cells(metrics.weighted), count],
    ],
  );
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

function confusionList({ confusionMatrix }: ClassificationMetrics, names: readonly string[]): string {
  const confusions = confusionMatrix
    .flatMap((row, truth) => row.map((count, predicted) => ({ truth, predicted, count })))
    .filter(({ truth, predicted, count }) => truth !== predicted && count > 0)
    .sort((a, b) => b.count - a.count)
    .slice(0, 20);
  return formatTable(
    [{ title: 'true' }, { title: 'predicted' }, rightColumn('count')],
    confusions.map(({ truth, predicted, count }) => [
      names[truth] ?? '',
      names[predicted] ?? '',
      String(count),
    ]),
  );
}

function rightColumn(title: string) {
  return { title, align: 'right' as const };
}
