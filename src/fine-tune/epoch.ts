import type { SkippedImage } from '../data/loader.js';
import type { Preprocessing } from '../data/preprocessing.js';
import type { Task } from '../data/task.js';
import { isTorchgraftError, TorchgraftError, throwIfAborted } from '../errors.js';
import { checkOutputs } from '../labelled-model.js';
import type { ClassificationMetrics } from '../metrics/classification.js';
import { ClassificationMeter } from '../metrics/meter.js';
import type { ClassificationScores } from '../metrics/scores.js';
import { TargetMeter, type Validation } from '../metrics/tasks.js';
import type { Model } from '../model.js';
import type { EvaluateResult, NativeOptimizer, NativePreprocess, StepResult, Tensor } from '../native.js';
import type { BatchProgress } from './options.js';
import { type BatchSource, type SourceBatch, targetOf, withBatch } from './source.js';

/** How to read the images of a split. */
export interface Reading {
  preprocessing: Preprocessing;
  batchSize: number;
  threads: number;
  unreadable: 'fail' | 'skip';
}

/** Sums over the batches of a training epoch so far. */
export interface TrainSums {
  /** Batches done. */
  batches: number;
  loss: number;
  correct: number;
  count: number;
  seconds: number;
  /** Seconds of these in which training waited for images to be decoded. */
  waitedSeconds: number;
}

export const noSums: TrainSums = { batches: 0, loss: 0, correct: 0, count: 0, seconds: 0, waitedSeconds: 0 };

/** What a pass says of itself after a batch; the run adds the stage. */
export type Progress = Omit<BatchProgress, 'stage' | 'epochs'>;

/** The next batch waits for what it returns. */
export type OnBatch = (progress: Progress) => unknown;

export interface TrainEpoch {
  model: Model;
  /** The pass, beginning behind the batches of `from`. */
  source: BatchSource;
  /** Images of a whole pass. */
  total: number;
  epoch: number;
  optimizer: NativeOptimizer['kind'];
  accumulate: number;
  /** Where a resumed epoch goes on. */
  from: TrainSums;
  /** Learning rate of each group for a batch of this epoch. */
  learningRates: (batch: number) => number[];
  signal: AbortSignal | undefined;
  onBatch: OnBatch | undefined;
  /** Called before ABORTED is thrown, when a checkpoint can be written: not within an accumulation. */
  onStopped: (sums: TrainSums) => Promise<void>;
}

/** One pass over the training images: a native step for each batch. */
export async function trainEpoch(run: TrainEpoch): Promise<{ sums: TrainSums; skipped: SkippedImage[] }> {
  const { model, source, epoch, signal } = run;
  const sums = { ...run.from };
  const before = run.from;
  const start = performance.now();
  for await (const batch of source) {
    const learningRates = run.learningRates(batch.number);
    const isLast = batch.number + 1 === source.length;
    const rest = { epoch, learningRates, flush: isLast };
    const result = await step(model, batch, rest, run.optimizer);
    // Batches that skipping has left nothing of are done with, too.
    sums.batches = batch.number + 1;
    sums.loss += result.loss * result.count;
    sums.correct += result.correct;
    sums.count += result.count;
    sums.seconds = before.seconds + (performance.now() - start) / 1000;
    sums.waitedSeconds = before.waitedSeconds + source.waitedSeconds;
    await run.onBatch?.({
      phase: 'train',
      epoch,
      done: sums.count,
      total: run.total,
      seconds: sums.seconds,
      loss: sums.loss / sums.count,
    });
    if (signal?.aborted && (isLast || sums.batches % run.accumulate === 0)) {
      await run.onStopped(sums);
      throwIfAborted(signal);
    }
  }
  return { sums, skipped: [...source.skipped] };
}

const smallerSteps =
  'Try a learning rate ten times lower, or clipNorm: 1; if it happens at the first batch, check mean and std.';

async function step(
  model: Model,
  batch: SourceBatch,
  rest: { epoch: number; learningRates: number[]; flush: boolean },
  optimizer: NativeOptimizer['kind'],
): Promise<StepResult> {
  try {
    return await withBatch(batch, (tensors) =>
      model.native.step({ ...tensors, target: targetOf(batch), ...batch.weighing, ...rest }),
    );
  } catch (error) {
    if (!isTorchgraftError(error, 'LOSS_NOT_FINITE')) throw error;
    const rate = Math.max(...rest.learningRates);
    throw new TorchgraftError(
      'LOSS_NOT_FINITE',
      `${error.message} It happened at batch ${batch.number + 1} of epoch ${rest.epoch}, with a learning rate of ` +
        `${rate.toPrecision(3)}. ${optimizer === 'lbfgs' ? 'Check mean and std.' : smallerSteps} That step was not ` +
        'taken, and the best weights so far are kept.',
      { cause: error },
    );
  }
}

/** What validation found: the weights of an epoch give no finite outputs. */
export function divergence(cause: unknown, epoch: number, batches: number, rate: number): TorchgraftError {
  return new TorchgraftError(
    'LOSS_NOT_FINITE',
    `After batch ${batches} of epoch ${epoch}, with a learning rate of ${rate.toPrecision(3)}, the model gives no ` +
      'finite outputs any more. Try a learning rate ten times lower, or clipNorm: 1. The best weights so far are kept.',
    { cause },
  );
}

export interface Evaluation {
  model: Model;
  source: BatchSource;
  /** Images of a whole pass. */
  total: number;
  classes: readonly string[];
  /** What is asked about an image; default one class. */
  task?: Task | undefined;
  epoch?: number;
  /** Given when training is not configured. */
  preprocess?: NativePreprocess;
  /** Views of each image whose probabilities are averaged; the source gives `crops` rows an image. */
  views?: { crops: number; mirrored: boolean };
  /** Called with each batch's paths and labels [n] and logits [n, classes]. */
  onLogits?: (batch: SourceBatch, logits: Float32Array) => void;
  onBatch?: OnBatch | undefined;
}

/** One pass over a split of images of one class each, in eval mode: its metrics and what they are made of. */
export async function evaluateSplit(
  run: Omit<Evaluation, 'task'>,
): Promise<{ metrics: ClassificationMetrics; scores: ClassificationScores; skipped: SkippedImage[] }> {
  const meter = new ClassificationMeter({ classes: run.classes });
  await pass(run, (batch, logits, loss) => meter.add(logits, batch.labels, loss));
  return { metrics: meter.metrics(), scores: meter.scores(), skipped: [...run.source.skipped] };
}

/** One pass over a split of any task, and its metrics; those of one class an image as `evaluateSplit` has them. */
export async function evaluateTask(
  run: Evaluation,
): Promise<{ metrics: Validation; skipped: SkippedImage[] }> {
  const { task = 'single-label', source, classes, preprocess } = run;
  if (task === 'single-label') return evaluateSplit(run);
  const meter = new TargetMeter(task, classes);
  await pass(run, ({ targets }, outputs, loss) =>
    meter.add(outputs, targets as Float32Array, preprocess ? undefined : loss),
  );
  return { metrics: meter.metrics(), skipped: [...source.skipped] };
}

async function pass(
  run: Evaluation,
  add: (batch: SourceBatch, logits: Float32Array, loss: number) => void,
): Promise<void> {
  const { source, epoch = 0 } = run;
  const start = performance.now();
  let done = 0;
  for await (const batch of source) {
    const { loss, logits } = await evaluateBatch(run, batch);
    add(batch, logits.data as Float32Array, loss);
    run.onLogits?.(batch, logits.data as Float32Array);
    done += batch.labels.length;
    const seconds = (performance.now() - start) / 1000;
    await run.onBatch?.({ phase: 'validate', epoch, done, total: run.total, seconds });
  }
  const [first] = source.skipped;
  if (done > 0 || !first) return;
  throw new TorchgraftError(
    'DATA_INVALID',
    `None of the ${run.total} images to measure on can be read, so there are no metrics. The first: ${first.reason}`,
  );
}

async function evaluateBatch(run: Evaluation, batch: SourceBatch): Promise<EvaluateResult> {
  const { model, preprocess, views, classes } = run;
  const evaluate = async (target: { target?: Tensor }) => {
    const result = await withBatch(batch, (tensors) =>
      model.native.evaluate({
        ...{ ...tensors, ...views, ...target },
        ...(preprocess ? { preprocess } : {}),
      }),
    );
    checkOutputs(result.logits, batch.labels.length, classes, model.origin.name);
    return result;
  };
  try {
    // Training that is not configured has cross entropy, which is no loss for targets.
    return await evaluate(preprocess && batch.targets ? {} : { target: targetOf(batch) });
  } catch (error) {
    // Labels that the outputs have no place for: what is wrong is the card.
    if (preprocess && (error as { code?: unknown }).code === 'SHAPE_MISMATCH') await evaluate({});
    throw error;
  }
}
