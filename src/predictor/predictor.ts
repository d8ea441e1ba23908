import '../async-dispose.js';
import { availableParallelism } from 'node:os';
import type { ModelCard } from '../card.js';
import { type ImageSource, isUnreadable } from '../data/decode.js';
import { checkSource } from '../data/images.js';
import { invalidType, invalidValue } from '../errors.js';
import { checkOptions } from '../options.js';
import type { Prediction } from '../ranking.js';
import { isBytes } from '../value-kinds.js';
import { Batcher, closedError } from './batcher.js';
import type { Int8Report } from './int8.js';
import {
  type PredictorOptions,
  type PredictorRequestOptions,
  type PredictorSettings,
  predictorOptions,
  requestOptions,
} from './options.js';
import { ImageRequest } from './request.js';
import { prepareServing, type Serving } from './serving.js';
import type { Latencies, RequestCounts } from './statistics.js';

/** What a predictor has done since it was made, and does now. */
export interface PredictorStats extends RequestCounts {
  /** Forwards. */
  batches: number;
  /** Number of forwards by their number of images. */
  batchSizes: Record<string, number>;
  /** Requests that wait: for a decoder, in one, or decoded for the model. */
  queueLength: number;
  /** Requests in the running batch. */
  running: number;
  /** Served, over the last ten seconds. */
  imagesPerSecond: number;
  /** Of served requests. */
  latencyMs: Latencies;
  /** Models that took over from another. */
  swaps: number;
  /** The model that serves. */
  model: {
    /** File name without folders, or `the given bytes`. */
    name: string;
    sha256: string;
    classes: number;
    device: string;
    precision: string;
    layout: string;
    /** With precision `int8`: what it costs. */
    int8?: Int8Report;
  };
}

/**
 * Loads a model saved by torchgraft for serving: a frozen, optimised copy, warmed up, to which requests from anywhere in
 * the process are brought in batches.
 *
 * @param source path of a file, or its bytes
 * @throws NOT_A_CLASSIFIER, MODEL_FAILED when its outputs are not its classes, and everything `loadModel` throws
 */
export async function createPredictor(
  source: string | Uint8Array,
  options: PredictorOptions = {},
): Promise<Predictor> {
  const checked = checkOptions(predictorOptions, options, 'createPredictor');
  const settings = { ...checked, threads: checked.threads ?? availableParallelism() };
  return new Predictor(await prepareServing(source, settings), settings);
}

/**
 * Serves predictions at the rate of the machine: images are decoded while the model computes those before, whatever
 * arrives meanwhile forms the next batch, and the event loop stays free.
 */
export class Predictor {
  readonly #settings: PredictorSettings;
  readonly #batcher: Batcher;
  #swapping: Promise<unknown> = Promise.resolve();
  #swaps = 0;
  #disposed: Promise<void> | undefined;

  /** Use {@link createPredictor}. @internal */
  constructor(serving: Serving, settings: PredictorSettings) {
    this.#settings = settings;
    this.#batcher = new Batcher(serving, settings);
  }

  /** Classes, preprocessing, provenance and metrics of the model that serves. */
  get card(): ModelCard {
    return this.#batcher.serving.card;
  }

  /** Class names in the order of the outputs, of the model that serves. */
  get classes(): string[] {
    return [...this.card.classes];
  }

  /**
   * Classifies one image: a path, the bytes of an image file, or raw pixels `{ data, width, height, channels }`, which
   * must not change until the answer. Raw RGB pixels that need no resizing are copied without sharp.
   *
   * @throws IMAGE_UNREADABLE or FILE_NOT_FOUND naming the image, QUEUE_FULL, ABORTED, DISPOSED
   */
  async predict(image: ImageSource, options: PredictorRequestOptions = {}): Promise<Prediction> {
    const checked = checkOptions(requestOptions, options, 'predict');
    checkSource(image, 'predict: the image');
    return this.#ask(new ImageRequest(image, false, checked));
  }

  /**
   * Classifies several images; each is a request of its own. All are taken or none, so a list longer than the free
   * places is refused. One that fails withdraws those behind it, and the first in order that failed is told; see
   * {@link Predictor.predictSettled} to have them fail alone.
   *
   * @returns one prediction for each image, in order
   * @throws what `predict` throws
   */
  async predictMany(
    images: readonly ImageSource[],
    options: PredictorRequestOptions = {},
  ): Promise<Prediction[]> {
    const requests = this.#askAll(images, options, 'predictMany');
    for (const [index, { answer }] of requests.entries()) {
      answer.catch((error) => this.#batcher.withdraw(requests.slice(index + 1), error));
    }
    const predictions: Prediction[] = [];
    for (const { answer } of requests) predictions.push(await answer);
    return predictions;
  }

  /**
   * The same where one image shall not cost the answers for the others: as `Promise.allSettled` gives it, for each image its
   * prediction as `value`, or its error as `reason`. All are taken or none.
   *
   * @throws what is not of one image: QUEUE_FULL, ABORTED, DISPOSED, TOO_MANY_FILES
   */
  async predictSettled(
    images: readonly ImageSource[],
    options: PredictorRequestOptions = {},
  ): Promise<PromiseSettledResult<Prediction>[]> {
    const requests = this.#askAll(images, options, 'predictSettled');
    const results = await Promise.allSettled(requests.map(({ answer }) => answer));
    const other = results.find((result) => result.status === 'rejected' && !isUnreadable(result.reason));
    if (other?.status === 'rejected') throw other.reason;
    return results;
  }

  #askAll(images: readonly ImageSource[], options: PredictorRequestOptions, where: string): ImageRequest[] {
    const checked = checkOptions(requestOptions, options, where);
    if (!Array.isArray(images)) throw invalidType(`${where}: expected a list of images, for example [path].`);
    for (const [index, image] of images.entries()) checkSource(image, `${where}: image ${index}`);
    const requests = images.map((image) => new ImageRequest(image, false, checked));
    this.#batcher.enqueue(requests);
    return requests;
  }

  /**
   * Classifies pixels as the model sees them, cut and resized by the caller: RGB bytes [size, size, 3] with the `size`
   * of `card.preprocessing`; mean and std are applied here. They must not change until the answer.
   *
   * @throws QUEUE_FULL, ABORTED, DISPOSED, RangeError (`INVALID_VALUE`) for another number of bytes
   */
  async predictPixels(
    pixels: Uint8Array | Uint8ClampedArray,
    options: PredictorRequestOptions = {},
  ): Promise<Prediction> {
    const checked = checkOptions(requestOptions, options, 'predictPixels');
    if (!isBytes(pixels)) {
      throw invalidType('predictPixels: expected RGB bytes as a Uint8Array.');
    }
    const { size } = this.card.preprocessing;
    if (pixels.length !== size * size * 3) {
      throw invalidValue(
        `predictPixels: the model sees ${size} x ${size} pixels of 3 bytes, ${size * size * 3} in all, got ` +
          `${pixels.length}. Use predict() for images of other sizes.`,
      );
    }
    const image = { data: pixels, width: size, height: size, channels: 3 as const };
    return this.#ask(new ImageRequest(image, true, checked));
  }

  /** Counters and latencies. Cheap enough to be asked every second. */
  stats(): PredictorStats {
    const { statistics, queueLength, running, serving } = this.#batcher;
    const { precision, layout } = serving.optimised;
    return {
      ...statistics.counts,
      batches: statistics.batches,
      batchSizes: statistics.batchSizes(),
      queueLength,
      running,
      imagesPerSecond: statistics.imagesPerSecond,
      latencyMs: statistics.latencyMs(),
      swaps: this.#swaps,
      model: {
        ...serving.model.origin,
        classes: serving.card.classes.length,
        device: serving.model.device,
        precision,
        layout,
        ...(serving.int8 ? { int8: serving.int8 } : {}),
      },
    };
  }

  /**
   * Puts another model in the place of the one that serves, without dropping a request: it is loaded, optimised and
   * warmed up beside it, the next batch goes to it, and the old one is freed when its batch has ended. Classes and
   * preprocessing may differ; each answer is wholly from one model. When it fails the old one serves on. Swaps take
   * turns.
   *
   * @throws what `createPredictor` throws, DISPOSED
   */
  swap(source: string | Uint8Array): Promise<void> {
    const turn = this.#swapping.then(() => this.#swap(source));
    this.#swapping = turn.catch(() => {});
    return turn;
  }

  async #swap(source: string | Uint8Array): Promise<void> {
    if (this.#batcher.isClosed) throw closedError();
    const next = await prepareServing(source, this.#settings);
    if (this.#batcher.isClosed) {
      await next.dispose();
      throw closedError();
    }
    const before = this.#batcher.replace(next);
    this.#swaps++;
    await before.dispose();
  }

  /** Refuses new requests from now on with DISPOSED, and resolves when all that were taken have been answered. */
  async drain(): Promise<void> {
    this.#batcher.close();
    await this.#batcher.answered();
  }

  /**
   * Rejects what waits with DISPOSED, lets the running batch end and answers it, and frees the weights. Idempotent;
   * afterwards every request is refused with DISPOSED.
   */
  dispose(): Promise<void> {
    this.#disposed ??= this.#dispose();
    return this.#disposed;
  }

  async #dispose(): Promise<void> {
    this.#batcher.close();
    this.#batcher.rejectWaiting();
    await Promise.all([this.#batcher.answered(), this.#swapping]);
    await this.#batcher.serving.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  #ask(request: ImageRequest): Promise<Prediction> {
    this.#batcher.enqueue([request]);
    return request.answer;
  }
}
