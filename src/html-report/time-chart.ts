import type { Task } from '../data/task.js';
import type { EpochReport } from '../fine-tune/report.js';
import type { RunRecord } from '../run-record.js';
import { axis, drawChart, grid, type Series } from './charts.js';
import { waitingFor } from './computation-section.js';
import type { Html } from './html.js';

/** What an epoch's time went to, seconds by epoch. */
export function timeSeries({ epochs, features }: RunRecord): Series[] {
  const waited = ({ trainSeconds, waitShare = 0 }: EpochReport<Task>) => trainSeconds * waitShare;
  const of = (seconds: (epoch: EpochReport<Task>) => number): Series['points'] =>
    epochs.map((report) => [report.epoch, Math.max(0, seconds(report))]);
  return [
    { name: 'training', color: '--train', points: of((epoch) => epoch.trainSeconds - waited(epoch)) },
    { name: waitingFor(features), color: '--rate', points: of(waited) },
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
      yAxis: axis({ min: 0, axisLabel: { formatter: axisSeconds } }),
      series: series.map(({ color, points }) => ({
        ...{ type: 'bar', stack: 'time', silent: true, barCategoryGap: '25%', barMaxWidth: 40 },
        data: points.map(([, seconds]) => seconds),
        itemStyle: { color: `var(${color})`, opacity: 0.75 },
      })),
    },
    'Time of each epoch',
  );
}

/** Short enough to stand beside an axis. */
function axisSeconds(seconds: number): string {
  if (seconds >= 600) return `${Number((seconds / 60).toPrecision(3))} min`;
  return seconds === 0 || seconds >= 1 ? `${seconds} s` : `${Number((seconds * 1000).toPrecision(3))} ms`;
}
