import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import type { ModelCard } from '../card.js';
import { type Classifier, loadClassifier } from '../classifier.js';
import type { DatasetSummary, ImageDataset, SplitName } from '../data/dataset.js';
import { taskOf } from '../data/task.js';
import type { TorchgraftError } from '../errors.js';
import { classificationInterval } from '../metrics/intervals.js';
import { reportSlices, reportTargetSlices } from '../outcome-slices.js';
import { calibrationTable, confusionTable, figuresTable, perClassTable } from '../report/metrics-tables.js';
import { sliceTables } from '../report/slice-tables.js';
import { figuresText, taskFigures, taskTable } from '../report/task-tables.js';
import { visible } from '../report/visible.js';
import { type TestTimeAugmentation, testTimeNames } from '../test-time.js';
import { modelFile, readData, requireOptions, wholeNumber } from './arguments.js';
import { percent } from './lines.js';
import { print, printJson, say } from './output.js';
import { addReading, loadingOf, type ReadingFlags, readingOf, skippedLines } from './reading-flags.js';
import { addSlices, type SliceFlags, sliceRulesOf } from './slices.js';

interface EvalFlags extends SliceFlags, ReadingFlags {
  data: string;
  split?: SplitName;
  batchSize: number;
  seed: number;
  tta?: TestTimeAugmentation;
}

/** `torchgraft eval`. */
export function define(command: Command): Command {
  command
    .argument('<run>', 'run folder, or model file')
    .option('--data <dir>', 'folder or manifest')
    .addOption(
      new Option(
        '--split <name>',
        'default: val, or where it has no images test; all where there are no splits',
      ).choices(['train', 'val', 'test']),
    );
  addSlices(command)
    .option('--batch-size <n>', 'images per batch', wholeNumber(1), 32)
    .option('--seed <n>', 'of the split that is made where the data has none', wholeNumber(0), 0)
    .addOption(
      new Option('--tta <views>', 'average the probabilities of several views').choices(testTimeNames),
    );
  return addReading(command).action(async (run: string, flags: EvalFlags, self: Command) => {
    requireOptions(self, ['data']);
    const { batchSize } = flags;
    await using classifier = await loadClassifier(modelFile(run), loadingOf(flags));
    const data = await readMeasured(flags, classifier.card);
    for (const warning of data.warnings) say(visible(`note   ${warning}`));
    if (taskOf(classifier.card) !== 'single-label') {
      await evaluateTargets(classifier, data, flags);
      return;
    }
    const { split, metrics, scores, predictions, slices, skipped } = await classifier.evaluate(data, {
      ...(flags.split ? { split: flags.split } : {}),
      batchSize,
      ...(flags.tta ? { tta: flags.tta } : {}),
      unreadable: readingOf(flags).unreadable,
    });
    const intervals = {
      accuracy: classificationInterval('accuracy', scores),
      macroF1: classificationInterval('macroF1', scores),
    };
    const bySlice = reportSlices(scores, slices, classifier.classes);
    if (flags.json) {
      const tta = flags.tta ?? null;
      const result = { split, tta, metrics, intervals, slices: bySlice, predictions, skipped };
      printJson(result);
      return;
    }
    const lines = [
      `${split}${flags.tta ? ` (${flags.tta})` : ''}: ${metrics.count} images, loss ${metrics.loss.toFixed(4)}, accuracy ${percent(metrics.accuracy)}, ` +
        `macro F1 ${metrics.macro.f1.toFixed(4)}; 95 % intervals, for other images like these`,
      ...skippedLines(skipped),
      '',
      figuresTable(metrics, intervals),
      '',
      calibrationTable(metrics),
      '',
      perClassTable(metrics),
      '',
      confusionTable(metrics),
      ...bySlice.flatMap((report) => ['', sliceTables(report)]),
    ];
    print(lines.join('\n'));
  });
}

/**
 * The images to measure on: all that are given. Where they are those that the model was trained on and had no splits, they are
 * split as they were then, so that what it has learned from is not among those measured.
 */
async function readMeasured(flags: EvalFlags, card: ModelCard): Promise<ImageDataset> {
  const { unreadable } = readingOf(flags);
  const read = (more: Parameters<typeof readData>[3], seed = flags.seed) =>
    readData(flags.data, seed, sliceRulesOf(flags), { unreadable, ...more });
  const data = await read({ purpose: 'evaluation' });
  const { split } = flags;
  if (split !== undefined) {
    if (split === 'test' || data.splits[split].length > 0) return data;
    // Of a data set without one it is split off, as in training; what has splits keeps them.
    return read({}).catch((error: TorchgraftError) => {
      if (error.code !== 'DATA_INVALID') throw error;
      return data;
    });
  }
  const trained = (card.provenance.data ?? {}) as Partial<DatasetSummary>;
  if (typeof trained.validation !== 'object' || trained.validation === null) return data;
  const { share, seed } = trained.validation;
  const again = await read({ validation: share }, seed).catch(() => undefined);
  if (again && again.summary.fingerprint === trained.fingerprint) {
    again.warnings.push(
      'The model was trained on these images: measured on are those that it did not learn from.',
    );
    return again;
  }
  if (trained.source !== undefined && resolve(trained.source) === resolve(flags.data)) {
    data.warnings.push(
      'The model was trained on images from there, which have changed since: it may have learned from some of these.',
    );
  }
  return data;
}

/** Of a multi-label model, or a regression. */
async function evaluateTargets(classifier: Classifier, data: ImageDataset, flags: EvalFlags): Promise<void> {
  const { batchSize, tta } = flags;
  const evaluation = await classifier.evaluateTargets(data, {
    ...{ batchSize, unreadable: readingOf(flags).unreadable },
    ...(flags.split ? { split: flags.split } : {}),
    ...(tta ? { tta } : {}),
  });
  const { classes } = classifier;
  const { split, metrics, predictions, skipped } = evaluation;
  const slices = reportTargetSlices(evaluation, evaluation.slices, classes);
  if (flags.json) {
    printJson({ split, classes, metrics, slices, predictions, skipped });
    return;
  }
  const figures = figuresText(taskFigures(metrics));
  const lines = [
    `${split}: ${metrics.count} images, loss ${metrics.loss.toFixed(4)}, ${figures}`,
    ...skippedLines(skipped),
    '',
    taskTable(metrics),
    ...slices.flatMap((report) => ['', sliceTables(report)]),
  ];
  print(lines.join('\n'));
}
