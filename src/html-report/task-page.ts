import { taskOf } from '../data/task.js';
import type { MultiLabelValidation, RegressionValidation } from '../metrics/tasks.js';
import { taskFigures, taskRows } from '../report/task-tables.js';
import { bestEpochOf } from '../run-record.js';
import type { ReportContent } from './content.js';
import { counted } from './format.js';
import { chosen, dateOf, remarks, tile, what } from './headline-section.js';
import { type Html, html, named } from './html.js';
import { table } from './table.js';

type TaskValidation = MultiLabelValidation | RegressionValidation;

/** What out of a multi-label model or a regression came, in plain words. */
export function taskHeadline(content: ReportContent, validation: TaskValidation): Html {
  const { record } = content;
  const figures = taskFigures(validation);
  const [first] = figures;
  const images = counted(validation.count, 'validation image');
  return html`<header><p class="overline">torchgraft · training report · ${taskOf(record.data)}${dateOf(content)}</p>
<h1>${first?.title} ${shown(first?.value)} on ${images}</h1>
<p class="lead">${what(record)} ${chosen(record, bestEpochOf(record))}</p>
<div class="tiles">${figures.map(({ title, value }) => tile(shown(value), title))}${tile(shown(validation.loss), 'validation loss')}</div>
${remarks(content)}</header>`;
}

/** Each label's scores, or each target's errors. */
export function taskSection(validation: TaskValidation): Html {
  const { head, rows } = taskRows(validation);
  return html`<section id="classes"><h2>${validation.task === 'regression' ? 'Target by target' : 'Label by label'}</h2>
<p>${explanations[validation.task]}</p>
${table({
  label: 'Figures one by one',
  head,
  rows: rows.map(([name, ...cells]) => ({ cells: [named(name as string), ...cells] })),
})}</section>`;
}

const explanations = {
  'multi-label':
    'A label counts as predicted from a probability of 0.5 on. Average precision and ROC-AUC depend on no threshold; mAP is the mean of the average precisions.',
  regression:
    'MAE and RMSE are in the unit of the target. R2 is 1 minus the share of the variance that is missed: 0 is no better than the mean. A mean over targets of different units says little of their errors.',
};

function shown(value: number | null | undefined): string {
  return value === null || value === undefined ? 'undefined' : String(Number(value.toPrecision(3)));
}
