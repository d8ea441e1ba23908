import type { MetricInterval } from '../metrics/intervals.js';
import { listNames } from '../name-list.js';
import type { RankedModel, Ranking } from '../probe/rank.js';
import { formatTable } from './table.js';

const right = (title: string) => ({ title, align: 'right' as const });

/**
 * A ranking as a table, best model first; below it what shares the first place, and a line for each model that failed.
 */
export function rankingTable({ models, failed, by }: Ranking): string {
  const metric = by === 'accuracy' ? 'accuracy' : 'macroF1';
  const table = formatTable(
    [
      ...[{ title: 'place' }, { title: 'model' }],
      ...['LogME', 'H-score', 'accuracy', 'macro F1'].map(right),
      { title: `${nameOf(metric)}, 95 %` },
      ...['features', 'parameters', 'MB', 'ms/image'].map(right),
    ],
    models.map((model) => [
      String(model.place),
      model.name,
      ...[model.logME, model.hScore, model.accuracy, model.macroF1].map((value) => value.toFixed(4)),
      intervalText(model.intervals[metric]),
      model.features.toLocaleString('en-US'),
      model.parameters.toLocaleString('en-US'),
      model.megabytes.toFixed(1),
      model.latencyMs.toFixed(1),
    ]),
  );
  const tie = tieOf(models, nameOf(metric));
  const reasons = failed.map(({ file, code, reason }) => `failed ${file} [${code}]: ${reason}`);
  const parts = [models.length > 0 ? [table] : [], tie ? [tie] : [], reasons];
  return parts
    .filter((lines) => lines.length > 0)
    .map((lines) => lines.join('\n'))
    .join('\n\n');
}

/** Said where several models share the first place. */
function tieOf(models: readonly RankedModel[], metric: string): string | undefined {
  const first = models.filter(({ place }) => place === 1);
  if (first.length < 2) return undefined;
  const fastest = first.reduce((a, b) => (b.latencyMs < a.latencyMs ? b : a));
  return (
    `These validation images cannot tell ${first.length} models apart by the probe's ${metric}: ${listNames(first.map(({ name }) => name))}. ` +
    `The fastest of them is ${fastest.name}.`
  );
}

function nameOf(metric: 'accuracy' | 'macroF1'): string {
  return metric === 'accuracy' ? 'accuracy' : 'macro F1';
}

function intervalText({ low, high }: MetricInterval): string {
  return `${low?.toFixed(3) ?? '-'} to ${high?.toFixed(3) ?? '-'}`;
}
