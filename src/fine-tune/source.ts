import type { Sample } from '../data/dataset.js';
import type { BatchLoader, SkippedImage } from '../data/loader.js';
import { targetsOf } from '../data/task.js';
import { isTorchgraftError } from '../errors.js';
import type { NativeBatch, NativeRows, Tensor } from '../native.js';
import { callNative } from '../native-call.js';
import type { Weighing } from './group-training.js';

/** A batch's inputs: pixels, or rows of features that were kept. */
export type SourceTensors = Pick<NativeBatch, 'inputs' | 'indices' | 'sizes'> | Pick<NativeRows, 'rows'>;

/** One batch as the addon takes it, without what the loop adds. */
export interface SourceBatch {
  tensors: SourceTensors;
  /** Computes kept features anew, when they can no longer be read. */
  renew?: () => Promise<SourceTensors>;
  /** Class indices [n]; -1 throughout where there are targets. */
  labels: Int32Array;
  /** Of a multi-label set or a regression, [n, classes]. */
  targets?: Float32Array | undefined;
  /** Positions in the split's samples [n]. */
  indices: Int32Array;
  /** How training weighs its samples; undefined: all alike. */
  weighing?: Weighing;
  paths: string[];
  /** Its place in the whole pass, from 0; of joined ones the last's. */
  number: number;
}

/** One pass over a split: batches of pixels, or of features that were kept. */
export interface BatchSource extends AsyncIterable<SourceBatch> {
  /** Batches of a whole pass. */
  readonly length: number;
  /** Images left out so far because they cannot be decoded. */
  readonly skipped: SkippedImage[];
  /** Seconds that the consumer waited for a batch. */
  readonly waitedSeconds: number;
}

/** A pass over decoded images. */
export function imageSource(loader: BatchLoader): BatchSource {
  return {
    length: loader.length,
    skipped: loader.skipped,
    get waitedSeconds() {
      return loader.waitedSeconds;
    },
    async *[Symbol.asyncIterator]() {
      for await (const { data, shape, labels, indices, draws, sizes, paths, number } of loader) {
        yield {
          tensors: { inputs: [{ data, shape, dtype: 'uint8' }], indices: draws, sizes },
          ...{ labels, indices, paths, number },
        };
      }
    },
  };
}

/** The same pass, each batch with how its samples are weighed. */
export function weighed(
  source: BatchSource,
  weigh: ((batch: SourceBatch) => Weighing) | undefined,
): BatchSource {
  return weigh ? mapped(source, (batch) => ({ ...batch, weighing: weigh(batch) })) : source;
}

/** The same pass over these samples, each batch with its targets where samples have some. */
export function targeted(source: BatchSource, samples: readonly Sample[]): BatchSource {
  if (!samples[0]?.targets) return source;
  return mapped(source, (batch) => ({ ...batch, targets: targetsOf(samples, batch.indices) }));
}

function mapped(source: BatchSource, map: (batch: SourceBatch) => SourceBatch): BatchSource {
  return {
    length: source.length,
    skipped: source.skipped,
    get waitedSeconds() {
      return source.waitedSeconds;
    },
    async *[Symbol.asyncIterator]() {
      for await (const batch of source) yield map(batch);
    },
  };
}

/** What the addon learns from: class indices [n], or targets [n, classes]. */
export function targetOf({ labels, targets }: Pick<SourceBatch, 'labels' | 'targets'>): Tensor {
  if (!targets) return { data: labels, shape: [labels.length], dtype: 'int32' };
  return { data: targets, shape: [labels.length, targets.length / labels.length], dtype: 'float32' };
}

/** Calls the addon with a batch; features that turn out damaged are computed anew, once. */
export async function withBatch<T>(
  { tensors, renew }: SourceBatch,
  call: (tensors: SourceTensors) => Promise<T>,
): Promise<T> {
  try {
    return await callNative(() => call(tensors));
  } catch (error) {
    if (!renew || !isTorchgraftError(error, 'FEATURES_DAMAGED')) throw error;
  }
  const renewed = await renew();
  return callNative(() => call(renewed));
}
