import type { ClassificationMetrics } from './classification.js';
import type { ClassificationScores } from './scores.js';

/** Up to so many classes a confusion matrix is written whole; of more nearly all cells are 0. */
export const mostMatrixClasses = 100;

/** So many samples of one class that were predicted as one class, the same or another. */
export type Confusion = [truth: number, predicted: number, count: number];

/** The cells of a confusion matrix that are not 0, row by row. */
export function countConfusions(
  { labels, predicted }: Pick<ClassificationScores, 'labels' | 'predicted'>,
  classes: number,
): Confusion[] {
  const counts = new Map<number, number>();
  for (let sample = 0; sample < labels.length; sample++) {
    const cell = (labels[sample] as number) * classes + (predicted[sample] as number);
    counts.set(cell, (counts.get(cell) ?? 0) + 1);
  }
  return [...counts]
    .sort(([a], [b]) => a - b)
    .map(([cell, count]) => [Math.floor(cell / classes), cell % classes, count]);
}

/** The matrix of these cells [classes, classes]. */
export function confusionMatrix(confusions: readonly Confusion[], classes: number): number[][] {
  const matrix = Array.from({ length: classes }, () => new Array<number>(classes).fill(0));
  for (const [truth, predicted, count] of confusions) (matrix[truth] as number[])[predicted] = count;
  return matrix;
}

/**
 * How confusions stand in metrics: few classes as a matrix; many as cells, of which the matrix is made when somebody asks for
 * it. It is no part of their JSON then.
 */
export function withMatrix<T extends object>(
  metrics: T,
  confusions: Confusion[],
  classes: number,
): T & Pick<ClassificationMetrics, 'confusionMatrix' | 'confusions'> {
  if (classes <= mostMatrixClasses) {
    return { ...metrics, confusionMatrix: confusionMatrix(confusions, classes) };
  }
  const all = { ...metrics, confusions };
  return Object.defineProperty(all, 'confusionMatrix', {
    get: () => confusionMatrix(confusions, classes),
    configurable: true,
  }) as T & Pick<ClassificationMetrics, 'confusionMatrix' | 'confusions'>;
}

/** The same after a way through JSON. */
export function reviveMatrix(metrics: ClassificationMetrics): ClassificationMetrics {
  const { confusions, perClass } = metrics;
  return confusions ? withMatrix(metrics, confusions, perClass.length) : metrics;
}

/** The cells that are not 0, whichever way metrics have them; none of an epoch that keeps its figures over all classes alone. */
export function confusionsOf({
  confusions,
  confusionMatrix: matrix,
}: Partial<Pick<ClassificationMetrics, 'confusionMatrix' | 'confusions'>>): Confusion[] {
  if (confusions) return confusions;
  return (matrix ?? []).flatMap((row, truth) =>
    row.flatMap((count, predicted): Confusion[] => (count > 0 ? [[truth, predicted, count]] : [])),
  );
}
