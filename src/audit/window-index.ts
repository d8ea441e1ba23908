import { HashIndex } from './hamming.js';
import type { HashedWindow, Thumbnail } from './thumbnail.js';

/** Windows of images by their hashes. */
export class WindowIndex {
  readonly #index: HashIndex;
  readonly #image: number[] = [];
  readonly #window: HashedWindow[] = [];

  constructor(images: readonly Thumbnail[], withCrops: boolean) {
    const hashes: number[] = [];
    for (const [at, { plain, crops }] of images.entries()) {
      for (const window of withCrops ? [...plain, ...crops] : plain) {
        hashes.push(...window.hash);
        this.#image.push(at);
        this.#window.push(window);
      }
    }
    this.#index = new HashIndex(Uint32Array.from(hashes, (value) => value >>> 0));
  }

  /** Calls `found` with each window whose hash is at most `bits` from that of the query, mirrored or not. */
  search(
    { hash, mirrored }: HashedWindow,
    isMirrored: boolean,
    bits: number,
    found: (image: number, window: HashedWindow) => void,
  ): void {
    const query = Uint32Array.from(isMirrored ? mirrored : hash, (value) => value >>> 0);
    this.#index.search(query, bits, (at) =>
      found(this.#image[at] as number, this.#window[at] as HashedWindow),
    );
  }
}
