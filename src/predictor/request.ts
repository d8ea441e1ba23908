import type { ImageSource } from '../data/decode.js';
import type { Prediction } from '../ranking.js';

/** One image that somebody waits for. Times are milliseconds of `performance.now()`. */
export class ImageRequest {
  readonly answer: Promise<Prediction>;
  readonly image: ImageSource;
  /** The pixels are what the model shall see: no crop. */
  readonly isPrepared: boolean;
  readonly top: number;
  readonly threshold: number;
  readonly signal: AbortSignal | undefined;
  readonly askedAt = performance.now();
  decodingAt = 0;
  decodedAt = 0;
  computingAt = 0;
  isSettled = false;
  #resolve!: (prediction: Prediction) => void;
  #reject!: (error: unknown) => void;

  constructor(
    image: ImageSource,
    isPrepared: boolean,
    options: { top: number; threshold: number; signal?: AbortSignal },
  ) {
    this.image = image;
    this.isPrepared = isPrepared;
    this.top = options.top;
    this.threshold = options.threshold;
    this.signal = options.signal;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  resolve(prediction: Prediction): void {
    this.isSettled = true;
    this.#resolve(prediction);
  }

  reject(error: unknown): void {
    this.isSettled = true;
    this.#reject(error);
  }
}
