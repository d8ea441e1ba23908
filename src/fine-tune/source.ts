import type { BatchLoader, SkippedImage } from '../data/loader.js';
import type { NativeBatch, NativeRows } from '../native.js';

/** One batch as the addon takes it, without what the loop adds. */
export interface SourceBatch {
  tensors: Pick<NativeBatch, 'inputs' | 'indices' | 'sizes'> | Pick<NativeRows, 'rows'>;
  /** Class indices [n]. */
  labels: Int32Array;
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
      for await (const { data, shape, labels, indices, sizes, paths } of loader) {
        yield { tensors: { inputs: [{ data, shape, dtype: 'uint8' }], indices, sizes }, labels, paths };
      }
    },
  };
}
