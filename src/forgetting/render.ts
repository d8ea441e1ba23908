import { renderChart } from '../report/svg-chart.js';
import { formatTable } from '../report/table.js';
import type { WiseFtResult } from './wise-ft.js';

/** A WiSE-FT sweep as an SVG chart, 800 x 440 pixels: accuracy, and agreement where it was measured, over alpha. */
export async function renderWiseFtChart({ points, chosen }: WiseFtResult): Promise<string> {
  const accuracy = points.map(({ alpha, validation }) => [alpha, validation.accuracy]);
  const agreement = points.flatMap(({ alpha, retention }) =>
    retention ? [[alpha, retention.agreement]] : [],
  );
  const lines = [
    { name: 'validation accuracy', data: accuracy },
    ...(agreement.length > 0 ? [{ name: 'agreement with the source', data: agreement }] : []),
  ];
  return renderChart(
    {
      title: { text: 'From the pretrained to the fine-tuned weights', left: 'center' },
      color: ['#1f6feb', '#d1791f'],
      legend: { bottom: 0, data: lines.map(({ name }) => name) },
      grid: { left: 60, right: 60, top: 70, bottom: 70 },
      xAxis: {
        ...{ type: 'value', name: 'alpha', nameLocation: 'middle', nameGap: 28 },
        min: points[0]?.alpha ?? 0,
        max: points.at(-1)?.alpha ?? 1,
      },
      yAxis: { type: 'value', min: 0, max: 1 },
      series: lines.map((line, index) => ({
        ...line,
        type: 'line' as const,
        symbolSize: 6,
        ...(index === 0
          ? {
              markLine: {
                symbol: 'none',
                label: { formatter: 'chosen', position: 'insideStartTop' },
                data: [{ xAxis: chosen.alpha }],
              },
            }
          : {}),
      })),
    },
    { width: 800, height: 440 },
  );
}

/** A WiSE-FT sweep as a table, the chosen alpha marked. */
export function wiseFtTable({ points, chosen }: WiseFtResult): string {
  const isRetained = points.some(({ retention }) => retention);
  const titles = [
    'alpha',
    'accuracy',
    'macro F1',
    'loss',
    ...(isRetained ? ['agreement', 'divergence'] : []),
  ];
  return formatTable(
    [{ title: '' }, ...titles.map((title) => ({ title, align: 'right' as const }))],
    points.map(({ alpha, validation: { accuracy, macro, loss }, retention }) => [
      alpha === chosen.alpha ? '*' : '',
      String(alpha),
      ...[accuracy, macro.f1, loss].map((value) => value.toFixed(4)),
      ...(retention ? [retention.agreement, retention.divergence].map((value) => value.toFixed(4)) : []),
    ]),
  );
}
