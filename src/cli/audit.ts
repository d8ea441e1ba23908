import type { Command } from 'commander';
import { findLabelIssues, type LabelIssue } from '../audit/label-issues.js';
import { findNearDuplicates, type NearDuplicate } from '../audit/near-duplicates.js';
import { type Normalisation, normalisation } from '../data/preprocessing.js';
import { loadModel } from '../model.js';
import { extractFeatures } from '../probe/features.js';
import { formatTable } from '../report/table.js';
import { modelFile, normalisationName, readData, requireOptions, sideOf, wholeNumber } from './arguments.js';

interface AuditFlags {
  model?: string;
  data: string;
  normalise?: Normalisation;
  imageSize?: number;
  top: number;
  seed: number;
  threads?: number;
  device: string;
  json?: boolean;
}

/** `torchgraft audit`. */
export function addAudit(program: Command): Command {
  return program
    .command('audit')
    .description('Images that look the same in two splits, and labels that may be wrong')
    .option('--data <dir>', 'folder or manifest')
    .option('--model <file>', 'TorchScript model, or run folder; without one no labels are looked at')
    .option(
      '--normalise <name>',
      "imagenet, signed or none (default: the model's own, or imagenet)",
      normalisationName,
    )
    .option('--image-size <px>', "side of the images (default: the model's own, or 224)", wholeNumber(1))
    .option('--top <n>', 'most lines of each list', wholeNumber(1), 20)
    .option('--seed <n>', 'of folds, and of the split where the data has none', wholeNumber(0), 0)
    .option('--threads <n>', 'default: all processors', wholeNumber(1))
    .option('--device <name>', 'auto, cpu or cuda:0', 'auto')
    .option('--json', 'one JSON object on standard output')
    .action(async (flags: AuditFlags, self: Command) => {
      requireOptions(self, ['data']);
      await audit(flags);
    });
}

async function audit(flags: AuditFlags): Promise<void> {
  const data = await readData(flags.data, flags.seed);
  const threads = flags.threads ? { threads: flags.threads } : {};
  const duplicates = await findNearDuplicates(data, threads);
  const labels = flags.model === undefined ? undefined : await labelIssues(flags.model, data, flags);
  if (flags.json) {
    process.stdout.write(`${JSON.stringify({ ...duplicates, labels: labels ?? null })}\n`);
    return;
  }
  const lines = [
    duplicates.text,
    ...duplicates.skipped.map(({ path, reason }) => `skipped ${path}: ${reason}`),
    ...(duplicates.pairs.length > 0 ? ['', pairTable(duplicates.pairs.slice(0, flags.top))] : []),
    '',
    ...(labels ? labelLines(labels, flags.top) : ['No labels were looked at: that takes `--model`.']),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

async function labelIssues(
  file: string,
  data: Parameters<typeof extractFeatures>[1],
  { device, seed, imageSize, normalise, threads }: AuditFlags,
): Promise<LabelIssue[]> {
  await using model = await loadModel(modelFile(file), { device });
  const features = await extractFeatures(model, data, {
    preprocessing: {
      ...(imageSize ? sideOf(imageSize) : {}),
      ...(normalise ? normalisation(normalise) : {}),
    },
    ...(threads ? { threads } : {}),
    unreadable: 'skip',
  });
  return findLabelIssues(features, { seed });
}

function pairTable(pairs: readonly NearDuplicate[]): string {
  return formatTable(
    ['split', 'image', 'split', 'image', 'likeness'].map((title) => ({ title, align: 'left' as const })),
    pairs.map(({ first, second, likeness }) => [
      ...[first.split, first.path, second.split, second.path],
      likeness.toFixed(3),
    ]),
  );
}

function labelLines(issues: readonly LabelIssue[], top: number): string[] {
  if (issues.length === 0) return ['No label of a training image is confidently contradicted.'];
  const rows = issues
    .slice(0, top)
    .map(({ path, given, suggested, probability }) => [
      path,
      `${given} (${probability.given.toFixed(2)})`,
      `${suggested} (${probability.suggested.toFixed(2)})`,
    ]);
  const columns = ['image', 'label', 'looks like'].map((title) => ({ title, align: 'left' as const }));
  return [
    `${issues.length} training image${issues.length === 1 ? '' : 's'} may have a wrong label, or be hard; look at each.`,
    '',
    formatTable(columns, rows),
  ];
}
