import type { Task } from '../data/task.js';
import type { EpochReport } from '../fine-tune/report.js';
import { isClassified, type Validation } from '../metrics/tasks.js';
import { taskFigures } from '../report/task-tables.js';
import type { RunRecord } from '../run-record.js';
import { drawEpochLines, figure, type Series } from './charts.js';
import { formatCount, formatRate, formatSeconds, formatShare } from './format.js';
import { type Html, html } from './html.js';
import { table } from './table.js';
import { drawTimes, timeSeries } from './time-chart.js';

/** Loss, accuracy and learning rate over the epochs, and the figures behind them. */
export function learningSection(record: RunRecord): Html {
  const { bestEpoch, epochs } = record;
  const losses = lossSeries(record);
  const scores = scoreSeries(record);
  const rates: Series[] = [
    { name: 'largest rate', color: '--rate', points: pointsOf(epochs, ({ learningRate }) => learningRate) },
  ];
  const times = timeSeries(record);
  const mark = { best: bestEpoch };
  return html`<section id="learning"><h2>How it learned</h2>
<p>Training figures are means over an epoch while weights change, on augmented images where there is augmentation;
validation figures are of the weights at the epoch’s end. Epoch 0 is the model before the first step.</p>
${
  epochs.length === 0
    ? html`<p class="missing">No epoch was finished, so there are no curves.</p>`
    : html`<div class="charts">
${figure('Loss', losses, drawEpochLines(losses, { ...mark, label: 'Loss over epochs', y: { min: 0 } }))}
${figure('Scores', scores, drawEpochLines(scores, { ...mark, label: `${scoreNames(record)} over epochs`, y: record.data.task === 'regression' ? { min: 0 } : { scale: true, max: 1 } }))}
${figure('Learning rate', rates, drawEpochLines(rates, { ...mark, label: 'Learning rate over epochs', y: { min: 0, axisLabel: { formatter: formatRate } } }), html`Largest of what learns, at each epoch’s end.`)}
${figure('Time of an epoch', times, drawTimes(times))}
</div>`
}
<details><summary>All epochs</summary>${epochTable(record)}</details></section>`;
}

function scoreNames({ baseline }: RunRecord): string {
  const figures = figuresOf(baseline.validation);
  return figures ? figures.map(({ title }) => title).join(', ') : 'Accuracy and macro F1';
}

function lossSeries({ baseline, epochs }: RunRecord): Series[] {
  return [
    {
      name: 'validation',
      color: '--val',
      points: pointsOf([baseline, ...epochs], ({ validation }) => validation.loss),
    },
    {
      name: 'training',
      color: '--train',
      dashed: true,
      points: pointsOf(epochs, ({ trainLoss }) => trainLoss),
    },
  ];
}

function scoreSeries({ baseline, epochs }: RunRecord): Series[] {
  const all = [baseline, ...epochs];
  const colors = ['--val', '--f1', '--train'] as const;
  const figures = figuresOf(baseline.validation);
  if (figures) {
    // R2 has another scale than errors have.
    return figures
      .filter(({ name }) => name !== 'R2')
      .map(({ title, name }, at) => ({
        name: title,
        color: colors[at % colors.length] as (typeof colors)[number],
        points: pointsOf(all, (report) => valueOf(report, name)),
      }));
  }
  return [
    {
      name: 'validation accuracy',
      color: '--val',
      points: pointsOf(all, ({ validation }) => (isClassified(validation) ? validation.accuracy : null)),
    },
    {
      name: 'validation macro F1',
      color: '--f1',
      points: pointsOf(all, ({ validation }) => (isClassified(validation) ? validation.macro.f1 : null)),
    },
    {
      name: 'training accuracy',
      color: '--train',
      dashed: true,
      points: pointsOf(epochs, ({ trainAccuracy }) => trainAccuracy),
    },
  ];
}

/** Of images with one class each undefined. */
function figuresOf(validation: Validation) {
  return isClassified(validation) ? undefined : taskFigures(validation);
}

function scoreCells(validation: Validation): string[] {
  if (isClassified(validation)) return [formatShare(validation.accuracy), validation.macro.f1.toFixed(4)];
  return taskFigures(validation).map(({ value }) => value?.toFixed(4) ?? '–');
}

function valueOf({ validation }: EpochReport<Task>, name: string): number | null {
  return figuresOf(validation)?.find((figure) => figure.name === name)?.value ?? null;
}

function pointsOf(
  epochs: EpochReport<Task>[],
  value: (epoch: EpochReport<Task>) => number | null,
): Series['points'] {
  return epochs.flatMap((report) => {
    const y = value(report);
    return y === null ? [] : [[report.epoch, y] as const];
  });
}

function epochTable({ baseline, epochs, bestEpoch }: RunRecord): Html {
  const figures = figuresOf(baseline.validation);
  return table({
    label: 'Figures of all epochs',
    head: [
      'epoch',
      'train loss',
      ...(figures ? [] : ['train accuracy']),
      'val loss',
      ...(figures?.map(({ title }) => title) ?? ['val accuracy', 'macro F1']),
      'learning rate',
      'images/s',
      'waiting',
      'time',
    ],
    rows: [baseline, ...epochs].map((report) => ({
      isMarked: report.epoch === bestEpoch,
      cells: [
        `${report.epoch}${report.epoch === bestEpoch ? ' (best)' : ''}`,
        report.trainLoss?.toFixed(4) ?? '–',
        ...(figures ? [] : [report.trainAccuracy === null ? '–' : formatShare(report.trainAccuracy)]),
        report.validation.loss.toFixed(4),
        ...scoreCells(report.validation),
        report.epoch === 0 ? '–' : formatRate(report.learningRate),
        report.imagesPerSecond > 0 ? formatCount(Number(report.imagesPerSecond.toPrecision(3))) : '–',
        report.epoch === 0 ? '–' : formatShare(report.waitShare ?? 0),
        formatSeconds(report.seconds),
      ],
    })),
  });
}
