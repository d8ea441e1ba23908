import type { ReliabilityBin } from '../metrics/calibration.js';
import type { Outcomes } from '../outcomes.js';
import { calibrate } from './calibration.js';
import { axis, drawChart, figure, grid, lineSeries, type Series } from './charts.js';
import { formatShare } from './format.js';
import { type Html, html } from './html.js';

/** Whether the probabilities can be believed. */
export function calibrationSection(outcomes: Outcomes | undefined): Html {
  return html`<section id="calibration"><h2>Whether its probabilities hold</h2>
${
  outcomes && outcomes.labels.length > 0
    ? charts(outcomes)
    : html`<p class="missing">The probabilities of the validation images were not at hand.</p>`
}</section>`;
}

function charts(outcomes: Outcomes): Html {
  const { bins, expectedError, confidence, accuracy } = calibrate(outcomes);
  const gap = confidence - accuracy;
  const verdict =
    Math.abs(gap) < 0.02 ? 'about as sure as it is right' : gap > 0 ? 'overconfident' : 'underconfident';
  const legend: Series[] = [
    { name: 'share right', color: '--val', points: [] },
    {
      name: 'as it should be',
      color: '--ink',
      dashed: true,
      points: [
        [0, 0],
        [1, 1],
      ],
    },
  ];
  const counts: Series[] = [{ name: 'images', color: '--train', points: [] }];
  return html`<p>On average the model gave its answer a probability of ${formatShare(confidence)} and was right on
${formatShare(accuracy)} of the images: it is ${verdict}. The expected calibration error is
<strong>${formatShare(expectedError)}</strong> (15 bins, predicted class). Bins with few images say little.</p>
<div class="charts">
${figure('Reliability', legend, reliability(bins, legend[1] as Series))}
${figure('How sure it was', counts, histogram(bins), html`A bar holds the images up to the probability below it.`)}
</div>`;
}

function reliability(bins: ReliabilityBin[], diagonal: Series): Html {
  return drawChart(
    {
      grid,
      xAxis: [binAxis(bins, 'probability of the predicted class'), axis({ min: 0, max: 1, show: false })],
      yAxis: axis({ min: 0, max: 1, axisLabel: { formatter: percentLabel } }),
      series: [
        bars(
          bins.map(({ accuracy }) => accuracy ?? 0),
          '--val',
        ),
        { ...lineSeries(diagonal), xAxisIndex: 1, symbolSize: 0, z: 3 },
      ],
    },
    'Reliability diagram: share of right answers by probability',
  );
}

function histogram(bins: ReliabilityBin[]): Html {
  return drawChart(
    {
      grid,
      xAxis: binAxis(bins, 'probability of the predicted class'),
      yAxis: axis({ min: 0, minInterval: 1 }),
      series: [
        {
          ...bars(
            bins.map(({ count }) => count),
            '--train',
          ),
          label: countLabels,
        },
      ],
    },
    'Histogram of the probabilities of the predicted classes',
  );
}

const countLabels = {
  show: true,
  position: 'top',
  color: 'var(--muted)',
  fontSize: 12,
  fontFamily: 'inherit',
  formatter: ({ value }: { value: number }) => (value > 0 ? String(value) : ''),
};

function binAxis(bins: ReliabilityBin[], name: string) {
  return axis({
    ...{ type: 'category', name, nameLocation: 'middle', nameGap: 26 },
    data: bins.map(({ high }) => `≤ ${high.toFixed(2)}`),
    axisLabel: { interval: 1, formatter: (text: string) => text.replace('≤ ', '') },
  });
}

function bars(data: number[], color: string) {
  return {
    type: 'bar',
    silent: true,
    data,
    barCategoryGap: '12%',
    itemStyle: { color: `var(${color})`, opacity: 0.75 },
  };
}

function percentLabel(value: number): string {
  return `${Math.round(value * 100)} %`;
}
