import type { Command } from 'commander';
import type { CacheFile } from '../cache-files.js';
import {
  clearFeatures,
  type FeatureCacheFile,
  featureCacheFiles,
  featureCacheFolder,
  featureCacheLimit,
} from '../feature-cache.js';
import { clearPlans, mostPlans, planCacheFiles, planCacheFolder } from '../plan-cache.js';
import { formatTable } from '../report/table.js';
import { positiveNumber } from './arguments.js';
import { print, printJson } from './output.js';

interface CacheFlags {
  json?: boolean;
  olderThan?: number;
}

/** `torchgraft cache` and `torchgraft cache clear`. */
export function define(command: Command): Command {
  command
    .option('--json', 'one JSON object on standard output')
    .allowExcessArguments()
    .action(async ({ json }: CacheFlags, self: Command) => {
      const [unknown] = self.args;
      if (unknown !== undefined) self.error(`error: unknown command '${unknown}'\n(Did you mean clear?)`);
      const limitBytes = featureCacheLimit();
      const files = await featureCacheFiles();
      const folder = featureCacheFolder();
      const bytes = totalBytes(files);
      const kept = await planCacheFiles();
      const plans = {
        folder: planCacheFolder(),
        bytes: totalBytes(kept),
        count: kept.length,
        limit: mostPlans,
      };
      if (json) printJson({ folder, bytes, limitBytes, files, plans });
      else print(`${renderFeatures(files, limitBytes)}\n${renderPlans(kept)}`);
    });
  command
    .command('clear')
    .description('Remove cached features and plans; later runs make them again')
    .option('--older-than <days>', 'only what was last used more than this many days ago', positiveNumber)
    .option('--json', 'one JSON object on standard output')
    .action(async (_: CacheFlags, self: Command) => {
      const { olderThan = 0, json } = self.optsWithGlobals<CacheFlags>();
      const features = await clearFeatures({ olderThanDays: olderThan });
      const plans = await clearPlans({ olderThanDays: olderThan });
      const removed = [...features, ...plans];
      const bytes = totalBytes(removed);
      const text = `removed ${count(features, 'file')} of features and ${count(plans, 'plan')}, ${formatBytes(bytes)}`;
      if (json) printJson({ removed: removed.map(({ path }) => path), bytes });
      else print(text);
    });
  return command;
}

function renderFeatures(files: FeatureCacheFile[], limitBytes: number): string {
  const used = `${formatBytes(totalBytes(files))} of at most ${formatBytes(limitBytes)}`;
  const totals = `${count(files, 'file')} of features, ${used}, in ${featureCacheFolder()}`;
  if (files.length === 0) return totals;
  const table = formatTable(
    [
      { title: 'model' },
      { title: 'features of' },
      { title: 'rows', align: 'right' },
      { title: 'size', align: 'right' },
      { title: 'last used' },
    ],
    files.map(({ identity, rows, bytes, lastUsed }) => [
      identity?.model ?? '(damaged)',
      (identity?.crossings ?? []).map(({ layer, shape, dtype }) => `${layer}[${shape}] ${dtype}`).join(', '),
      rows === null ? '' : rows.toLocaleString('en-US'),
      formatBytes(bytes),
      formatAge(Date.now() - lastUsed.getTime()),
    ]),
  );
  return `${table}\n\n${totals}`;
}

function renderPlans(plans: CacheFile[]): string {
  const most = mostPlans.toLocaleString('en-US');
  return `${count(plans, 'plan')} of at most ${most}, ${formatBytes(totalBytes(plans))}, in ${planCacheFolder()}`;
}

function totalBytes(files: CacheFile[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}

function count({ length }: CacheFile[], noun: string): string {
  return length === 1 ? `1 ${noun}` : `${length.toLocaleString('en-US')} ${noun}s`;
}

/** `37.6 MiB`; whole bytes below 1 KiB. */
export function formatBytes(bytes: number): string {
  const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = bytes < 1024 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  return `${(bytes / 1024 ** power).toFixed(power > 0 ? 1 : 0)} ${units[power]}`;
}

/** `3 days ago`, in the largest unit of which there is one. */
function formatAge(milliseconds: number): string {
  const minutes = Math.floor(milliseconds / 60_000);
  if (minutes < 1) return 'just now';
  const [amount, unit] =
    minutes < 60
      ? ([minutes, 'minute'] as const)
      : minutes < 1440
        ? ([Math.floor(minutes / 60), 'hour'] as const)
        : ([Math.floor(minutes / 1440), 'day'] as const);
  return new Intl.RelativeTimeFormat('en').format(-amount, unit);
}
