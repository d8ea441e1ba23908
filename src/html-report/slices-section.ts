import type { MetricInterval } from '../metrics/intervals.js';
import type { ComparedSlice } from '../metrics/slice-comparison.js';
import type { SliceScores } from '../metrics/slices.js';
import { isError, type TargetSliceMetric } from '../metrics/target-slices.js';
import type { NamedSliceReport, NamedTargetSliceReport } from '../outcome-slices.js';
import { titleOf } from '../report/slice-tables.js';
import { axis, drawChart, figure, type Series } from './charts.js';
import { formatCount, formatShare } from './format.js';
import { type Fragment, type Html, html, named } from './html.js';
import { table } from './table.js';

/** Slices in a chart, and groups in a table: the worst. */
const mostRows = 20;

/** How the model does on the slices of the validation images; nothing where the data has none. */
export function slicesSection(reports: readonly AnyReport[] | undefined): Html | undefined {
  const [first] = reports ?? [];
  if (!reports || !first) return undefined;
  return html`<section id="slices"><h2>Slice by slice</h2>
<p>${'task' in first ? targetLead[first.task] : classLead} The worst slice is marked.</p>
${reports.map((report) => ('task' in report ? targetTold(report) : told(report)))}</section>`;
}

type AnyReport = NamedSliceReport | NamedTargetSliceReport;

const classLead =
  'Images are divided by what is known of them beside their class. Intervals are of 95 %, by a bootstrap within the classes. Of a slice of fewer than 10 images, or whose accuracy could lie anywhere in more than 40 points, it is too early to speak. Macro F1 is over the classes that a slice has.';

const targetLead = {
  'multi-label':
    'Images are divided by what is known of them beside their labels. Intervals are of 95 %, by a bootstrap. Of a slice of fewer than 30 images it is too early to speak. Macro F1 is at a probability of 0.5, over the labels that a slice has.',
  regression:
    'Images are divided by what is known of them beside their numbers. Intervals are of 95 %, by a bootstrap. Of a slice of fewer than 30 images it is too early to speak. MAE is in the unit of the target: the smaller, the better.',
};

const metricTitles: Partial<Record<TargetSliceMetric, string>> = { macroF1: 'macro F1', mae: 'MAE' };

function targetTold(report: NamedTargetSliceReport): Html {
  const title = metricTitles[report.metric] ?? report.metric;
  const sign = isError(report.metric) ? -1 : 1;
  const worst = [...report.slices]
    .sort((a, b) => sign * ((a.score.value ?? 0) - (b.score.value ?? 0)))
    .slice(0, mostRows);
  return html`<h3>${named(titleOf(report))}</h3>
<p>${report.verdict}</p>
<div class="charts" style="max-width:36rem">${figure(`${capital(title)} by slice`, legendOf(title), forest(worst, { name: report.name, title }))}</div>
${table({
  label: `Slices by ${titleOf(report)}`,
  head: [named(report.name), 'images', title, 'to the rest', ''],
  rows: report.slices.map((slice) => ({
    isMarked: slice.value === report.worst,
    cells: targetRow(slice),
  })),
})}
${report.groups.length > 0 && groups(report)}`;
}

function targetRow({ value, count, score, toRest, standing }: ComparedSlice): Fragment[] {
  const shown = (number: number) => String(Number(number.toPrecision(3)));
  const signed = (number: number) => `${number < 0 ? '−' : '+'}${shown(Math.abs(number))}`;
  return [
    named(value),
    formatCount(count),
    withInterval(score, shown),
    toRest && toRest.difference !== null ? withInterval({ ...toRest, value: toRest.difference }, signed) : '',
    standing,
  ];
}

function told(report: NamedSliceReport): Html {
  const worst = [...report.slices]
    .sort((a, b) => (a.accuracy.value ?? 0) - (b.accuracy.value ?? 0))
    .slice(0, mostRows);
  return html`<h3>${named(report.name)}</h3>
<p>${report.verdict}</p>
<div class="charts" style="max-width:36rem">${figure(
    'Accuracy by slice',
    legendOf('accuracy'),
    forest(
      worst.map((slice) => ({ ...slice, score: slice.accuracy })),
      { name: report.name, title: 'accuracy', isShare: true },
    ),
  )}</div>
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
  { value, low, high }: Pick<MetricInterval, 'value' | 'low' | 'high'>,
  show: (value: number) => string,
): Fragment {
  if (value === null) return '–';
  return low === null || high === null
    ? show(value)
    : html`${show(value)} <span class="note">(${show(low)} to ${show(high)})</span>`;
}

function groups(report: AnyReport): Html {
  const { name, groups: all, worstGroup } = report;
  const kind = 'task' in report ? 'label' : 'class';
  const right = kind === 'label' ? 'are found' : 'are right';
  const worst = [...all].sort((a, b) => a.accuracy - b.accuracy).slice(0, mostRows);
  const lead =
    worstGroup &&
    html`<p>By ${kind} within a slice, the worst group of enough images is ${named(worstGroup.class)} in
${named(worstGroup.value)}: <strong>${formatShare(worstGroup.accuracy)}</strong> of ${formatCount(worstGroup.count)}
${right} (${formatShare(worstGroup.low)} to ${formatShare(worstGroup.high)}).</p>`;
  return html`${lead}<details><summary>Groups by ${kind}, the worst first</summary>${table({
    label: `Groups by ${name} and ${kind}`,
    head: [html`${named(name)}, ${kind}`, 'images', kind === 'label' ? 'recall' : 'accuracy'],
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

function legendOf(title: string): Series[] {
  return [
    { name: `${title} and its interval`, color: '--val', points: [] },
    { name: 'too few to tell', color: '--muted', points: [] },
  ];
}

const capital = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}`;

/** A point and its interval for each slice, in their order. */
function forest(
  slices: readonly Pick<ComparedSlice, 'value' | 'count' | 'score' | 'standing'>[],
  { name, title, isShare = false }: { name: string; title: string; isShare?: boolean },
): Html {
  const labels = slices.map(({ value, count }) => `${shorten(value)} (${formatCount(count)})`);
  const longest = Math.max(...labels.map(({ length }) => length));
  return drawChart(
    {
      grid: { left: Math.min(200, 20 + 7 * longest), right: 24, top: 10, bottom: 44 },
      xAxis: axis({
        ...{ name: title, nameLocation: 'middle', nameGap: 26, min: 0 },
        ...(isShare
          ? { max: 1, axisLabel: { formatter: (value: number) => `${Math.round(value * 100)} %` } }
          : {}),
      }),
      yAxis: axis({ type: 'category', data: labels, inverse: true, splitLine: { show: false } }),
      series: slices.map(({ score, standing }, index) => {
        const paint = `var(${standing === 'too few to tell' ? '--muted' : '--val'})`;
        const end = (x: number | null) => ({ value: [x ?? score.value, index], symbolSize: 3 });
        return {
          type: 'line',
          silent: true,
          symbol: 'circle',
          data: [end(score.low), { value: [score.value, index], symbolSize: 9 }, end(score.high)],
          itemStyle: { color: paint, opacity: 1 },
          lineStyle: { color: paint, width: 2 },
        };
      }),
    },
    `${capital(title)} of each slice by ${name}, with 95 % intervals`,
    64 + 30 * slices.length,
  );
}

function shorten(text: string): string {
  const characters = [...text];
  return characters.length > 20 ? `${characters.slice(0, 19).join('')}…` : text;
}
