import { setImmediate } from 'node:timers/promises';
import type { ModelCard } from '../card.js';
import { abortError, TorchgraftError } from '../errors.js';
import { decode } from '../ranking.js';
import { threadBudget } from '../thread-budget.js';
import { Decoders } from './decoders.js';
import { FormingBatch } from './forming-batch.js';
import type { PredictorSettings } from './options.js';
import type { ImageRequest } from './request.js';
import type { Serving } from './serving.js';
import { type Outcome, Statistics } from './statistics.js';
import { Withdrawals } from './withdrawals.js';

/** Logits ranked in one turn of the event loop: half a millisecond. */
const logitsATurn = 16_384;
/** The shortest time that Node's timers can wait. */
const timerMs = 1;

/** A batch that was computed, or failed. */
interface ComputedBatch {
  requests: ImageRequest[];
  serving: Serving;
  logits?: Float32Array;
  error?: unknown;
}

/**
 * Brings requests to the model: a line of requests, decoders, the forming batch, the batch that runs.
 *
 * While one batch runs, the next is decoded; it leaves as soon as the model is idle, however small. So a lone request
 * waits for nothing, and under load the batches grow by themselves to what arrives while one runs. The one exception
 * is `#gather`.
 */
export class Batcher {
  readonly statistics = new Statistics();
  readonly #settings: PredictorSettings;
  readonly #queue = new Set<ImageRequest>();
  readonly #decoding = new Set<ImageRequest>();
  readonly #withdrawals = new Withdrawals((requests, signal) => this.withdraw(requests, abortError(signal)));
  readonly #decoders: Decoders;
  #serving: Serving;
  #forming: FormingBatch;
  /** Decodings begun and not ended; some of their requests may be settled. */
  #begun = 0;
  #running: ImageRequest[] = [];
  #isServing = false;
  #loop: Promise<void> | undefined;
  /** Called when an image was decoded, or is no longer coming. */
  #onArrival = () => {};
  #isClosed = false;
  #open = 0;
  #whenAnswered: (() => void)[] = [];

  constructor(serving: Serving, settings: PredictorSettings) {
    this.#serving = serving;
    this.#settings = settings;
    this.#decoders = new Decoders(settings.threads, settings.maxPixels);
    this.#forming = new FormingBatch(serving.card.preprocessing, settings.maxBatch);
  }

  get serving(): Serving {
    return this.#serving;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Requests that wait: for a decoder, in one, or decoded for the model. */
  get queueLength(): number {
    return this.#queue.size + this.#decoding.size + this.#forming.count;
  }

  /** Requests in the running batch whose answer somebody still waits for. */
  get running(): number {
    return this.#running.filter(({ isSettled }) => !isSettled).length;
  }

  /** Takes all of them or none. @throws DISPOSED, ABORTED, QUEUE_FULL */
  enqueue(requests: readonly ImageRequest[]): void {
    this.statistics.counts.requests += requests.length;
    const refusal = this.#refuse(requests);
    if (refusal) {
      this.statistics.counts[refusal.code === 'ABORTED' ? 'aborted' : 'rejected'] += requests.length;
      throw refusal;
    }
    this.#open += requests.length;
    for (const request of requests) {
      this.#queue.add(request);
      this.#withdrawals.watch(request);
    }
    this.#startDecoding();
  }

  #refuse(requests: readonly ImageRequest[]): TorchgraftError | undefined {
    if (this.#isClosed) return closedError();
    const signal = requests.find((request) => request.signal?.aborted)?.signal;
    if (signal) return abortError(signal);
    const { maxQueue } = this.#settings;
    if (this.queueLength + requests.length <= maxQueue) return undefined;
    const asked = requests.length === 1 ? 'one more' : `${requests.length} more`;
    return new TorchgraftError(
      'QUEUE_FULL',
      `predict: ${this.queueLength} requests wait, and ${asked} would pass \`maxQueue\` (${maxQueue}). Ask again later, ` +
        'answer your client with 503, ask for fewer images at once, or raise `maxQueue`.',
    );
  }

  /** Takes requests back whose answer nobody wants any more. */
  withdraw(requests: readonly ImageRequest[], error: unknown): void {
    for (const request of requests) this.#drop(request, 'aborted', error);
  }

  /** The next batch goes to `serving`. Returns the model that served so far; its batch may still run. */
  replace(serving: Serving): Serving {
    const before = this.#serving;
    this.#serving = serving;
    if (!this.#forming.fits(serving.card.preprocessing)) {
      const { requests } = this.#forming.take();
      this.#forming = new FormingBatch(serving.card.preprocessing, this.#settings.maxBatch);
      this.#returnToQueue(requests);
      this.#startDecoding();
    }
    return before;
  }

  /** Refuses every request from now on. */
  close(): void {
    this.#isClosed = true;
  }

  /** Rejects what waits; the running batch is not touched. */
  rejectWaiting(): void {
    const error = closedError();
    for (const request of [...this.#queue, ...this.#decoding, ...this.#forming.take().requests]) {
      this.#drop(request, 'rejected', error);
    }
  }

  /** Resolves when nobody waits for an answer and no batch runs. */
  async answered(): Promise<void> {
    if (this.#open > 0) await new Promise<void>((done) => this.#whenAnswered.push(done));
    await this.#loop;
  }

  // -- decoding

  /** Decodes ahead what the next batch can hold. */
  #startDecoding(): void {
    for (const request of this.#queue) {
      if (this.#forming.count + this.#begun >= this.#settings.maxBatch) return;
      this.#queue.delete(request);
      this.#decoding.add(request);
      this.#begun++;
      void this.#decode(request, this.#forming);
    }
  }

  /** Never rejects: what is wrong with an image is told to the one who asked about it. */
  async #decode(request: ImageRequest, forming: FormingBatch): Promise<void> {
    try {
      await this.#decoders.decode(request, forming, (write) => {
        if (forming !== this.#forming) return;
        request.decodedAt = performance.now();
        forming.add(request, write);
        this.#decoding.delete(request);
      });
    } catch (error) {
      this.#settle(request, 'failed', () => request.reject(error));
    }
    this.#begun--;
    // Still there: it was decoded for a model that has been replaced meanwhile.
    if (this.#decoding.delete(request) && !request.isSettled) this.#returnToQueue([request]);
    this.#startDecoding();
    this.#onArrival();
    this.#serve();
  }

  #returnToQueue(requests: readonly ImageRequest[]): void {
    const later = [...this.#queue];
    this.#queue.clear();
    for (const request of [...requests, ...later]) this.#queue.add(request);
  }

  // -- computing

  /** Runs batch after batch while there are decoded images. */
  #serve(): void {
    if (this.#isServing || this.#forming.count === 0) return;
    this.#isServing = true;
    this.#loop = this.#runBatches();
  }

  async #runBatches(): Promise<void> {
    while (this.#forming.count > 0) {
      await this.#gather();
      const computed = await threadBudget.compute(this.#serving.threads, () => this.#computeBatch());
      if (computed) await this.#answer(computed);
    }
    // In the same turn as the look at the count: an image that comes later finds that nothing serves, and begins again.
    this.#isServing = false;
  }

  /**
   * Waits, while the model is idle, for images that are on their way. Those that need copying alone always: it takes
   * microseconds. Those that are being decoded as long as it pays: a second batch for them would cost a forward's fixed
   * cost, so to wait longer than that costs more than it saves. What nobody has asked about yet is not waited for: the
   * model would be idle for nothing, and it can form the next batch while this one runs.
   */
  async #gather(): Promise<void> {
    for (let turns = this.#decoders.turnsOfCopying; turns > 0 && this.#isMoreComing(); turns--) {
      await setImmediate();
    }
    const delayMs = Math.min(this.#settings.maxDelayMs, this.#serving.fixedCostMs);
    if (delayMs < timerMs || !this.#isMoreComing()) return;
    await new Promise<void>((leave) => {
      const stop = () => {
        clearTimeout(timer);
        this.#onArrival = () => {};
        leave();
      };
      const timer = setTimeout(stop, delayMs);
      this.#onArrival = () => {
        if (!this.#isMoreComing()) stop();
      };
    });
  }

  #isMoreComing(): boolean {
    const { count } = this.#forming;
    return count > 0 && count < this.#settings.maxBatch && this.#begun > 0;
  }

  /** Runs all that is decoded now; undefined when everybody has gone. */
  async #computeBatch(): Promise<ComputedBatch | undefined> {
    const serving = this.#serving;
    const { requests, pixels } = this.#forming.take();
    if (requests.length === 0) return undefined;
    this.#running = requests;
    this.statistics.batch(requests.length);
    const now = performance.now();
    for (const request of requests) request.computingAt = now;
    const computing = serving.classify(pixels, requests.length);
    // The pixels were copied: the next batch forms in their place.
    this.#startDecoding();
    try {
      return { requests, serving, logits: await computing };
    } catch (error) {
      return { requests, serving, error };
    }
  }

  async #answer({ requests, serving, logits, error }: ComputedBatch): Promise<void> {
    const { card } = serving;
    const size = card.classes.length;
    let ranked = 0;
    for (const [row, request] of requests.entries()) {
      if (logits) this.#decodeAnswer(request, card, logits.slice(row * size, (row + 1) * size));
      else this.#settle(request, 'failed', () => request.reject(error));
      ranked += size;
      if (ranked < logitsATurn) continue;
      ranked = 0;
      await setImmediate();
    }
    this.#running = [];
  }

  /** An answer that cannot be made is told to the one who asked, and serving goes on. */
  #decodeAnswer(request: ImageRequest, card: ModelCard, logits: Float32Array): void {
    try {
      this.#settle(request, 'served', () => request.resolve(decode(logits, card, request)));
    } catch (error) {
      this.#settle(request, 'failed', () => request.reject(error));
    }
  }

  #drop(request: ImageRequest, outcome: Outcome, error: unknown): void {
    if (request.isSettled) return;
    this.#queue.delete(request);
    this.#decoding.delete(request);
    this.#forming.remove(request);
    this.#settle(request, outcome, () => request.reject(error));
    this.#startDecoding();
    this.#onArrival();
  }

  #settle(request: ImageRequest, outcome: Outcome, deliver: () => void): void {
    if (request.isSettled) return;
    deliver();
    this.#withdrawals.forget(request);
    this.statistics.settled(outcome, request);
    this.#open--;
    if (this.#open > 0) return;
    for (const done of this.#whenAnswered.splice(0)) done();
  }
}

/** For whoever comes after drain() or dispose(), and for those who wait when it is disposed. */
export function closedError(): TorchgraftError {
  return new TorchgraftError(
    'DISPOSED',
    'The predictor is closed: drain() or dispose() was called. Make another with createPredictor().',
  );
}
