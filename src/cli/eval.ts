import { type Command, Option } from 'commander';
import { type Classifier, loadClassifier } from '../classifier.js';
import type { ImageDataset, SplitName } from '../data/dataset.js';
import { taskOf } from '../data/task.js';
import { type BootstrapInterval, bootstrapInterval } from '../metrics/bootstrap.js';
import type { ClassificationScores } from '../metrics/scores.js';
import { classificationStatistic } from '../metrics/statistics.js';
import { reportSlices, reportTargetSlices } from '../outcome-slices.js';
import { calibrationTable, confusionTable, figuresTable, perClassTable } from '../report/metrics-tables.js';
import { sliceTables } from '../report/slice-tables.js';
import { figuresText, taskFigures, taskTable } from '../report/task-tables.js';
import { type TestTimeAugmentation, testTimeNames } from '../test-time.js';
import { modelFile, readData, requireOptions, wholeNumber } from './arguments.js';
import { percent } from './lines.js';
import { print, printJson } from './output.js';
import { addReading, loadingOf, type ReadingFlags, readingOf, skippedLines } from './reading-flags.js';
import { addSlices, type SliceFlags, sliceRulesOf } from './slices.js';

interface EvalFlags extends SliceFlags, ReadingFlags {
  data: string;
  split: SplitName;
  batchSize: number;
  seed: number;
  tta?: TestTimeAugmentation;
}

/** `torchgraft eval`. */
export function define(command: Command): Command {
  command
    .argument('<run>', 'run folder, or model file')
    .option('--data <dir>', 'folder or manifest')
    .addOption(new Option('--split <name>').choices(['train', 'val', 'test']).default('val'));
  addSlices(command)
    .option('--batch-size <n>', 'images a batch', wholeNumber(1), 32)
    .option('--seed <n>', 'of the split, where the data has none', wholeNumber(0), 0)
    .addOption(
      new Option('--tta <views>', 'average the probabilities of several views').choices(testTimeNames),
    );
  return addReading(command).action(async (run: string, flags: EvalFlags, self: Command) => {
    requireOptions(self, ['data']);
    const { split, batchSize } = flags;
    const data = await readData(flags.data, flags.seed, sliceRulesOf(flags));
    await using classifier = await loadClassifier(modelFile(run), loadingOf(flags));
    if (taskOf(classifier.card) !== 'single-label') {
      await evaluateTargets(classifier, data, flags);
      return;
    }
    const { metrics, scores, predictions, slices, skipped } = await classifier.evaluate(data, {
      split,
      batchSize,
      ...(flags.tta ? { tta: flags.tta } : {}),
      unreadable: readingOf(flags).unreadable,
    });
    const intervals = { accuracy: intervalOf('accuracy', scores), macroF1: intervalOf('macroF1', scores) };
    const bySlice = reportSlices(scores, slices, classifier.classes);
    if (flags.json) {
      const tta = flags.tta ?? null;
      const result = { split, tta, metrics, intervals, slices: bySlice, predictions, skipped };
      printJson(result);
      return;
    }
    const lines = [
      `${split}${flags.tta ? ` (${flags.tta})` : ''}: ${metrics.count} images, loss ${metrics.loss.toFixed(4)}, accuracy ${percent(metrics.accuracy)}, ` +
        `macro F1 ${metrics.macro.f1.toFixed(4)}; intervals: 95 %, bootstrap of these images within their classes`,
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

/** Of a multi-label model, or a regression. */
async function evaluateTargets(classifier: Classifier, data: ImageDataset, flags: EvalFlags): Promise<void> {
  const { split, batchSize, tta } = flags;
  const evaluation = await classifier.evaluateTargets(data, {
    ...{ split, batchSize, unreadable: readingOf(flags).unreadable },
    ...(tta ? { tta } : {}),
  });
  const { classes } = classifier;
  const { metrics, predictions, skipped } = evaluation;
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

/** Drawn within the classes: a rare class that some resamples lack would count there as wrong in the macro average. */
function intervalOf(metric: 'accuracy' | 'macroF1', scores: ClassificationScores): BootstrapInterval {
  const { labels } = scores;
  return bootstrapInterval(labels.length, classificationStatistic(metric, scores), { strata: labels });
}
