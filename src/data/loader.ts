import { z } from 'zod';
import { throwIfAborted } from '../errors.js';
import { checkOptions } from '../options.js';
import type { Sample } from './dataset.js';
import { decodeImage } from './decode.js';
import { type Gate, openGate } from './gate.js';
import { viewSide } from './geometry.js';
import { preprocessingSchema } from './preprocessing.js';
import { permutation } from './random.js';

/** A batch of decoded images, n of them, each h x w pixels. */
export interface ImageBatch {
  /** RGB bytes, [n, h, w, 3]. */
  data: Uint8Array;
  shape: [number, number, number, number];
  /** Class indices [n]. */
  labels: Int32Array;
  /** Positions of the samples in the list the loader was given [n]. */
  indices: Int32Array;
  /** Width and height of the original images in pixels, after EXIF orientation [n, 2]. */
  sizes: Int32Array;
  paths: string[];
}

/** An image that was left out, and why. */
export interface SkippedImage {
  path: string;
  reason: string;
}

const loaderOptions = z.strictObject({
  preprocessing: preprocessingSchema,
  view: z.enum(['eval', 'canvas']),
  batchSize: z.int().min(1),
  shuffle: z.boolean().default(false),
  seed: z.int().min(0).default(0),
  epoch: z.int().min(0).max(0xffffffff).default(0),
  threads: z.int().min(1).default(2),
  prefetch: z.int().min(1).default(2),
  firstBatch: z.int().min(0).default(0),
  unreadable: z.enum(['fail', 'skip']).default('fail'),
  signal: z.instanceof(AbortSignal).optional(),
});

export type BatchLoaderOptions = z.input<typeof loaderOptions>;

/** Typed arrays for one batch, used again and again. */
type Slot = Omit<ImageBatch, 'shape' | 'paths'>;

interface DecodedBatch {
  slot: Slot;
  count: number;
  /** By row of the slot. */
  failures: Map<number, Error>;
}

/**
 * One pass over a list of samples, as batches that are decoded ahead of the consumer.
 *
 * Options: `preprocessing` and `view` say what is made of an image; `batchSize`; `shuffle` (default false) orders by a
 * permutation that depends on `seed` (0), `epoch` (0) and the number of samples only; `threads` (2) images are decoded
 * at a time, of which libuv runs as many as its pool has (4 unless UV_THREADPOOL_SIZE says more); `prefetch` (2)
 * batches are decoded ahead; `firstBatch` (0) leaves out the batches before it, to go on with a pass; `unreadable` (`fail`) is `skip` to leave bad images out and list them in `skipped`;
 * `signal` stops it with `ABORTED`. The last batch may be smaller, and a batch without any readable image is not given.
 *
 * A batch's arrays are lent: they are written again once the batch after the next one is asked for. So the consumer
 * may hold one batch while it asks for the next. Memory is that of `prefetch` + 2 batches, whatever the data set.
 *
 * @throws TorchgraftError `IMAGE_UNREADABLE` or `FILE_NOT_FOUND` with the path, `ABORTED`
 */
export class BatchLoader implements AsyncIterable<ImageBatch> {
  /** Images left out so far, in order. */
  readonly skipped: SkippedImage[] = [];
  readonly #samples: readonly Sample[];
  readonly #options: z.output<typeof loaderOptions>;

  constructor(samples: readonly Sample[], options: BatchLoaderOptions) {
    this.#samples = samples;
    this.#options = checkOptions(loaderOptions, options, 'BatchLoader');
  }

  /** Number of batches of a whole pass. */
  get length(): number {
    return Math.ceil(this.#samples.length / this.#options.batchSize);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ImageBatch, void, void> {
    const { batchSize, prefetch, firstBatch, threads, signal } = this.#options;
    this.skipped.length = 0;
    throwIfAborted(signal);
    const order = this.#order();
    const gate = openGate(threads);
    const stop = new AbortController();
    const onAbort = () => stop.abort();
    signal?.addEventListener('abort', onAbort, { once: true });
    const slots: Slot[] = [];
    const decoding: Promise<DecodedBatch>[] = [];
    const begin = (number: number) => {
      if (number >= this.length) return;
      const at = number % (prefetch + 2);
      slots[at] ??= this.#makeSlot();
      const rows = order.subarray(number * batchSize, (number + 1) * batchSize);
      decoding.push(this.#decode(rows, slots[at], gate, stop.signal));
    };
    try {
      for (let ahead = 0; ahead < prefetch; ahead++) begin(firstBatch + ahead);
      for (let number = firstBatch; number < this.length; number++) {
        const decoded = await (decoding[0] as Promise<DecodedBatch>);
        decoding.shift();
        throwIfAborted(signal);
        begin(number + prefetch);
        const batch = this.#finish(decoded);
        if (batch.paths.length > 0) yield batch;
      }
    } finally {
      // Whoever left early, by break, error or abort: what is being decoded ends before the arrays are let go.
      stop.abort();
      signal?.removeEventListener('abort', onAbort);
      await Promise.all(decoding);
    }
  }

  #order(): Int32Array {
    const { shuffle, seed, epoch } = this.#options;
    const count = this.#samples.length;
    return shuffle
      ? permutation(count, seed, epoch)
      : Int32Array.from({ length: count }, (_, index) => index);
  }

  #makeSlot(): Slot {
    const n = Math.min(this.#options.batchSize, this.#samples.length);
    return {
      data: new Uint8Array(n * this.#imageBytes()),
      labels: new Int32Array(n),
      indices: new Int32Array(n),
      sizes: new Int32Array(n * 2),
    };
  }

  #imageBytes(): number {
    return viewSide(this.#options.preprocessing, this.#options.view) ** 2 * 3;
  }

  /** Never rejects: failures are kept with their rows, so that which one is told does not depend on timing. */
  async #decode(rows: Int32Array, slot: Slot, gate: Gate, stop: AbortSignal): Promise<DecodedBatch> {
    const { preprocessing, view } = this.#options;
    const failures = new Map<number, Error>();
    const decodeRow = async (index: number, row: number) => {
      if (stop.aborted) return;
      const { path, label } = this.#samples[index] as Sample;
      slot.indices[row] = index;
      slot.labels[row] = label;
      try {
        const size = await decodeImage(path, preprocessing, view, slot.data, row * this.#imageBytes());
        slot.sizes.set([size.width, size.height], row * 2);
      } catch (error) {
        failures.set(row, error as Error);
      }
    };
    await Promise.all(Array.from(rows, (index, row) => gate(() => decodeRow(index, row))));
    return { slot, count: rows.length, failures };
  }

  /** Throws the first failure, or moves the readable rows together. */
  #finish({ slot, count, failures }: DecodedBatch): ImageBatch {
    const bytes = this.#imageBytes();
    let n = 0;
    const paths: string[] = [];
    for (let row = 0; row < count; row++) {
      const { path } = this.#samples[slot.indices[row] as number] as Sample;
      const failure = failures.get(row);
      if (failure && this.#options.unreadable === 'fail') throw failure;
      if (failure) {
        this.skipped.push({ path, reason: failure.message });
        continue;
      }
      if (n < row) moveRow(slot, row, n, bytes);
      paths.push(path);
      n++;
    }
    const side = viewSide(this.#options.preprocessing, this.#options.view);
    return {
      data: slot.data.subarray(0, n * bytes),
      shape: [n, side, side, 3],
      labels: slot.labels.subarray(0, n),
      indices: slot.indices.subarray(0, n),
      sizes: slot.sizes.subarray(0, n * 2),
      paths,
    };
  }
}

function moveRow(slot: Slot, from: number, to: number, imageBytes: number): void {
  slot.data.copyWithin(to * imageBytes, from * imageBytes, (from + 1) * imageBytes);
  slot.labels.copyWithin(to, from, from + 1);
  slot.indices.copyWithin(to, from, from + 1);
  slot.sizes.copyWithin(to * 2, from * 2, (from + 1) * 2);
}
