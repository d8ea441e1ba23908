import { renderChart } from '../report/svg-chart.js';
import { formatTable } from '../report/table.js';
import { terminalPlot } from '../report/terminal-plot.js';
import type { LearningRateSearch } from './lr-find.js';

/** The suggestions and their letters in the plot. */
const kinds = [
  ['valley', 'V', 'in the longest valley; where to begin'],
  ['steepest', 'S', 'where the loss falls fastest'],
  ['minimum', 'M', 'a tenth of where the loss is least'],
] as const;

/** A sweep for people: a small plot of the smoothed loss over the rate's logarithm, and the suggestions. */
export function renderSweepText({ curve, suggestion, notice }: LearningRateSearch): string {
  const plot = terminalPlot({
    points: curve.map(({ learningRate, smoothed }) => ({ x: Math.log10(learningRate), y: smoothed })),
    formatX: (x) => formatRate(10 ** x),
    formatY: (y) => y.toPrecision(3),
    marks: kinds.map(([name, letter]) => ({ x: Math.log10(suggestion[name]), letter })),
  });
  const rows = kinds.map(([name, letter, meaning]) => [letter, name, formatRate(suggestion[name]), meaning]);
  const table = formatTable(
    [
      { title: '' },
      { title: 'suggestion' },
      { title: 'learning rate', align: 'right' },
      { title: 'what it is' },
    ],
    rows,
  );
  return [plot, '', table, ...(notice ? ['', `note   ${notice}`] : [])].join('\n');
}

/** A sweep as an SVG chart, 800 x 440 pixels: loss and smoothed loss over the rate, and the suggestions. */
export async function renderSweepChart({ curve, suggestion }: LearningRateSearch): Promise<string> {
  const largest = Math.max(...curve.map(({ smoothed }) => smoothed));
  return renderChart(
    {
      title: { text: 'Loss by learning rate', left: 'center' },
      color: ['#9aa5b1', '#1f6feb'],
      legend: { bottom: 0, data: ['loss', 'smoothed'] },
      grid: { left: 60, right: 60, top: 70, bottom: 70 },
      xAxis: {
        type: 'log',
        name: 'learning rate',
        nameLocation: 'middle',
        nameGap: 28,
        min: curve[0]?.learningRate,
        max: curve.at(-1)?.learningRate,
        axisLabel: { formatter: (rate: number) => formatRate(rate) },
      },
      // Losses of single batches at the end would flatten all else.
      yAxis: {
        type: 'value',
        name: 'loss',
        scale: true,
        max: Number((largest + 0.05 * Math.abs(largest)).toPrecision(3)),
      },
      series: [
        {
          ...line(
            'loss',
            curve.map(({ learningRate, loss }) => [learningRate, loss]),
          ),
          lineStyle: { width: 1 },
        },
        {
          ...line(
            'smoothed',
            curve.map(({ learningRate, smoothed }) => [learningRate, smoothed]),
          ),
          markLine: {
            symbol: 'none',
            // Digits after the point that positions are rounded to; 2 by default, which moves small rates.
            precision: 12,
            label: { formatter: '{b}', position: 'insideStartTop' },
            data: kinds.map(([name]) => ({
              name: `${name} ${formatRate(suggestion[name])}`,
              xAxis: suggestion[name],
            })),
          },
        },
      ],
    },
    { width: 800, height: 440 },
  );
}

function line(name: string, data: number[][]) {
  return { name, type: 'line' as const, showSymbol: false, clip: true, data };
}

/** `4.0e-3`. */
export function formatRate(rate: number): string {
  return rate.toExponential(1);
}
