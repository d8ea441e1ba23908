import type { BootstrapInterval } from '../metrics/bootstrap.js';
import type { SliceScores } from '../metrics/slices.js';
import type { NamedSliceReport } from '../outcome-slices.js';
import { axis, drawChart, figure, type Series } from './charts.js';
import { formatCount, formatShare } from './format.js';
import { type Fragment, type Html, html, named } from './html.js';
import { table } from './table.js';

/** Slices in a chart, and groups in a table: the worst. */
const mostRows = 20;

/** How the model does on the slices of the validation images; nothing where the data has none. */
export function slicesSection(reports: readonly NamedSliceReport[] | undefined): Html | undefined {
  if (!reports || reports.length === 0) return undefined;
  return html`<section id="slices"><h2>Slice by slice</h2>
<p>Images are divided by what is known of them beside their class. Intervals are of 95 %, by a bootstrap within the
classes. Of a slice of fewer than 10 images, or whose accuracy could lie anywhere in more than 40 points, it is too
early to speak. Macro F1 is over the classes that a slice has. The worst slice is marked.</p>
${reports.map(told)}</section>`;
}

function told(report: NamedSliceReport): Html {
  const worst = [...report.slices]
    .sort((a, b) => (a.accuracy.value ?? 0) - (b.accuracy.value ?? 0))
    .slice(0, mostRows);
  return html`<h3>${named(report.name)}</h3>
<p>${report.verdict}</p>
<div class="charts" style="max-width:36rem">${figure('Accuracy by slice', legend, forest(worst, report.name))}</div>
${table({
  label: `Slices by ${report.name}`,
  head: [named(report.name), 'images', 'accuracy', 'macro F1', 'to the rest, points', ''],
  rows: report.slices.map((slice) => ({
    isMarked: slice.value === report.worst,
    cells: row(slice),
  })),
})}
${groups(report)}`;
}

function row(slice: SliceScores): Fragment[] {
  const { toRest } = slice;
  const points = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(value * 100).toFixed(1)}`;
  return [
    named(slice.value),
    formatCount(slice.count),
    withInterval(slice.accuracy, (value) => (value * 100).toFixed(1)),
    slice.macroF1.value === null ? '–' : slice.macroF1.value.toFixed(3),
    toRest && toRest.difference !== null ? withInterval({ ...toRest, value: toRest.difference }, points) : '',
    slice.standing,
  ];
}

function withInterval(
  { value, low, high }: Pick<BootstrapInterval, 'value' | 'low' | 'high'>,
  show: (value: number) => string,
): Fragment {
  if (value === null) return '–';
  return low === null || high === null
    ? show(value)
    : html`${show(value)} <span class="note">(${show(low)} to ${show(high)})</span>`;
}

function groups({ name, groups: all, worstGroup }: NamedSliceReport): Html {
  const worst = [...all].sort((a, b) => a.accuracy - b.accuracy).slice(0, mostRows);
  const lead =
    worstGroup &&
    html`<p>By class within a slice, the worst group of enough images is ${named(worstGroup.class)} in
${named(worstGroup.value)}: <strong>${formatShare(worstGroup.accuracy)}</strong> of ${formatCount(worstGroup.count)} are
right (${formatShare(worstGroup.low)} to ${formatShare(worstGroup.high)}).</p>`;
  return html`${lead}<details><summary>Groups by class, the worst first</summary>${table({
    label: `Groups by ${name} and class`,
    head: [html`${named(name)}, class`, 'images', 'accuracy'],
    rows: worst.map((group) => ({
      isMarked: group.value === worstGroup?.value && group.class === worstGroup.class,
      cells: [
        html`${named(group.value)}, ${named(group.class)}`,
        formatCount(group.count),
        withInterval({ ...group, value: group.accuracy }, (value) => (value * 100).toFixed(1)),
      ],
    })),
  })}</details>`;
}

const legend: Series[] = [
  { name: 'accuracy and its interval', color: '--val', points: [] },
  { name: 'too few to tell', color: '--muted', points: [] },
];

/** A point and its interval for each slice, the worst on top. */
function forest(slices: readonly SliceScores[], name: string): Html {
  const labels = slices.map(({ value, count }) => `${shorten(value)} (${formatCount(count)})`);
  const longest = Math.max(...labels.map(({ length }) => length));
  return drawChart(
    {
      grid: { left: Math.min(200, 20 + 7 * longest), right: 24, top: 10, bottom: 44 },
      xAxis: axis({
        ...{ name: 'accuracy', nameLocation: 'middle', nameGap: 26, min: 0, max: 1 },
        axisLabel: { formatter: (value: number) => `${Math.round(value * 100)} %` },
      }),
      yAxis: axis({ type: 'category', data: labels, inverse: true, splitLine: { show: false } }),
      series: slices.map(({ accuracy, standing }, index) => {
        const paint = `var(${standing === 'too few to tell' ? '--muted' : '--val'})`;
        const end = (x: number | null) => ({ value: [x ?? accuracy.value, index], symbolSize: 3 });
        return {
          type: 'line',
          silent: true,
          symbol: 'circle',
          data: [end(accuracy.low), { value: [accuracy.value, index], symbolSize: 9 }, end(accuracy.high)],
          itemStyle: { color: paint, opacity: 1 },
          lineStyle: { color: paint, width: 2 },
        };
      }),
    },
    `Accuracy of each slice by ${name}, with 95 % intervals`,
    64 + 30 * slices.length,
  );
}

function shorten(text: string): string {
  const characters = [...text];
  return characters.length > 20 ? `${characters.slice(0, 19).join('')}…` : text;
}
