import type { Ranking } from '../probe/rank.js';
import { formatTable } from './table.js';

/** A ranking as a table, best model first, and below it a line for each model that failed. */
export function rankingTable({ models, failed }: Ranking): string {
  const numbers = ['LogME', 'H-score', 'accuracy', 'macro F1', 'features', 'parameters', 'MB', 'ms/image'];
  const table = formatTable(
    [{ title: '' }, { title: 'model' }, ...numbers.map((title) => ({ title, align: 'right' as const }))],
    models.map((model, index) => [
      String(index + 1),
      model.name,
      ...[model.logME, model.hScore, model.accuracy, model.macroF1].map((value) => value.toFixed(4)),
      model.features.toLocaleString('en-US'),
      model.parameters.toLocaleString('en-US'),
      model.megabytes.toFixed(1),
      model.latencyMs.toFixed(1),
    ]),
  );
  const reasons = failed.map(({ file, code, reason }) => `failed ${file} [${code}]: ${reason}`);
  return [...(models.length > 0 ? [table] : []), ...(reasons.length > 0 ? ['', ...reasons] : [])].join('\n');
}
