import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type Classifier, loadClassifier } from '../classifier.js';
import type { ImageDataset, SplitName } from '../data/dataset.js';
import type { SkippedImage } from '../data/loader.js';
import { type NamedSliceReport, reportSlices } from '../outcome-slices.js';
import { retrainLastLayer } from '../probe/last-layer.js';
import { sliceTables } from '../report/slice-tables.js';
import { modelFile, readData, requireOptions, wholeNumber } from './arguments.js';
import { headLayer } from './graft-flags.js';
import { checkOutFile, type OutFlags, overwriteOption } from './out.js';
import { print, printJson } from './output.js';
import {
  addReading,
  loadingOf,
  onceEach,
  type ReadingFlags,
  readingOf,
  skippedLines,
} from './reading-flags.js';
import { addSlices, type SliceFlags, sliceRulesOf } from './slices.js';

interface DebiasFlags extends SliceFlags, ReadingFlags, OutFlags {
  data: string;
  groups: string;
  headLayer?: string;
  out?: string;
  from: 'val' | 'train';
  draws: number;
  strength?: number[];
  seed: number;
}

/** `torchgraft debias`. */
export function define(command: Command): Command {
  command
    .argument('<run>', 'run folder, or model file')
    .option('--data <dir>', 'folder or manifest')
    .option('--groups <slice>', 'the slice that makes groups with each class; the groups are balanced')
    .option('--out <file>', 'file for the new model (default: debiased.pt beside the old one)');
  addSlices(command)
    .addOption(new Option('--from <split>', 'images to learn from').choices(['val', 'train']).default('val'))
    .option(...headLayer)
    .option('--draws <n>', 'number of balanced subsets; their solutions are averaged', wholeNumber(1), 10)
    .option(
      '--strength <C,...>',
      'inverse strengths of the penalty to choose from (default: 1e-4 to 10)',
      numbers,
    )
    .option(
      '--seed <n>',
      'of the subsets, and of the split that is made where the data has none',
      wholeNumber(0),
      0,
    );
  return addReading(command.option(...overwriteOption)).action(
    async (run: string, flags: DebiasFlags, self: Command) => {
      requireOptions(self, ['data', 'groups']);
      await debias(run, flags);
    },
  );
}

async function debias(run: string, flags: DebiasFlags): Promise<void> {
  const { groups, from, draws, seed } = flags;
  const reading = readingOf(flags);
  const source = modelFile(run);
  const file = flags.out ?? join(dirname(source), 'debiased.pt');
  await checkOutFile(file, flags);
  const data = await readData(flags.data, seed, sliceRulesOf(flags), readingOf(flags));
  await using classifier = await loadClassifier(source, loadingOf(flags));
  const split = judgeOf(data, from);
  const judge = () => split && judged(classifier, data, split, { groups, unreadable: reading.unreadable });
  const before = await judge();
  const { skipped: left, ...result } = await retrainLastLayer(classifier.model, data, {
    ...{ groups, from, draws, seed, ...reading },
    ...(flags.strength ? { C: flags.strength } : {}),
    ...(flags.headLayer ? { layer: flags.headLayer } : {}),
  });
  await mkdir(dirname(file), { recursive: true });
  await classifier.model.save(file);
  const after = await judge();
  const skipped = onceEach([...left, ...(before?.skipped ?? [])]);
  if (flags.json) {
    const reports = { before: before?.report, after: after?.report };
    printJson({ model: file, split: split ?? null, ...result, ...reports, skipped });
    return;
  }
  const lines = [
    `learnt from ${from}: ${result.groups.length} groups of ${result.perGroup} images, ${draws} draws, C ${result.C}`,
    ...skippedLines(skipped),
    ...(before?.report && after?.report
      ? [
          `\nbefore, on ${split}: ${sliceTables(before.report)}`,
          `\nafter, on ${split}: ${sliceTables(after.report)}`,
        ]
      : [
          'note   The data has no split that it did not learn from: nothing says how good it is. Add test images.',
        ]),
    `saved  ${file}`,
  ];
  print(lines.join('\n'));
}

/** A split that was not learnt from; what was trained on is none. */
function judgeOf({ splits }: ImageDataset, from: 'val' | 'train'): SplitName | undefined {
  if (splits.test) return 'test';
  return from === 'train' ? 'val' : undefined;
}

async function judged(
  classifier: Classifier,
  data: ImageDataset,
  split: SplitName,
  { groups, unreadable }: { groups: string; unreadable: 'fail' | 'skip' },
): Promise<{ report: NamedSliceReport | undefined; skipped: SkippedImage[] }> {
  const { scores, slices, skipped } = await classifier.evaluate(data, { split, unreadable });
  const values = slices[groups];
  const report = values && reportSlices(scores, { [groups]: values }, classifier.classes)[0];
  return { report, skipped };
}

function numbers(text: string): number[] {
  const values = text.split(',').map(Number);
  if (values.some((value) => !(value > 0) || !Number.isFinite(value))) {
    throw new InvalidArgumentError('Expected numbers above 0, for example 0.01,0.1,1.');
  }
  return values;
}
