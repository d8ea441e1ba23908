import type { MetricInterval } from '../metrics/intervals.js';
import type { ComparedSlice, GroupScores } from '../metrics/slice-comparison.js';
import type { NamedSliceReport, NamedTargetSliceReport } from '../outcome-slices.js';
import { formatTable } from './table.js';

/** Rows of a table of groups: the worst first. */
const mostGroups = 20;

const right = (title: string) => ({ title, align: 'right' as const });

/** What a report of slices is of: the slice, and of a regression the target. */
export function titleOf(report: NamedSliceReport | NamedTargetSliceReport): string {
  return 'target' in report ? `${report.name}, ${report.target}` : report.name;
}

/**
 * The slices of one name with intervals, the difference to all others, and the verdict; then groups by class, or by label.
 */
export function sliceTables(report: NamedSliceReport | NamedTargetSliceReport): string {
  const table = 'task' in report ? targetTable(report) : classTable(report);
  const tables = [report.verdict, table, ...(report.groups.length > 0 ? [groupTable(report)] : [])];
  return tables.join('\n\n');
}

/** By the one metric of a multi-label set or a regression. */
function targetTable(report: NamedTargetSliceReport): string {
  const { slices, metric, worst } = report;
  return formatTable(
    [
      { title: titleOf(report) },
      right('images'),
      right(metric),
      { title: 'interval' },
      right('to the rest'),
      { title: 'interval' },
      { title: '' },
    ],
    slices.map((slice) => [
      ...[slice.value, String(slice.count), ...cells(slice.score)],
      ...standingCells(slice, worst),
    ]),
  );
}

function standingCells({ value, toRest, standing }: ComparedSlice, worst: string | null): string[] {
  return [
    signed(toRest?.difference),
    toRest ? `${signed(toRest.low)} to ${signed(toRest.high)}` : '',
    value === worst ? `${standing}; the worst` : standing,
  ];
}

function classTable({ name, slices, metric, worst }: NamedSliceReport): string {
  return formatTable(
    [
      { title: name },
      right('images'),
      right('accuracy'),
      { title: 'interval' },
      right('macro f1'),
      { title: 'interval' },
      ...(metric === 'accuracy' || metric === 'macroF1' ? [] : [right(metric), { title: 'interval' }]),
      right('to the rest'),
      { title: 'interval' },
      { title: '' },
    ],
    slices.map((slice) => [
      slice.value,
      String(slice.count),
      ...cells(slice.accuracy),
      ...cells(slice.macroF1),
      ...(metric === 'accuracy' || metric === 'macroF1' ? [] : cells(slice.score)),
      ...standingCells(slice, worst),
    ]),
  );
}

/** Slice by class, or by label: the share that is right. */
function groupTable(report: NamedSliceReport | NamedTargetSliceReport): string {
  const { name, groups, worstGroup } = report;
  const isOfLabels = 'task' in report;
  const worstFirst = [...groups].sort((a, b) => a.accuracy - b.accuracy).slice(0, mostGroups);
  return formatTable(
    [
      { title: name },
      { title: isOfLabels ? 'label' : 'class' },
      right('images'),
      right(isOfLabels ? 'recall' : 'accuracy'),
      { title: 'interval' },
      { title: '' },
    ],
    worstFirst.map((group) => [
      ...[group.value, group.class, String(group.count), figure(group.accuracy)],
      `${figure(group.low)} to ${figure(group.high)}`,
      isSame(group, worstGroup) ? 'the worst group' : '',
    ]),
  );
}

function isSame(a: GroupScores, b: GroupScores | null): boolean {
  return a.value === b?.value && a.class === b.class;
}

function cells({ value, low, high }: MetricInterval): string[] {
  return [figure(value), `${figure(low)} to ${figure(high)}`];
}

function figure(value: number | null): string {
  return value === null ? '-' : value.toFixed(4);
}

function signed(value: number | null | undefined): string {
  if (value === undefined) return '';
  return value === null ? '-' : `${value < 0 ? '' : '+'}${value.toFixed(4)}`;
}
