import type { EChartsOption } from 'echarts';
import { formatTime } from '../report/progress.js';
import { renderChart } from '../report/svg-chart.js';
import { formatTable } from '../report/table.js';
import type { SearchResult } from './search.js';
import type { SearchDimension } from './space.js';
import type { SearchTrial } from './trials.js';

/** Trials that a table shows. */
const mostRows = 30;

/** The trials of a search as a table for people, best first. */
export function searchTable({ trials, metric, dimensions }: SearchResult): string {
  const rows = trials
    .slice(0, mostRows)
    .map((one, index) => [
      String(index + 1),
      String(one.trial),
      one.value === null ? 'failed' : one.value.toFixed(4),
      one.bestEpoch === null ? '' : `${one.bestEpoch} of ${one.epochs}`,
      ...dimensions.map(({ name }) => describeValue(valueOf(one, name))),
      formatTime(one.seconds),
      one.failure ? one.failure.code : '',
    ]);
  const table = formatTable(
    [
      ...[
        { title: '', align: 'right' as const },
        { title: 'trial', align: 'right' as const },
      ],
      ...[{ title: metric, align: 'right' as const }, { title: 'best epoch' }],
      ...dimensions.map(({ name, kind }) => ({
        title: name,
        ...(kind === 'range' ? { align: 'right' as const } : {}),
      })),
      ...[{ title: 'time', align: 'right' as const }, { title: '' }],
    ],
    rows,
  );
  const rest = trials.length - rows.length;
  return rest > 0 ? `${table}\n… and ${rest} more` : table;
}

/**
 * A search as parallel coordinates in SVG: an axis for each searched option and one for the metric, a line for each trial,
 * the darker the better. Trials without a value are left out.
 */
export async function renderSearchChart(result: SearchResult): Promise<string> {
  const { dimensions, metric, mode } = result;
  const trials = result.trials.filter(({ value }) => value !== null);
  const values = trials.map(({ value }) => value as number);
  const axes = [
    ...dimensions.map(axisOf),
    { dim: dimensions.length, name: metric, scale: true, inverse: mode === 'min' },
  ];
  const colors = ['#c6dbef', '#08306b'];
  const option = {
    title: { text: `${result.trials.length} trials by ${metric}`, left: 'center' },
    parallelAxis: axes,
    parallel: { left: 70, right: 90, top: 90, bottom: 40 },
    visualMap: {
      ...{ show: false, dimension: dimensions.length },
      ...{ min: Math.min(...values), max: Math.max(...values) },
      inRange: { color: mode === 'min' ? colors.reverse() : colors },
    },
    series: {
      type: 'parallel',
      lineStyle: { width: 2, opacity: 0.8 },
      // The best last, so that it is drawn above the others.
      data: [...trials]
        .reverse()
        .map((one) => [...dimensions.map((dimension) => coordinate(one, dimension)), one.value]),
    },
  } as EChartsOption;
  return renderChart(option, { width: Math.max(600, 160 * axes.length), height: 460 });
}

function axisOf(dimension: SearchDimension, dim: number) {
  const { name } = dimension;
  if (dimension.kind === 'choice')
    return { dim, name, type: 'category', data: dimension.values.map(describeValue) };
  const { low: min, high: max, log } = dimension;
  return { dim, name, min, max, type: log ? 'log' : 'value', axisLabel: { formatter: describeNumber } };
}

function coordinate(trial: SearchTrial, { name, kind }: SearchDimension): unknown {
  const value = valueOf(trial, name);
  return kind === 'choice' ? describeValue(value) : value;
}

function valueOf({ config }: SearchTrial, name: string): unknown {
  return (config as Record<string, unknown>)[name];
}

function describeValue(value: unknown): string {
  if (typeof value === 'number') return describeNumber(value);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Three digits, in powers of ten where it is small. */
function describeNumber(value: number): string {
  if (Number.isInteger(value)) return String(value);
  return Math.abs(value) < 0.01 ? value.toExponential(2) : String(Number(value.toPrecision(3)));
}
