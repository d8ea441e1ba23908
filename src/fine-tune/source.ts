import type { BatchLoader, SkippedImage } from '../data/loader.js';
import { TorchgraftError } from '../errors.js';
import type { NativeBatch, NativeRows } from '../native.js';
import { callNative } from '../native-call.js';
import type { Weighing } from './group-training.js';

/** A batch's inputs: pixels, or rows of features that were kept. */
export type SourceTensors = Pick<NativeBatch, 'inputs' | 'indices' | 'sizes'> | Pick<NativeRows, 'rows'>;

/** One batch as the addon takes it, without what the loop adds. */
export interface SourceBatch {
  tensors: SourceTensors;
  /** Computes kept features anew, when they can no longer be read. */
  renew?: () => Promise<SourceTensors>;
  /** Class indices [n]. */
  labels: Int32Array;
  /** Positions in the split's samples [n]. */
  indices: Int32Array;
  /** How training weighs its samples; undefined: all alike. */
  weighing?: Weighing;
  paths: string[];
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
      for await (const { data, shape, labels, indices, draws, sizes, paths } of loader) {
        yield {
          tensors: { inputs: [{ data, shape, dtype: 'uint8' }], indices: draws, sizes },
          ...{ labels, indices, paths },
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
  if (!weigh) return source;
  return {
    length: source.length,
    skipped: source.skipped,
    get waitedSeconds() {
      return source.waitedSeconds;
    },
    async *[Symbol.asyncIterator]() {
      for await (const batch of source) yield { ...batch, weighing: weigh(batch) };
    },
  };
}

/** Calls the addon with a batch; features that turn out damaged are computed anew, once. */
export async function withBatch<T>(
  { tensors, renew }: SourceBatch,
  call: (tensors: SourceTensors) => Promise<T>,
): Promise<T> {
  try {
    return await callNative(() => call(tensors));
  } catch (error) {
    if (!renew || !(error instanceof TorchgraftError) || error.code !== 'FEATURES_DAMAGED') throw error;
  }
  const renewed = await renew();
  return callNative(() => call(renewed));
}
