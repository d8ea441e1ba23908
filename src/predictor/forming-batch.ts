import type { Preprocessing } from '../data/preprocessing.js';
import type { ImageRequest } from './request.js';

/** Puts the pixels of an image, RGB bytes [size, size, 3], into `target` at `offset`. */
export type WritePixels = (target: Uint8Array, offset: number) => void;

/** The decoded images of the next batch, one after another in one array that every batch uses again. */
export class FormingBatch {
  /** What the images were decoded for. */
  readonly preprocessing: Preprocessing;
  readonly maxBatch: number;
  readonly #imageBytes: number;
  readonly #pixels: Uint8Array;
  #requests: ImageRequest[] = [];
  readonly #scratch: Uint8Array[] = [];

  constructor(preprocessing: Preprocessing, maxBatch: number) {
    this.preprocessing = preprocessing;
    this.maxBatch = maxBatch;
    this.#imageBytes = preprocessing.size ** 2 * 3;
    this.#pixels = new Uint8Array(maxBatch * this.#imageBytes);
  }

  get count(): number {
    return this.#requests.length;
  }

  /** The pixels of a decoded image would be the same under `other`; mean and std are applied natively. */
  fits({ size, resize, crop, interpolation, pixelRange }: Preprocessing): boolean {
    const own = this.preprocessing;
    return (
      own.size === size &&
      own.resize === resize &&
      own.crop === crop &&
      own.interpolation === interpolation &&
      own.pixelRange?.join() === pixelRange?.join()
    );
  }

  add(request: ImageRequest, write: WritePixels): void {
    write(this.#pixels, this.count * this.#imageBytes);
    this.#requests.push(request);
  }

  /** A buffer of one image, for a decoder. */
  lendScratch(): Uint8Array {
    return this.#scratch.pop() ?? new Uint8Array(this.#imageBytes);
  }

  takeBackScratch(scratch: Uint8Array): void {
    this.#scratch.push(scratch);
  }

  /** Takes a request out, if it is there; the last one moves to its place. */
  remove(request: ImageRequest): void {
    const row = this.#requests.indexOf(request);
    if (row < 0) return;
    const last = this.#requests.pop() as ImageRequest;
    if (last === request) return;
    const bytes = this.#imageBytes;
    this.#pixels.copyWithin(row * bytes, this.count * bytes, (this.count + 1) * bytes);
    this.#requests[row] = last;
  }

  /** All requests and their pixels [n, size, size, 3]; the pixels are lent until the next image is added. */
  take(): { requests: ImageRequest[]; pixels: Uint8Array } {
    const requests = this.#requests;
    this.#requests = [];
    return { requests, pixels: this.#pixels.subarray(0, requests.length * this.#imageBytes) };
  }
}
