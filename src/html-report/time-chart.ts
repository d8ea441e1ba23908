import type { EpochReport } from '../fine-tune/report.js';
import { axis, drawChart, grid, type Series } from './charts.js';
import { formatSeconds } from './format.js';
import type { Html } from './html.js';

/** What an epoch's time went to, seconds by epoch. */
export function timeSeries(epochs: EpochReport[]): Series[] {
  const waited = ({ trainSeconds, waitShare = 0 }: EpochReport) => trainSeconds * waitShare;
  const of = (seconds: (epoch: EpochReport) => number): Series['points'] =>
    epochs.map((report) => [report.epoch, Math.max(0, seconds(report))]);
  return [
    { name: 'training', color: '--train', points: of((epoch) => epoch.trainSeconds - waited(epoch)) },
    { name: 'waiting for images', color: '--rate', points: of(waited) },
    { name: 'validation', color: '--val', points: of((epoch) => epoch.seconds - epoch.trainSeconds) },
  ];
}

/** Stacked bars, one for each epoch. */
export function drawTimes(series: Series[]): Html {
  return drawChart(
    {
      grid,
      xAxis: axis({
        ...{ type: 'category', name: 'epoch', nameLocation: 'middle', nameGap: 26 },
        data: series[0]?.points.map(([epoch]) => String(epoch)) ?? [],
        splitLine: { show: false },
      }),
      yAxis: axis({
        min: 0,
        axisLabel: { formatter: (seconds: number) => (seconds > 0 ? formatSeconds(seconds) : '0') },
      }),
      series: series.map(({ color, points }) => ({
        ...{ type: 'bar', stack: 'time', silent: true, barCategoryGap: '25%', barMaxWidth: 40 },
        data: points.map(([, seconds]) => seconds),
        itemStyle: { color: `var(${color})`, opacity: 0.75 },
      })),
    },
    'Time of each epoch',
  );
}
