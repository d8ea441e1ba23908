import { z } from 'zod';
import { invalidType, invalidValue, throwIfAborted } from '../errors.js';
import { checkOptions } from '../options.js';
import { isPixelBytes, isUint8Array, signalOption } from '../value-kinds.js';
import { decodeImage, type ImageSource } from './decode.js';
import { openGate } from './gate.js';
import { cornerViews, type View, viewSide } from './geometry.js';
import type { ImageBatch } from './loader.js';
import type { Preprocessing } from './preprocessing.js';

const loadOptions = z.strictObject({
  threads: z.int().min(1).default(2),
  corners: z.boolean().default(false),
  signal: signalOption,
});

export type LoadImagesOptions = z.input<typeof loadOptions>;

/**
 * Decodes a few images, in view `eval`, into one batch of RGB bytes [n, size, size, 3] of its own; with `corners` the four
 * corner windows come behind each, [5 n, size, size, 3].
 *
 * @param sources paths, bytes of image files, or raw pixels `{ data, width, height, channels }`
 * @param options `threads`: images decoded at a time, default 2; `corners`: default false; `signal` stops it with `ABORTED`
 * @throws TypeError or RangeError for what is no source; TorchgraftError `IMAGE_UNREADABLE` or `FILE_NOT_FOUND` with
 * the path, of the first image that fails
 */
export async function loadImages(
  sources: readonly ImageSource[],
  preprocessing: Preprocessing,
  options: LoadImagesOptions = {},
): Promise<Pick<ImageBatch, 'data' | 'shape' | 'sizes'>> {
  const { threads, corners, signal } = checkOptions(loadOptions, options, 'loadImages');
  if (!Array.isArray(sources)) throw invalidType('loadImages: expected a list of images.');
  for (const [index, source] of sources.entries()) checkSource(source, `Image ${index}`);
  const side = viewSide(preprocessing, 'eval');
  const bytes = side * side * 3;
  const views: readonly View[] = corners ? ['eval', ...cornerViews] : ['eval'];
  const data = new Uint8Array(sources.length * views.length * bytes);
  const sizes = new Int32Array(sources.length * 2);
  const gate = openGate(threads);
  const decode = async (source: ImageSource, row: number) => {
    throwIfAborted(signal);
    for (const [at, view] of views.entries()) {
      const size = await decodeImage(source, preprocessing, view, data, (row * views.length + at) * bytes);
      sizes.set([size.width, size.height], row * 2);
    }
  };
  const results = await Promise.allSettled(sources.map((source, row) => gate(() => decode(source, row))));
  throwIfAborted(signal);
  for (const result of results) if (result.status === 'rejected') throw result.reason;
  return { data, shape: [sources.length * views.length, side, side, 3], sizes };
}

/**
 * Refuses what is no image, before anything is read.
 *
 * @param name what messages call it, for example `Image 3`
 * @throws TypeError (`INVALID_TYPE`) or RangeError (`INVALID_VALUE`)
 */
export function checkSource(source: ImageSource, name: string): void {
  const expected = 'a path, bytes, or { data, width, height, channels }';
  if (typeof source === 'string') {
    if (source === '') throw invalidValue(`${name}: the path is empty.`);
    return;
  }
  if (isUint8Array(source)) return;
  if (typeof source !== 'object' || source === null) throw invalidType(`${name}: expected ${expected}.`);
  const { data, width, height, channels } = source;
  if (!isPixelBytes(data)) {
    throw invalidType(`${name}: expected ${expected}, with data a Uint8Array of 8-bit pixels.`);
  }
  const sides = [width, height].every((length) => Number.isInteger(length) && length > 0);
  if (!sides || ![1, 2, 3, 4].includes(channels)) {
    throw invalidValue(`${name}: width and height must be above 0 and channels 1 to 4, whole numbers.`);
  }
  if (data.length !== width * height * channels) {
    throw invalidValue(
      `${name}: ${width} x ${height} x ${channels} pixels need ${width * height * channels} bytes, got ${data.length}.`,
    );
  }
}
