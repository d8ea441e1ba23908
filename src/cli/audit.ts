import type { Command } from 'commander';
import { findLabelIssues, type LabelIssues } from '../audit/label-issues.js';
import { findNearDuplicates, type NearDuplicate } from '../audit/near-duplicates.js';
import type { ImageDataset } from '../data/dataset.js';
import type { SkippedImage } from '../data/loader.js';
import { completePreprocessing } from '../data/preprocessing.js';
import type { AppendedFeatures } from '../head-options.js';
import { extractFeatures } from '../probe/features.js';
import { formatTable } from '../report/table.js';
import { modelFile, readData, requireOptions, wholeNumber } from './arguments.js';
import { appendHead, headLayer } from './graft-flags.js';
import { listenForInterrupt } from './interrupt.js';
import { loadWithHead } from './load-with-head.js';
import { print, printJson } from './output.js';
import {
  addPreprocessing,
  addReading,
  onceEach,
  type PreprocessingFlags,
  preprocessingOf,
  type ReadingFlags,
  readingOf,
  skippedLines,
} from './reading-flags.js';

interface AuditFlags extends PreprocessingFlags, ReadingFlags {
  model?: string;
  headLayer?: string;
  appendHead?: AppendedFeatures;
  data: string;
  top: number;
  seed: number;
}

/** `torchgraft audit`. */
export function define(command: Command): Command {
  command
    .option('--data <dir>', 'folder or manifest')
    .option('--model <file>', 'TorchScript model or run folder, to look for wrong labels with');
  addPreprocessing(command)
    .option(...headLayer)
    .addOption(appendHead())
    .option('--top <n>', 'longest list to print', wholeNumber(1), 20)
    .option(
      '--seed <n>',
      'of the folds, and of the split that is made where the data has none',
      wholeNumber(0),
      0,
    );
  return addReading(command).action(async (flags: AuditFlags, self: Command) => {
    requireOptions(self, ['data']);
    const { signal, stop } = listenForInterrupt({
      now: 'Stopping.',
      then: () => 'Nothing more was looked at.',
    });
    await audit(flags, signal).finally(stop);
  });
}

async function audit(flags: AuditFlags, signal: AbortSignal): Promise<void> {
  const data = await readData(flags.data, flags.seed, undefined, readingOf(flags));
  const found = await findNearDuplicates(data, { ...readingOf(flags), signal });
  const doubted = flags.model === undefined ? undefined : await doubtLabels(flags.model, data, flags, signal);
  const skipped = onceEach([...found.skipped, ...(doubted?.skipped ?? [])]);
  if (flags.json) {
    printJson({ ...found, labels: doubted?.labels ?? null, skipped });
    return;
  }
  const lines = [
    found.text,
    ...skippedLines(skipped),
    ...(found.pairs.length > 0 ? ['', pairTable(found.pairs.slice(0, flags.top))] : []),
    '',
    ...(doubted
      ? labelLines(doubted.labels, flags.top)
      : ['No labels were looked at: that takes `--model`.']),
  ];
  print(lines.join('\n'));
}

async function doubtLabels(
  file: string,
  data: ImageDataset,
  flags: AuditFlags,
  signal: AbortSignal,
): Promise<{ labels: LabelIssues; skipped: SkippedImage[] }> {
  const preprocessing = preprocessingOf(flags);
  const loading = { ...flags, imageSize: completePreprocessing(preprocessing).size };
  await using model = await loadWithHead(modelFile(file), data.classes, loading);
  const features = await extractFeatures(model, data, {
    ...(flags.headLayer ? { layer: flags.headLayer } : {}),
    preprocessing,
    ...readingOf(flags),
    signal,
  });
  const labels = await findLabelIssues(features, { seed: flags.seed, signal });
  return { labels, skipped: features.skipped };
}

function pairTable(pairs: readonly NearDuplicate[]): string {
  return formatTable(
    ['split', 'image', 'split', 'image', 'likeness', ''].map((title) => ({ title, align: 'left' as const })),
    pairs.map(({ first, second, likeness, mirrored }) => [
      ...[first.split, first.path, second.split, second.path],
      ...[likeness.toFixed(3), mirrored ? 'mirrored' : ''],
    ]),
  );
}

function labelLines({ issues, text }: LabelIssues, top: number): string[] {
  if (issues.length === 0) return [text];
  const rows = issues
    .slice(0, top)
    .map(({ path, given, suggested, probability }) => [
      path,
      `${given} (${probability.given.toFixed(2)})`,
      `${suggested} (${probability.suggested.toFixed(2)})`,
    ]);
  const columns = ['image', 'label', 'looks like'].map((title) => ({ title, align: 'left' as const }));
  return [text, '', formatTable(columns, rows)];
}
