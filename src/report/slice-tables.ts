import type { BootstrapInterval } from '../metrics/bootstrap.js';
import type { SliceReport } from '../metrics/slices.js';
import type { NamedSliceReport } from '../outcome-slices.js';
import { formatTable } from './table.js';

/** Rows of a table of groups: the worst first. */
const mostGroups = 20;

/** The slices of one name with intervals, the difference to all others, and the verdict; then groups by class. */
export function sliceTables({ name, ...report }: NamedSliceReport): string {
  const { slices, groups, worstGroup, verdict, metric } = report;
  const right = (title: string) => ({ title, align: 'right' as const });
  const table = formatTable(
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
      signed(slice.toRest?.difference),
      slice.toRest ? `${signed(slice.toRest.low)} to ${signed(slice.toRest.high)}` : '',
      slice.value === report.worst ? `${slice.standing}; the worst` : slice.standing,
    ]),
  );
  const worstFirst = [...groups].sort((a, b) => a.accuracy - b.accuracy).slice(0, mostGroups);
  const byClass = formatTable(
    [
      { title: name },
      { title: 'class' },
      right('images'),
      right('accuracy'),
      { title: 'interval' },
      { title: '' },
    ],
    worstFirst.map((group) => [
      ...[group.value, group.class, String(group.count), figure(group.accuracy)],
      `${figure(group.low)} to ${figure(group.high)}`,
      isSame(group, worstGroup) ? 'the worst group' : '',
    ]),
  );
  return `${verdict}\n\n${table}\n\n${byClass}`;
}

function isSame(a: SliceReport['groups'][number], b: SliceReport['groups'][number] | null): boolean {
  return a.value === b?.value && a.class === b.class;
}

function cells({ value, low, high }: BootstrapInterval): string[] {
  return [figure(value), `${figure(low)} to ${figure(high)}`];
}

function figure(value: number | null): string {
  return value === null ? '-' : value.toFixed(4);
}

function signed(value: number | null | undefined): string {
  if (value === undefined) return '';
  return value === null ? '-' : `${value < 0 ? '' : '+'}${value.toFixed(4)}`;
}
