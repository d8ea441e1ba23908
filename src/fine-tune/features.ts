import { freemem } from 'node:os';
import { type Batching, batchCount, leastTrained, readableBatches } from '../data/batches.js';
import type { Sample } from '../data/dataset.js';
import { isUnreadable } from '../data/decode.js';
import type { View } from '../data/geometry.js';
import { readImageFile } from '../data/image-file.js';
import { mapInOrder } from '../data/in-order.js';
import { BatchLoader, type ImageBatch, type SkippedImage } from '../data/loader.js';
import { orderOf } from '../data/sampler.js';
import { TorchgraftError, throwIfAborted } from '../errors.js';
import {
  evictFeatures,
  type FeatureIdentity,
  featureCacheLimit,
  featureCachePath,
  featureIdentityText,
  featureLabel,
  viewKey,
} from '../feature-cache.js';
import type { Model } from '../model.js';
import type { NativeAugment, NativeFeatures, Plan } from '../native.js';
import { callNative } from '../native-call.js';
import type { Stopwatch } from '../stopwatch.js';
import { isUint8Array } from '../value-kinds.js';
import type { Reading } from './epoch.js';
import type { BatchSource, SourceBatch, SourceTensors } from './source.js';

/**
 * Where features are kept: in a file of the user cache that later runs share, in this process's memory, or nowhere beyond the
 * pass that needs them. What is learned is the same.
 */
export type CachePlace = 'disk' | 'memory' | 'none';

/** Rows kept in memory at most: a quarter of what is free, up to 2 GiB. */
const memoryBudget = () => Math.min(2 * 2 ** 30, Math.floor(freemem() / 4));
/** Augmented views are the same in every run: their random numbers depend on the image's content and the view alone. */
const viewSeed = 0;

/** What became of the features, for reports. */
export interface FeatureReport {
  /** Images times views whose features were computed in this run, and found from an earlier one. */
  computed: number;
  found: number;
  /** Bytes of one image's features. */
  rowBytes: number;
  /** The file; undefined in memory. */
  file?: string;
}

export interface FeatureSettings {
  model: Model;
  plan: Plan;
  reading: Reading;
  augment: NativeAugment | null;
  /** Fixed views of a training image, the unaugmented one first. */
  views: number;
  place: CachePlace;
  signal: AbortSignal | undefined;
  watch?: Stopwatch | undefined;
}

/** One split's samples: the hash of each file, and row numbers by view. */
interface Known {
  digests: (Uint8Array | Error)[];
  /** Row of sample i in view v at [v][i]; -1 not asked for yet. */
  rows: Int32Array[];
  failures: Map<number, SkippedImage>;
}

/** Bytes of one image's crossing values. */
export function featureRowBytes(plan: Plan): number {
  return plan.crossings.reduce((sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0);
}

/**
 * The frozen prefix's outputs, computed once for each image and view, keyed by content: file bytes, preprocessing, view,
 * and the prefix's graph and weights. In memory up to a budget and in a file of the user cache, which later epochs, runs
 * and strategies with the same prefix share.
 */
export class CachedFeatures {
  readonly #settings: FeatureSettings;
  readonly #known = new Map<readonly Sample[], Known>();
  readonly #request: NativeFeatures;
  readonly report: FeatureReport;

  private constructor(settings: FeatureSettings, report: FeatureReport, request: NativeFeatures) {
    this.#settings = settings;
    this.report = report;
    this.#request = request;
  }

  /**
   * @param images samples times views that will be asked for
   * @returns undefined and why, where the features cannot be kept
   */
  static async open(
    settings: FeatureSettings,
    images: number,
  ): Promise<{ features?: CachedFeatures; notice?: string }> {
    const { model, plan, reading, place } = settings;
    if (!plan.cacheable) return {};
    const rowBytes = featureRowBytes(plan);
    const needed = rowBytes * images;
    const limit = place === 'disk' ? featureCacheLimit() : 0;
    const memory = memoryBudget();
    if (needed > Math.max(limit, memory)) {
      return {
        notice:
          `Features of ${images} images would take ${gigabytes(needed)}, more than the cache may: they are computed ` +
          'in each epoch. Fewer `views`, or a larger TORCHGRAFT_CACHE_BYTES, lets them be kept.',
      };
    }
    const { size, resize, crop, mean, std, interpolation, pixelRange } = reading.preprocessing;
    const identity: FeatureIdentity = {
      model: model.origin.name,
      prefix: plan.key,
      preprocessing: { size, resize, crop, mean, std, interpolation, pixelRange },
      crossings: plan.crossings.map((crossing) => ({ layer: plan.prefixLayers.at(-1) ?? '', ...crossing })),
    };
    const path = place === 'disk' ? featureCachePath(identity) : '';
    const request: NativeFeatures = {
      path,
      identity: featureIdentityText(identity),
      label: featureLabel(identity),
      memoryBytes: memory,
      fileBytes: limit,
    };
    const opened = await callNative(() => model.native.openFeatures(request));
    // The file in use was touched just now, so the oldest others go first.
    if (path) await evictFeatures();
    const report = { computed: 0, found: 0, rowBytes, ...(path && !opened.problem ? { file: path } : {}) };
    return {
      features: new CachedFeatures(settings, report, request),
      ...(opened.problem ? { notice: opened.problem } : {}),
    };
  }

  /** One pass over training samples in the order of an epoch, each in the view that is its turn. */
  trainSource(
    samples: readonly Sample[],
    pass: { sampler: 'shuffle' | 'balanced'; seed: number; epoch: number; firstBatch: number },
  ): BatchSource {
    const { views } = this.#settings;
    const order = orderOf(samples, pass.sampler, pass.seed, pass.epoch);
    // Neighbours are in different views, so that an epoch has some of each.
    const viewOf = (index: number) => (pass.epoch - 1 + index) % views;
    return this.#source(samples, order, viewOf, pass.firstBatch, {
      batchSize: this.#settings.reading.batchSize,
      least: leastTrained,
    });
  }

  /** One pass over samples in their own order, as an evaluation sees them. */
  evalSource(samples: readonly Sample[]): BatchSource {
    return this.#source(samples, orderOf(samples, 'own'), () => 0, 0, this.#settings.reading);
  }

  /** One pass whose only batch is all samples, as an evaluation sees them. */
  wholeSource(samples: readonly Sample[], firstBatch: number): BatchSource {
    return this.#source(samples, orderOf(samples, 'own'), () => 0, firstBatch, {
      batchSize: Math.max(1, samples.length),
    });
  }

  #source(
    samples: readonly Sample[],
    order: Int32Array,
    viewOf: (index: number) => number,
    firstBatch: number,
    batching: Batching,
  ): BatchSource {
    const skipped: SkippedImage[] = [];
    const progress = { waited: 0 };
    const batches = this.#batches(samples, order, viewOf, { firstBatch, batching, skipped, progress });
    return {
      length: batchCount(samples.length, batching),
      skipped,
      get waitedSeconds() {
        return progress.waited;
      },
      async *[Symbol.asyncIterator]() {
        for await (const batch of batches) {
          if (batch.labels.length > 0) yield batch;
        }
      },
    };
  }

  async *#batches(
    samples: readonly Sample[],
    order: Int32Array,
    viewOf: (index: number) => number,
    pass: { firstBatch: number; batching: Batching; skipped: SkippedImage[]; progress: { waited: number } },
  ): AsyncGenerator<SourceBatch, void, void> {
    const { signal } = this.#settings;
    const { firstBatch, batching, skipped, progress } = pass;
    const start = performance.now();
    if (this.#settings.place === 'none') await this.#forget();
    const ensure = () => this.#ensure(samples, order, viewOf);
    const { watch } = this.#settings;
    const known = await (watch ? watch.spend('features', ensure) : ensure());
    progress.waited += (performance.now() - start) / 1000;
    const isReadable = (index: number) => !known.failures.has(index);
    for (const batch of readableBatches(order, batching, firstBatch, isReadable)) {
      throwIfAborted(signal);
      const readable = batch.indices;
      for (const index of batch.leftOut) skipped.push(known.failures.get(index) as SkippedImage);
      const tensors = (): SourceTensors => ({
        rows: readable.map((index) => (known.rows[viewOf(index)] as Int32Array)[index] as number),
      });
      yield {
        tensors: tensors(),
        renew: async () => {
          for (const index of readable) (known.rows[viewOf(index)] as Int32Array)[index] = -1;
          await this.#ensure(samples, readable, viewOf);
          return tensors();
        },
        indices: readable,
        labels: readable.map((index) => (samples[index] as Sample).label),
        paths: Array.from(readable, (index) => (samples[index] as Sample).path),
        number: batch.number,
      };
    }
  }

  async #forget(): Promise<void> {
    this.#known.clear();
    await callNative(() => this.#settings.model.native.openFeatures(this.#request));
  }

  /** Has the features of all these samples, each in its view: found, or computed now. */
  async #ensure(
    samples: readonly Sample[],
    order: Int32Array,
    viewOf: (index: number) => number,
  ): Promise<Known> {
    const known = await this.#know(samples);
    // A sampler may draw a sample several times. In their own order, for rounding may depend on who is in a batch.
    const absent = Int32Array.from(new Set(order))
      .filter((index) => !known.failures.has(index) && known.rows[viewOf(index)]?.[index] === -1)
      .sort();
    if (absent.length === 0) return known;
    const missing = await this.#find(known, absent, viewOf);
    for (const [view, indices] of groupBy(missing, viewOf)) {
      await this.#compute(samples, known, indices, view);
    }
    return known;
  }

  async #know(samples: readonly Sample[]): Promise<Known> {
    const before = this.#known.get(samples);
    if (before) return before;
    const { reading, views, signal } = this.#settings;
    const known: Known = {
      digests: await mapInOrder(samples, Math.max(4, reading.threads), ({ path }) => digest(path, signal)),
      rows: Array.from({ length: views }, () => new Int32Array(samples.length).fill(-1)),
      failures: new Map(),
    };
    for (const [index, found] of known.digests.entries()) {
      const { path } = samples[index] as Sample;
      if (isUint8Array(found)) continue;
      if (reading.unreadable === 'fail') throw found;
      known.failures.set(index, { path, reason: found.message });
    }
    this.#known.set(samples, known);
    return known;
  }

  /** Looks absent features up in the store; returns the indices that it does not have. */
  async #find(known: Known, absent: Int32Array, viewOf: (index: number) => number): Promise<Int32Array> {
    const readable = absent.filter((index) => !known.failures.has(index));
    if (readable.length === 0) return readable;
    const keys = new Uint8Array(readable.length * 32);
    for (const [at, index] of readable.entries()) keys.set(this.#key(known, index, viewOf(index)), at * 32);
    const rows = await callNative(() => this.#settings.model.native.findFeatures(keys));
    for (const [at, row] of rows.entries()) {
      const index = readable[at] as number;
      (known.rows[viewOf(index)] as Int32Array)[index] = row;
    }
    const missing = readable.filter((_, at) => (rows[at] as number) < 0);
    this.report.found += readable.length - missing.length;
    return missing;
  }

  #key(known: Known, index: number, view: number): Uint8Array {
    const augment = view === 0 ? '' : ` ${JSON.stringify(this.#settings.augment)}`;
    return viewKey(known.digests[index] as Uint8Array, `${view}${augment}`);
  }

  async #compute(samples: readonly Sample[], known: Known, indices: Int32Array, view: number): Promise<void> {
    const { model, reading, signal } = this.#settings;
    const picked = Array.from(indices, (index) => samples[index] as Sample);
    const loader = new BatchLoader(picked, {
      ...reading,
      view: (view === 0 ? 'eval' : 'canvas') satisfies View,
      ...(signal ? { signal } : {}),
    });
    // The loader decodes the next batch while this one goes through the prefix.
    for await (const batch of loader) {
      throwIfAborted(signal);
      const positions = batch.indices.map((at) => indices[at] as number);
      await this.#store(known, positions, batch, view, model);
    }
    // By path, for a file may be several samples.
    const failures = new Map(loader.skipped.map((skipped) => [skipped.path, skipped]));
    for (const [at, { path }] of picked.entries()) {
      const failure = failures.get(path);
      if (failure) known.failures.set(indices[at] as number, failure);
    }
  }

  async #store(
    known: Known,
    positions: Int32Array,
    batch: ImageBatch,
    view: number,
    model: Model,
  ): Promise<void> {
    const keys = new Uint8Array(positions.length * 32);
    const content = new Int32Array(positions.length);
    for (const [at, index] of positions.entries()) {
      keys.set(this.#key(known, index, view), at * 32);
      const bytes = known.digests[index] as Uint8Array;
      content[at] = new DataView(bytes.buffer, bytes.byteOffset).getInt32(0) & 0x7fffffff;
    }
    const rows = await callNative(() =>
      model.native.storeFeatures({
        inputs: [{ data: batch.data, shape: batch.shape, dtype: 'uint8' }],
        sizes: batch.sizes,
        indices: content,
        epoch: view,
        keys,
        ...(view === 0 ? {} : { augmentSeed: viewSeed }),
      }),
    );
    for (const [at, row] of rows.entries()) {
      if (row < 0) throw noRoom();
      (known.rows[view] as Int32Array)[positions[at] as number] = row;
    }
    this.report.computed += rows.length;
  }
}

/** An error where the image cannot be read. */
async function digest(path: string, signal: AbortSignal | undefined): Promise<Uint8Array | Error> {
  throwIfAborted(signal);
  try {
    return (await readImageFile(path)).digest;
  } catch (error) {
    if (isUnreadable(error)) return error as Error;
    throw error;
  }
}

function groupBy(indices: Int32Array, keyOf: (index: number) => number): Map<number, Int32Array> {
  const keys = [...new Set(Array.from(indices, keyOf))];
  return new Map(keys.map((key) => [key, indices.filter((index) => keyOf(index) === key)]));
}

function noRoom(): TorchgraftError {
  return new TorchgraftError(
    'OUT_OF_MEMORY',
    'There is no room left for features, neither in memory nor in the cache. Run with `cache: "none"`, or free space ' +
      'with `torchgraft cache clear`.',
  );
}

function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toPrecision(2)} GB`;
}
