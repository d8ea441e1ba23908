import { freemem } from 'node:os';
import { z } from 'zod';
import { checkOptions } from '../options.js';
import type { Sample } from './dataset.js';
import type { ImageSize } from './decode.js';
import { type View, viewSide } from './geometry.js';
import type { Preprocessing } from './preprocessing.js';

const decodedOptions = z.strictObject({ maxBytes: z.int().min(0).optional() });

/** `maxBytes`: most memory for pixels; default a quarter of what is free now, at most 2 GiB. 0 keeps nothing. */
export type DecodedImagesOptions = z.input<typeof decodedOptions>;

const chunkBytes = 8 * 2 ** 20;

/**
 * Decoded and resized images of one training run, so that a pass after the first decodes nothing: pass it to every
 * BatchLoader of the run as `decoded`. Pixels are kept by list of samples, preprocessing and view, uint8, until the
 * memory is used up; what does not fit is decoded in each pass. A file that changes during the run is not read again.
 */
export class DecodedImages {
  /** Most memory for pixels, in bytes. */
  readonly maxBytes: number;
  #bytes = 0;
  #stores = new Map<readonly Sample[], Map<string, DecodedStore>>();

  constructor(options: DecodedImagesOptions = {}) {
    const { maxBytes } = checkOptions(decodedOptions, options, 'DecodedImages');
    this.maxBytes = maxBytes ?? Math.min(2 * 2 ** 30, Math.floor(freemem() / 4));
  }

  /** @internal */
  static is(value: unknown): boolean {
    return typeof value === 'object' && value !== null && #bytes in value;
  }

  /** Memory taken for pixels, in bytes. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Images kept. */
  get count(): number {
    const stores = [...this.#stores.values()].flatMap((ofSamples) => [...ofSamples.values()]);
    return stores.reduce((sum, { count }) => sum + count, 0);
  }

  /** Where the images of this list are kept; the list is known by identity. @internal */
  store(samples: readonly Sample[], preprocessing: Preprocessing, view: View): DecodedStore {
    const { resize, size, crop, interpolation, pixelRange } = preprocessing;
    const key = [view, resize, size, crop, interpolation, pixelRange].join();
    const ofSamples = this.#stores.get(samples) ?? new Map<string, DecodedStore>();
    this.#stores.set(samples, ofSamples);
    const made =
      ofSamples.get(key) ??
      new DecodedStore(samples.length, viewSide(preprocessing, view) ** 2 * 3, (most, each) =>
        this.#take(most, each),
      );
    ofSamples.set(key, made);
    return made;
  }

  /** Lets all pixels go. */
  dispose(): void {
    this.#stores.clear();
    this.#bytes = 0;
  }

  /** Reserves memory for up to `most` images of `each` bytes, and gives for how many. */
  #take(most: number, each: number): number {
    const images = Math.min(most, Math.floor((this.maxBytes - this.#bytes) / each));
    this.#bytes += images * each;
    return images;
  }
}

/** Pixels of one list of samples, by position in it. @internal */
export class DecodedStore {
  readonly #imageBytes: number;
  readonly #take: (most: number, each: number) => number;
  /** Where each sample's pixels are, counted in images; -1 for nowhere. */
  readonly #places: Int32Array;
  readonly #sizes: Int32Array;
  /** By sample; only of those that were hashed. */
  readonly #digests = new Map<number, Uint8Array>();
  /** Each for as many images, but for the last. */
  readonly #chunks: Uint8Array[] = [];
  readonly #chunkImages: number;
  #room = 0;
  #isFull = false;
  #count = 0;

  constructor(samples: number, imageBytes: number, take: (most: number, each: number) => number) {
    this.#imageBytes = imageBytes;
    this.#take = take;
    this.#chunkImages = Math.max(1, Math.floor(chunkBytes / imageBytes));
    this.#places = new Int32Array(samples).fill(-1);
    this.#sizes = new Int32Array(samples * 2);
  }

  /** Images kept. */
  get count(): number {
    return this.#count;
  }

  /** SHA-256 of a sample's file, 32 bytes, where it was kept with one. */
  digest(sample: number): Uint8Array | undefined {
    return this.#digests.get(sample);
  }

  /** Copies a sample's pixels to `target` at `offset`. Gives the original's size, or nothing when it is not kept. */
  copy(sample: number, target: Uint8Array, offset: number): ImageSize | undefined {
    const place = this.#places[sample] as number;
    if (place < 0) return undefined;
    target.set(this.#pixels(place), offset);
    return { width: this.#sizes[sample * 2] as number, height: this.#sizes[sample * 2 + 1] as number };
  }

  /** Keeps a copy of a sample's pixels, if there is room. */
  keep(sample: number, pixels: Uint8Array, size: ImageSize, digest?: Uint8Array): void {
    if ((this.#places[sample] as number) < 0) {
      if (!this.#hasRoom()) return;
      this.#pixels(this.#count).set(pixels);
      this.#sizes.set([size.width, size.height], sample * 2);
      this.#places[sample] = this.#count++;
    }
    if (digest) this.#digests.set(sample, digest);
  }

  #pixels(place: number): Uint8Array {
    const chunk = this.#chunks[Math.floor(place / this.#chunkImages)] as Uint8Array;
    const at = (place % this.#chunkImages) * this.#imageBytes;
    return chunk.subarray(at, at + this.#imageBytes);
  }

  #hasRoom(): boolean {
    if (this.#count < this.#room) return true;
    if (this.#isFull) return false;
    const wanted = Math.min(this.#chunkImages, this.#places.length - this.#room);
    const images = this.#take(wanted, this.#imageBytes);
    this.#isFull = images < wanted;
    if (images === 0) return false;
    this.#chunks.push(new Uint8Array(images * this.#imageBytes));
    this.#room += images;
    return true;
  }
}
