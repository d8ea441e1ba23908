import type { ModelCard } from './card.js';
import { type ImageDataset, type Sample, type SplitName, splitNames } from './data/dataset.js';
import { BatchLoader, type BatchLoaderOptions, type SkippedImage } from './data/loader.js';
import { nativePreprocess } from './data/preprocessing.js';
import { taskOf } from './data/task.js';
import { invalidValue, TorchgraftError } from './errors.js';
import { evaluateTask } from './fine-tune/epoch.js';
import { imageSource, targeted } from './fine-tune/source.js';
import type { LabelledModel } from './labelled-model.js';
import type { TargetScores } from './metrics/target-slices.js';
import type { MultiLabelValidation, RegressionValidation } from './metrics/tasks.js';
import { listNames } from './name-list.js';
import { valuesBySlice } from './outcome-slices.js';

/** What a multi-label model, or a regression, says of one image of a data set. */
export interface EvaluatedTargets {
  path: string;
  /** In the order of the model's classes: 1 or 0, or the numbers. */
  truth: number[];
  /** Likewise: probabilities, or the numbers. */
  predicted: number[];
}

/**
 * What a multi-label model, or a regression, says of a split of a data set; its `outputs` are also for `tuneThreshold` and
 * `multiLabelMetrics`.
 */
export interface TargetEvaluation extends TargetScores {
  /** What was measured on. */
  split: SplitName;
  metrics: MultiLabelValidation | RegressionValidation;
  /** One for each image, in the data set's order. */
  predictions: EvaluatedTargets[];
  /** The value of each image in each slice of the data, [n] by name, for `targetSliceMetrics`; empty where it has none. */
  slices: Record<string, string[]>;
  /** Images that could not be decoded and were left out. */
  skipped: SkippedImage[];
}

/**
 * The samples of a split, or of the first of `val`, `test` and `train` that has some.
 *
 * @throws INVALID_VALUE for a split without images
 */
export function samplesOf(
  { splits }: ImageDataset,
  asked: SplitName | undefined,
  where: string,
): { split: SplitName; samples: Sample[] } {
  const held = (['val', 'test', 'train'] as const).filter((name) => splits[name] && splits[name].length > 0);
  const split = asked ?? held[0] ?? 'val';
  const samples = splits[split];
  if (samples && samples.length > 0) return { split, samples };
  const has = splitNames
    .filter((name) => held.includes(name))
    .map((name) => `${name} (${splits[name]?.length})`);
  throw invalidValue(
    `${where}: the data has no split \`${split}\`. It has ${has.join(', ') || 'no images'}.`,
  );
}

/**
 * Samples with their targets in the model's order. Labels that the data does not have are 0.
 *
 * @throws DATA_INVALID for another task, what the model does not know, and numbers that are missing
 */
export function retarget(card: ModelCard, data: ImageDataset, samples: readonly Sample[]): Sample[] {
  const [own, given] = [taskOf(card), taskOf(data)];
  if (own !== given || own === 'single-label') {
    throw invalid(
      `the model is ${own} and the data ${given}. ` +
        (own === 'single-label'
          ? 'Use `evaluate` with data of one class an image.'
          : `Give a manifest with ${own === 'regression' ? 'the column `target`' : 'the column `labels`'}.`),
    );
  }
  const isMissing = (name: string) => !data.classes.includes(name);
  const unknown = data.classes.filter((name) => !card.classes.includes(name));
  const missing = own === 'regression' ? card.classes.filter(isMissing) : [];
  if (unknown.length > 0 || missing.length > 0) {
    const what =
      unknown.length > 0 ? `does not know ${listNames(unknown)}` : `gives ${listNames(missing)} too`;
    throw invalid(`the model ${what}. It has ${listNames(card.classes)}.`);
  }
  const places = card.classes.map((name) => data.classes.indexOf(name));
  return samples.map((sample) => ({
    ...sample,
    targets: places.map((at) => (at < 0 ? 0 : (sample.targets?.[at] as number))),
  }));
}

/** Without the split's name. @param samples of `retarget` */
export async function evaluateTargets(
  { model, card }: LabelledModel,
  samples: readonly Sample[],
  {
    batchSize,
    threads,
    unreadable,
    signal,
  }: Pick<BatchLoaderOptions, 'batchSize' | 'threads' | 'unreadable' | 'signal'>,
): Promise<Omit<TargetEvaluation, 'split'>> {
  const { classes, preprocessing } = card;
  const task = taskOf(card);
  const loader = new BatchLoader(samples, {
    ...{ preprocessing, view: 'eval', batchSize, threads, unreadable },
    ...(signal ? { signal } : {}),
  });
  const outputs: number[] = [];
  const readable: Sample[] = [];
  const predictions: EvaluatedTargets[] = [];
  const read = (output: number) =>
    task === 'multi-label' ? Math.fround(1 / (1 + Math.exp(-output))) : output;
  const { metrics, skipped } = await evaluateTask({
    ...{ model, classes, task, total: samples.length },
    source: targeted(imageSource(loader), samples),
    preprocess: nativePreprocess(preprocessing),
    onLogits: ({ paths, indices }, logits) => {
      for (const output of logits) outputs.push(output);
      for (const index of indices) readable.push(samples[index] as Sample);
      for (const [row, index] of indices.entries()) {
        predictions.push({
          path: paths[row] as string,
          truth: [...((samples[index] as Sample).targets as readonly number[])],
          predicted: Array.from(logits.subarray(row * classes.length, (row + 1) * classes.length), read),
        });
      }
    },
  });
  return {
    task: task as TargetEvaluation['task'],
    metrics: metrics as TargetEvaluation['metrics'],
    outputs: Float32Array.from(outputs),
    targets: Float32Array.from(readable.flatMap(({ targets }) => targets as readonly number[])),
    predictions,
    slices: valuesBySlice(readable, 'evaluateTargets'),
    skipped,
  };
}

function invalid(message: string): TorchgraftError {
  return new TorchgraftError('DATA_INVALID', `evaluateTargets: ${message}`);
}
