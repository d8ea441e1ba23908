import type { ClassificationMetrics, Scores } from '../metrics/classification.js';
import { worstClasses } from '../report/metrics-tables.js';
import { formatCount } from './format.js';
import { type Html, html, named } from './html.js';
import { table } from './table.js';

/** Precision, recall, F1 and support of each class and on average. */
export function classesSection(metrics: ClassificationMetrics): Html {
  const average = (name: string, scores: Scores) => ({
    isMarked: true,
    cells: [name, ...cells(scores), formatCount(metrics.count)],
  });
  const { rows, note } = worstClasses(metrics);
  return html`<section id="classes"><h2>Class by class</h2>
<p>Precision: of the images said to be of a class, the share that is. Recall: of the images of a class, the share that
was found. F1 is their harmonic mean. Support: validation images of the class. Where a division by zero defines
nothing, a score is 0.${note && html` Shown are the ${note}.`}</p>
${table({
  label: 'Scores by class',
  head: ['class', 'precision', 'recall', 'F1', 'support'],
  rows: [
    ...rows.map((scores) => ({
      cells: [named(scores.class), ...cells(scores), formatCount(scores.support)],
    })),
    average('mean of classes (macro)', metrics.macro),
    ...(metrics.weighted ? [average('weighted by support', metrics.weighted)] : []),
  ],
})}</section>`;
}

function cells({ precision, recall, f1 }: Scores): Html[] {
  return [precision, recall, f1].map(
    (score) =>
      html`<span class="meter" style="--share:${(score * 100).toFixed(1)}%">${score.toFixed(3)}</span>`,
  );
}
