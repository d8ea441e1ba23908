import { z } from 'zod';
import { throwIfAborted } from '../errors.js';
import { checkOptions } from '../options.js';
import { optionOf, signalOption } from '../value-kinds.js';
import { batchBounds, batchCount, isJoined, largestBatch } from './batches.js';
import type { Sample } from './dataset.js';
import { decodeImage, type ImageSize, type ImageSource, isUnreadable } from './decode.js';
import { DecodedImages, type DecodedStore } from './decoded-images.js';
import { type Gate, openGate } from './gate.js';
import { cornerViews, type View, viewSide } from './geometry.js';
import { readImageFile } from './image-file.js';
import { preprocessingSchema } from './preprocessing.js';
import { drawNumbers, orderOf } from './sampler.js';

/** A batch of decoded images, n of them, each h x w pixels. */
export interface ImageBatch {
  /** RGB bytes, [n, h, w, 3]; with option `corners` [5 n, h, w, 3]. */
  data: Uint8Array;
  shape: [number, number, number, number];
  /** Class indices [n]. */
  labels: Int32Array;
  /** Positions of the samples in the list the loader was given [n]. */
  indices: Int32Array;
  /** What augmentation is seeded by [n]: the index, or another number where a sample comes again in the pass. */
  draws: Int32Array;
  /** Width and height of the original images in pixels, after EXIF orientation [n, 2]. */
  sizes: Int32Array;
  /** SHA-256 of the files' bytes [n, 32]; with option `digests`. */
  digests?: Uint8Array;
  paths: string[];
  /** Its place in the whole pass, from 0; of joined ones the last's. */
  number: number;
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
  least: z.int().min(1).default(1),
  corners: z.boolean().default(false),
  shuffle: z.boolean().default(false),
  balanced: z.boolean().default(false),
  seed: z.int().min(0).default(0),
  epoch: z.int().min(0).max(0xffffffff).default(0),
  threads: z.int().min(1).default(2),
  prefetch: z.int().min(1).default(2),
  firstBatch: z.int().min(0).default(0),
  unreadable: z.enum(['fail', 'skip']).default('fail'),
  decoded: optionOf<DecodedImages>(DecodedImages.is, 'DecodedImages').optional(),
  digests: z.boolean().default(false),
  signal: signalOption,
});

export type BatchLoaderOptions = z.input<typeof loaderOptions>;

/** Of a SHA-256. */
const digestBytes = 32;

/** Typed arrays for one batch, used again and again. */
type Slot = Omit<ImageBatch, 'shape' | 'paths' | 'number'>;

interface DecodedBatch {
  slot: Slot;
  count: number;
  /** By row of the slot. */
  failures: Map<number, Error>;
}

/** The readable images of one batch, or of several that were joined. */
interface ReadBatch {
  slot: Slot;
  paths: string[];
  /** Of the last. */
  number: number;
}

/**
 * One pass over a list of samples, as batches that are decoded ahead of the consumer.
 *
 * Options: `preprocessing` and `view` say what is made of an image, and `corners` (false) puts the four corner windows behind
 * each; `batchSize`; `least` (1): a last batch of fewer images, and what skipping leaves of a batch, joins the one before it;
 * `shuffle` (default false) orders by a permutation that depends on `seed` (0), `epoch` (0) and the number of
 * samples only; `balanced` (false) draws as many with replacement instead, classes equally often, by the labels too; `threads`
 * (2) images are decoded
 * at a time, of which libuv runs as many as its pool has (4 unless UV_THREADPOOL_SIZE says more); `prefetch` (2)
 * batches are decoded ahead; `firstBatch` (0) leaves out the batches before it, to go on with a pass; `unreadable`
 * (`fail`) is `skip` to leave bad images out and list them in `skipped`; `decoded` keeps decoded images for later
 * passes, and takes from it what is there; `digests` (false) hashes the files, which are still read once; `signal` stops
 * it with `ABORTED`. The last batch may be smaller, and a batch without any readable image is not given.
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
  readonly #store: DecodedStore | undefined;
  /** Windows of an image, one after the other. */
  readonly #views: readonly View[];
  #decodes = 0;
  #decodeSeconds = 0;
  #waitedSeconds = 0;

  constructor(samples: readonly Sample[], options: BatchLoaderOptions) {
    this.#samples = samples;
    this.#options = checkOptions(loaderOptions, options, 'BatchLoader');
    const { decoded, preprocessing, view, corners } = this.#options;
    this.#views = corners ? [view, ...cornerViews] : [view];
    this.#store = decoded?.store(samples, preprocessing, view);
  }

  /** Images read and decoded in this pass; the others came out of `decoded`. */
  get decodes(): number {
    return this.#decodes;
  }

  /** What reading and decoding took in this pass, in seconds, summed over images of which several run at a time. */
  get decodeSeconds(): number {
    return this.#decodeSeconds;
  }

  /** How long the consumer has waited for batches in this pass, in seconds. */
  get waitedSeconds(): number {
    return this.#waitedSeconds;
  }

  /** Number of batches of a whole pass. */
  get length(): number {
    return batchCount(this.#samples.length, this.#options);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ImageBatch, void, void> {
    const { prefetch, firstBatch, threads, signal } = this.#options;
    this.skipped.length = 0;
    this.#decodes = this.#decodeSeconds = this.#waitedSeconds = 0;
    throwIfAborted(signal);
    const { shuffle, balanced, seed, epoch } = this.#options;
    const kind = balanced ? 'balanced' : shuffle ? 'shuffle' : 'own';
    const order = orderOf(this.#samples, kind, seed, epoch);
    const draws = drawNumbers(order);
    const gate = openGate(threads);
    const stop = new AbortController();
    const onAbort = () => stop.abort();
    signal?.addEventListener('abort', onAbort, { once: true });
    const free: Slot[] = [];
    const lent: Slot[] = [];
    const decoding: Promise<DecodedBatch>[] = [];
    const begin = (number: number) => {
      if (number >= this.length) return;
      const slot = free.pop() ?? this.#makeSlot();
      const bounds = batchBounds(number, order.length, this.#options);
      const rows = order.subarray(...bounds);
      slot.draws.set(draws.subarray(...bounds));
      decoding.push(this.#decode(rows, slot, gate, stop.signal));
    };
    const lend = (batch: ReadBatch): ImageBatch => {
      lent.push(batch.slot);
      return this.#lend(batch);
    };
    // Where a batch may yet be joined, it waits until the next one is known.
    let held: ReadBatch | undefined;
    try {
      for (let ahead = 0; ahead < prefetch; ahead++) begin(firstBatch + ahead);
      for (let number = firstBatch; number < this.length; number++) {
        const asked = performance.now();
        const decoded = await (decoding[0] as Promise<DecodedBatch>);
        this.#waitedSeconds += (performance.now() - asked) / 1000;
        decoding.splice(0, 1);
        throwIfAborted(signal);
        // Who asks for a batch may hold the one before it.
        free.push(...lent.splice(0, lent.length - 1));
        begin(number + prefetch);
        const batch = this.#finish(decoded, number);
        if (held && isJoined(held.paths.length, batch.paths.length, this.#options)) {
          this.#join(held, batch);
          free.push(batch.slot);
          continue;
        }
        if (held) yield lend(held);
        held = batch;
        if (this.#isJoining()) continue;
        held = undefined;
        if (batch.paths.length > 0) yield lend(batch);
        else free.push(batch.slot);
      }
      if (held && held.paths.length > 0) yield lend(held);
    } finally {
      // Whoever left early, by break, error or abort: what is being decoded ends before the arrays are let go.
      stop.abort();
      signal?.removeEventListener('abort', onAbort);
      await Promise.all(decoding);
    }
  }

  /** Skipping leaves a batch fewer images than it should have, maybe. */
  #isJoining(): boolean {
    return this.#options.unreadable === 'skip' && this.#options.least > 1;
  }

  #makeSlot(n = largestBatch(this.#samples.length, this.#options)): Slot {
    return {
      data: new Uint8Array(n * this.#imageBytes()),
      labels: new Int32Array(n),
      indices: new Int32Array(n),
      draws: new Int32Array(n),
      sizes: new Int32Array(n * 2),
      ...(this.#options.digests && { digests: new Uint8Array(n * digestBytes) }),
    };
  }

  #windowBytes(): number {
    return viewSide(this.#options.preprocessing, this.#options.view) ** 2 * 3;
  }

  #imageBytes(): number {
    return this.#windowBytes() * this.#views.length;
  }

  /** Never rejects: failures are kept with their rows, so that which one is told does not depend on timing. */
  async #decode(rows: Int32Array, slot: Slot, gate: Gate, stop: AbortSignal): Promise<DecodedBatch> {
    const failures = new Map<number, Error>();
    const fillRow = async (index: number, row: number) => {
      if (stop.aborted) return;
      slot.indices[row] = index;
      slot.labels[row] = (this.#samples[index] as Sample).label;
      try {
        const size = this.#copyRow(index, row, slot) ?? (await this.#decodeRow(index, row, slot));
        slot.sizes.set([size.width, size.height], row * 2);
      } catch (error) {
        failures.set(row, error as Error);
      }
    };
    await Promise.all(Array.from(rows, (index, row) => gate(() => fillRow(index, row))));
    return { slot, count: rows.length, failures };
  }

  /** Fills a row with an image of an earlier pass, if it was kept. */
  #copyRow(index: number, row: number, slot: Slot): ImageSize | undefined {
    if (slot.digests) {
      const digest = this.#store?.digest(index);
      if (!digest) return undefined;
      slot.digests.set(digest, row * digestBytes);
    }
    return this.#store?.copy(index, slot.data, row * this.#imageBytes());
  }

  async #decodeRow(index: number, row: number, slot: Slot): Promise<ImageSize> {
    const { path } = this.#samples[index] as Sample;
    const bytes = this.#imageBytes();
    const start = performance.now();
    this.#decodes++;
    try {
      const file = slot.digests && (await readImageFile(path));
      const size = await this.#decodeWindows(file?.bytes ?? path, path, slot.data, row * bytes);
      if (file) slot.digests?.set(file.digest, row * digestBytes);
      this.#store?.keep(index, slot.data.subarray(row * bytes, (row + 1) * bytes), size, file?.digest);
      return size;
    } finally {
      this.#decodeSeconds += (performance.now() - start) / 1000;
    }
  }

  async #decodeWindows(
    source: ImageSource,
    path: string,
    target: Uint8Array,
    offset: number,
  ): Promise<ImageSize> {
    const { preprocessing } = this.#options;
    const window = this.#windowBytes();
    const decode = (view: View, at: number) =>
      decodeImage(source, preprocessing, view, target, offset + at * window, path);
    const [first, ...rest] = this.#views;
    const size = await decode(first as View, 0);
    for (const [at, view] of rest.entries()) await decode(view, at + 1);
    return size;
  }

  /** Throws the first failure, or moves the readable rows together. */
  #finish({ slot, count, failures }: DecodedBatch, number: number): ReadBatch {
    const paths: string[] = [];
    for (let row = 0; row < count; row++) {
      const { path } = this.#samples[slot.indices[row] as number] as Sample;
      const failure = failures.get(row);
      if (failure && (this.#options.unreadable === 'fail' || !isUnreadable(failure))) throw failure;
      if (failure) {
        this.skipped.push({ path, reason: failure.message });
        continue;
      }
      if (paths.length < row) copyRow(slot, row, slot, paths.length, this.#imageBytes());
      paths.push(path);
    }
    return { slot, paths, number };
  }

  /** What is left of a batch comes behind the one before it. */
  #join(held: ReadBatch, { slot, paths, number }: ReadBatch): void {
    const bytes = this.#imageBytes();
    const rows = held.paths.length + paths.length;
    if (rows > held.slot.labels.length) {
      const larger = this.#makeSlot(rows);
      for (const row of held.paths.keys()) copyRow(held.slot, row, larger, row, bytes);
      held.slot = larger;
    }
    for (const row of paths.keys()) copyRow(slot, row, held.slot, held.paths.length + row, bytes);
    held.paths.push(...paths);
    held.number = number;
  }

  #lend({ slot, paths, number }: ReadBatch): ImageBatch {
    const n = paths.length;
    const side = viewSide(this.#options.preprocessing, this.#options.view);
    return {
      data: slot.data.subarray(0, n * this.#imageBytes()),
      shape: [n * this.#views.length, side, side, 3],
      labels: slot.labels.subarray(0, n),
      indices: slot.indices.subarray(0, n),
      draws: slot.draws.subarray(0, n),
      sizes: slot.sizes.subarray(0, n * 2),
      ...(slot.digests && { digests: slot.digests.subarray(0, n * digestBytes) }),
      ...{ paths, number },
    };
  }
}

function copyRow(from: Slot, row: number, to: Slot, at: number, imageBytes: number): void {
  const part = (array: Uint8Array, size: number) => array.subarray(row * size, (row + 1) * size);
  to.data.set(part(from.data, imageBytes), at * imageBytes);
  to.labels[at] = from.labels[row] as number;
  to.indices[at] = from.indices[row] as number;
  to.draws[at] = from.draws[row] as number;
  to.sizes.set(from.sizes.subarray(row * 2, row * 2 + 2), at * 2);
  if (from.digests) to.digests?.set(part(from.digests, digestBytes), at * digestBytes);
}
