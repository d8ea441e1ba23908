import { setImmediate } from 'node:timers/promises';
import { decodeImage } from '../data/decode.js';
import { openGate } from '../data/gate.js';
import { checkSource } from '../data/images.js';
import { copyWindow, rawWindow } from '../data/raw-window.js';
import { threadBudget } from '../thread-budget.js';
import type { FormingBatch, WritePixels } from './forming-batch.js';
import type { ImageRequest } from './request.js';

/** Raw images copied in one turn of the event loop, 150 KB each at 224 px. */
const copiesATurn = 8;

/** Turns images into the pixels that a model sees, `threads` at a time and within the thread budget. */
export class Decoders {
  readonly #gate;
  readonly #copyGate = openGate(copiesATurn);
  #copying = 0;

  readonly #maxPixels: number | undefined;

  /** @param maxPixels default that of `imageLimits` */
  constructor(threads: number, maxPixels?: number) {
    this.#gate = openGate(threads);
    this.#maxPixels = maxPixels;
  }

  /** Turns of the event loop until all images are there that need copying alone. */
  get turnsOfCopying(): number {
    return Math.ceil(this.#copying / copiesATurn);
  }

  /**
   * Calls `add` once the pixels of a request are there, in the model's view; not for a request that is settled by then.
   *
   * @throws IMAGE_UNREADABLE, FILE_NOT_FOUND, INVALID_VALUE for raw pixels that were changed meanwhile
   */
  async decode(
    request: ImageRequest,
    forming: FormingBatch,
    add: (write: WritePixels) => void,
  ): Promise<void> {
    const { image, isPrepared } = request;
    const preprocessing = isPrepared
      ? { ...forming.preprocessing, crop: 'none' as const }
      : forming.preprocessing;
    const window = rawWindow(image, preprocessing);
    if (window) {
      this.#copying++;
      try {
        await this.#copyGate(async () => {
          await setImmediate();
          if (request.isSettled) return;
          checkSource(image, 'The image');
          request.decodingAt = performance.now();
          add((target, offset) => copyWindow(window, target, offset));
        });
      } finally {
        this.#copying--;
      }
      return;
    }
    await this.#gate(() =>
      threadBudget.decode(async () => {
        if (request.isSettled) return;
        request.decodingAt = performance.now();
        const pixels = forming.lendScratch();
        await decodeImage(image, preprocessing, 'eval', pixels, 0, undefined, this.#maxPixels);
        if (!request.isSettled) add((target, offset) => target.set(pixels, offset));
        forming.takeBackScratch(pixels);
      }),
    );
  }
}
