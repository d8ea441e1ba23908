import type { Scores } from '../metrics/classification.js';
import { isMultiLabel, type MultiLabelValidation, type RegressionValidation } from '../metrics/tasks.js';
import { formatTable } from './table.js';
import { worstOf } from './worst.js';

/** A figure that says how a multi-label model, or a regression, does. */
export interface TaskFigure {
  /** As reports name it, without the split: `Mae`. */
  name: string;
  title: string;
  value: number | null;
}

/** The few figures to be told first. */
export function taskFigures(validation: MultiLabelValidation | RegressionValidation): TaskFigure[] {
  if (isMultiLabel(validation)) {
    return [
      { name: 'MeanAveragePrecision', title: 'mAP', value: validation.meanAveragePrecision },
      { name: 'MacroF1', title: 'macro F1', value: validation.macro.f1 },
      { name: 'SubsetAccuracy', title: 'subset accuracy', value: validation.subsetAccuracy },
    ];
  }
  return [
    { name: 'Mae', title: 'MAE', value: validation.mae },
    { name: 'Rmse', title: 'RMSE', value: validation.rmse },
    { name: 'R2', title: 'R2', value: validation.r2 },
  ];
}

/** The figures in a line: `MAE 0.1234 RMSE 0.2345 R2 0.9`. */
export function figuresText(figures: readonly TaskFigure[]): string {
  return figures.map(({ title, value }) => `${title} ${figure(value)}`).join(' ');
}

/** The figures by name, for example with `val` as `valMae`. */
export function namedFigures(prefix: string, figures: readonly TaskFigure[]): Record<string, number | null> {
  return Object.fromEntries(figures.map(({ name, value }) => [`${prefix}${name}`, value]));
}

/** Scores of each label, or errors of each target, and their means. A dash is a figure that is undefined. */
export function taskTable(validation: MultiLabelValidation | RegressionValidation): string {
  const { head, rows } = taskRows(validation);
  return formatTable(
    head.map((title, at) => (at === 0 ? { title } : { title, align: 'right' as const })),
    rows,
  );
}

/** The same as cells of text. */
export function taskRows(validation: MultiLabelValidation | RegressionValidation): {
  head: string[];
  rows: string[][];
} {
  return isMultiLabel(validation) ? labelRows(validation) : targetRows(validation);
}

function labelRows({ perLabel, macro, micro, samples, count, ...rest }: MultiLabelValidation) {
  const shown = worstOf(perLabel, ({ prAuc }) => prAuc, 'with the lowest average precision');
  const cells = ({ precision, recall, f1 }: Scores) => [precision, recall, f1].map(figure);
  return {
    head: [
      shown.note ? `label (${shown.note})` : 'label',
      'precision',
      'recall',
      'f1',
      'support',
      'roc auc',
      'average precision',
    ],
    rows: [
      ...shown.rows.map((own) => [
        ...[own.label, ...cells(own), String(own.support)],
        ...[figure(own.rocAuc), figure(own.prAuc)],
      ]),
      [
        'mean of labels (macro)',
        ...cells(macro),
        String(count),
        figure(rest.rocAuc),
        figure(rest.meanAveragePrecision),
      ],
      ['all labels together (micro)', ...cells(micro), String(count), '', ''],
      ['mean of images (samples)', ...cells(samples), String(count), '', ''],
    ],
  };
}

function targetRows(validation: RegressionValidation) {
  const cells = ({
    mae,
    rmse,
    medianAbsoluteError,
    r2,
    pearson,
    spearman,
  }: Omit<RegressionValidation, 'task' | 'loss' | 'perTarget'>) =>
    [mae, rmse, medianAbsoluteError, r2, pearson, spearman].map(figure);
  const { perTarget } = validation;
  const { rows, note } = worstOf(perTarget, ({ r2 }) => r2, 'with the lowest R2');
  return {
    head: [note ? `target (${note})` : 'target', 'MAE', 'RMSE', 'median error', 'R2', 'Pearson', 'Spearman'],
    rows: [
      ...rows.map((own) => [own.target, ...cells(own)]),
      ...(perTarget.length > 1 ? [['mean', ...cells(validation)]] : []),
    ],
  };
}

function figure(value: number | null): string {
  if (value === null) return '-';
  return Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3)
    ? value.toExponential(3)
    : value.toFixed(4);
}
