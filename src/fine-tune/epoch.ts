import type { Sample } from '../data/dataset.js';
import type { DecodedImages } from '../data/decoded-images.js';
import { BatchLoader, type ImageBatch, type SkippedImage } from '../data/loader.js';
import type { Preprocessing } from '../data/preprocessing.js';
import { TorchgraftError, throwIfAborted } from '../errors.js';
import type { ClassificationMetrics } from '../metrics/classification.js';
import { ClassificationMeter } from '../metrics/meter.js';
import type { Model } from '../model.js';
import type { NativeBatch, NativePreprocess, StepResult } from '../native.js';
import { callNative } from '../native-call.js';
import type { BatchProgress } from './options.js';

/** How to read the images of a split. */
export interface Reading {
  preprocessing: Preprocessing;
  batchSize: number;
  threads: number;
  unreadable: 'fail' | 'skip';
  /** Keeps decoded images for later passes. */
  decoded?: DecodedImages;
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

export interface TrainEpoch {
  model: Model;
  samples: readonly Sample[];
  reading: Reading;
  epoch: number;
  seed: number;
  isAugmented: boolean;
  accumulate: number;
  /** Where a resumed epoch goes on. */
  from: TrainSums;
  /** Learning rate of each group for a batch of this epoch. */
  learningRates: (batch: number) => number[];
  signal: AbortSignal | undefined;
  onBatch: ((progress: BatchProgress) => void) | undefined;
  /** Called before ABORTED is thrown, when a checkpoint can be written: not within an accumulation. */
  onStopped: (sums: TrainSums) => Promise<void>;
}

/** One pass over the training images: decode, and a native step for each batch. */
export async function trainEpoch(run: TrainEpoch): Promise<{ sums: TrainSums; skipped: SkippedImage[] }> {
  const { model, samples, reading, epoch, seed, signal } = run;
  const sums = { ...run.from };
  const loader = new BatchLoader(samples, {
    ...reading,
    view: run.isAugmented ? 'canvas' : 'eval',
    shuffle: true,
    seed,
    epoch,
    firstBatch: sums.batches,
  });
  const before = run.from;
  const start = performance.now();
  for await (const batch of loader) {
    const learningRates = run.learningRates(sums.batches);
    const isLast = sums.batches + 1 === loader.length;
    const result = await step(model, toNative(batch, epoch, learningRates, isLast), sums.batches);
    sums.batches += 1;
    sums.loss += result.loss * result.count;
    sums.correct += result.correct;
    sums.count += result.count;
    sums.seconds = before.seconds + (performance.now() - start) / 1000;
    sums.waitedSeconds = before.waitedSeconds + loader.waitedSeconds;
    run.onBatch?.({
      phase: 'train',
      epoch,
      done: sums.count,
      total: samples.length,
      loss: sums.loss / sums.count,
    });
    if (signal?.aborted && (isLast || sums.batches % run.accumulate === 0)) {
      await run.onStopped(sums);
      throwIfAborted(signal);
    }
  }
  return { sums, skipped: [...loader.skipped] };
}

function toNative(batch: ImageBatch, epoch: number, learningRates: number[], flush: boolean): NativeBatch {
  return {
    inputs: [{ data: batch.data, shape: batch.shape, dtype: 'uint8' }],
    target: { data: batch.labels, shape: [batch.labels.length], dtype: 'int32' },
    indices: batch.indices,
    sizes: batch.sizes,
    epoch,
    learningRates,
    flush,
  };
}

async function step(model: Model, batch: NativeBatch, number: number): Promise<StepResult> {
  try {
    return await callNative(() => model.native.step(batch));
  } catch (error) {
    if (!(error instanceof TorchgraftError) || error.code !== 'LOSS_NOT_FINITE') throw error;
    const rate = Math.max(...(batch.learningRates ?? []));
    throw new TorchgraftError(
      'LOSS_NOT_FINITE',
      `${error.message} It happened at batch ${number + 1} of epoch ${batch.epoch}, with a learning rate of ` +
        `${rate.toPrecision(3)}. Try a learning rate ten times lower, or clipNorm: 1; if it happens at the first batch, ` +
        'check mean and std. That step was not taken, and the best weights so far are kept.',
      { cause: error },
    );
  }
}

export interface Evaluation {
  model: Model;
  samples: readonly Sample[];
  classes: readonly string[];
  reading: Reading;
  epoch?: number;
  /** Given when training is not configured. */
  preprocess?: NativePreprocess;
  signal?: AbortSignal | undefined;
  /** Called with each batch's paths and labels [n] and logits [n, classes]. */
  onLogits?: (batch: ImageBatch, logits: Float32Array) => void;
  onBatch?: ((progress: BatchProgress) => void) | undefined;
}

/** One pass over a split in eval mode, and its metrics. */
export async function evaluateSplit(
  run: Evaluation,
): Promise<{ metrics: ClassificationMetrics; skipped: SkippedImage[] }> {
  const { model, samples, classes, reading, preprocess, signal, epoch = 0 } = run;
  const meter = new ClassificationMeter({ classes });
  const loader = new BatchLoader(samples, { ...reading, view: 'eval', ...(signal ? { signal } : {}) });
  let done = 0;
  for await (const batch of loader) {
    const { inputs, target } = toNative(batch, epoch, [], false);
    const { loss, logits } = await callNative(() =>
      model.native.evaluate({ inputs, target, ...(preprocess ? { preprocess } : {}) }),
    );
    meter.add(logits.data as Float32Array, batch.labels, loss);
    run.onLogits?.(batch, logits.data as Float32Array);
    done += batch.labels.length;
    run.onBatch?.({ phase: 'validate', epoch, done, total: samples.length });
  }
  return { metrics: meter.metrics(), skipped: [...loader.skipped] };
}
