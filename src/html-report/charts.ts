import { BarChart, LineChart } from 'echarts/charts';
import { GridComponent, MarkAreaComponent, MarkLineComponent } from 'echarts/components';
import { type EChartsCoreOption, init, use } from 'echarts/core';
import { SVGRenderer } from 'echarts/renderers';
import { type Html, html, trusted } from './html.js';

use([BarChart, LineChart, GridComponent, MarkAreaComponent, MarkLineComponent, SVGRenderer]);

/** Units of the drawing; on paper and screens it is scaled to the width there is. */
const width = 460;
const usualHeight = 270;

/** One line or set of bars of a chart, for the legend and the drawing alike. */
export interface Series {
  name: string;
  /** A CSS variable of the page's palette. */
  color: `--${string}`;
  dashed?: boolean;
  /** [x, y]. */
  points: (readonly [number, number])[];
}

/** A chart without scripts: an SVG whose colours are the page's CSS variables, so that it follows light and dark. */
export function drawChart(option: EChartsCoreOption, label: string, height = usualHeight): Html {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width, height });
  try {
    chart.setOption({ animation: false, ...option });
    return trusted(embed(chart.renderToSVGString({ useViewBox: true }), label, height));
  } finally {
    chart.dispose();
  }
}

/** Colours and sizes that every axis has. */
export function axis(options: Record<string, unknown>) {
  const { axisLabel, ...rest } = options;
  return {
    type: 'value',
    nameTextStyle: text,
    axisLine: { lineStyle: { color: 'var(--rule)' } },
    axisTick: { show: false },
    splitLine: { lineStyle: { color: 'var(--faint)' } },
    ...rest,
    axisLabel: { ...text, ...(axisLabel as object) },
  };
}

const text = { color: 'var(--muted)', fontSize: 12, fontFamily: 'inherit' };

export const grid = { left: 56, right: 14, top: 22, bottom: 44 };

/** Lines over epochs, the best epoch marked. */
export function drawEpochLines(
  series: Series[],
  { best, label, y = {} }: { best: number; label: string; y?: Record<string, unknown> },
): Html {
  const last = Math.max(...series.flatMap(({ points }) => points.map(([x]) => x)));
  return drawChart(
    {
      grid,
      xAxis: axis({
        name: 'epoch',
        nameLocation: 'middle',
        nameGap: 26,
        min: 0,
        max: Math.max(1, last),
        minInterval: 1,
        splitLine: { show: false },
      }),
      yAxis: axis(y),
      series: series.map((one, index) => ({
        ...lineSeries(one),
        ...(index === 0 ? { markLine: bestLine(best) } : {}),
      })),
    },
    label,
  );
}

/** A line as the page draws them. */
export function lineSeries({ color, dashed, points }: Series) {
  const paint = `var(${color})`;
  return {
    type: 'line',
    silent: true,
    data: points,
    symbol: 'circle',
    symbolSize: points.length > 40 ? 0 : 5,
    itemStyle: { color: paint },
    lineStyle: { color: paint, width: 2, type: dashed ? [5, 4] : 'solid' },
  };
}

function bestLine(epoch: number) {
  return {
    silent: true,
    symbol: 'none',
    data: [{ xAxis: epoch }],
    lineStyle: { color: 'var(--ink)', type: [2, 3], opacity: 0.6 },
    label: { formatter: 'best', color: 'var(--ink)', fontSize: 12, fontFamily: 'inherit' },
  };
}

/** A chart with its title and the names of its lines. */
export function figure(title: string, series: Series[], drawing: Html, note?: Html): Html {
  return html`<figure class="chart"><figcaption><strong>${title}</strong>
<span class="legend">${series.map(
    ({ name, color, dashed }) =>
      html`<span class="key"><i class="${dashed ? 'dashed' : 'solid'}" style="--c:var(${color})"></i>${name}</span>`,
  )}</span></figcaption>
${drawing}${note && html`<p class="note">${note}</p>`}</figure>`;
}

/**
 * SVG for use within HTML: no namespace declarations, nothing to hover over, and a label for who cannot see it. Each
 * chart has clip paths of its own name: echarts counts them within the process.
 */
function embed(svg: string, label: string, height: number): string {
  return svg
    .replace(/<style >[\s\S]*?<\/style>/g, '')
    .replace(/ (?:ecmeta_\w+|class)="[^"]*"/g, '')
    .replace(
      /<svg [^>]*>/,
      `${html`<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${label}">`.text}`,
    );
}
