import { z } from 'zod';
import { invalidType, invalidValue, throwIfAborted } from '../errors.js';
import { checkOptions } from '../options.js';
import { isBytes, signalOption } from '../value-kinds.js';
import { decodeImage, type ImageSource, isUnreadable } from './decode.js';
import { cornerViews, type View, viewSide } from './geometry.js';
import { mapInOrder } from './in-order.js';
import type { ImageBatch } from './loader.js';
import type { Preprocessing } from './preprocessing.js';

const loadOptions = z.strictObject({
  threads: z.int().min(1).default(2),
  corners: z.boolean().default(false),
  signal: signalOption,
});

export type LoadImagesOptions = z.input<typeof loadOptions>;

/** Images of a list that could be decoded, in its order, and the errors of the others. */
export interface LoadedImages extends Pick<ImageBatch, 'data' | 'shape' | 'sizes'> {
  /** Places in the list of those in the batch. */
  rows: number[];
  /** By place in the list. */
  failures: Map<number, unknown>;
}

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
  const { failures, rows, ...batch } = await loadReadable(sources, preprocessing, options);
  if (failures.size > 0) throw failures.get(Math.min(...failures.keys()));
  return batch;
}

/** The same, without images that cannot be read or decoded. @throws everything else that `loadImages` throws */
export async function loadReadable(
  sources: readonly ImageSource[],
  preprocessing: Preprocessing,
  options: LoadImagesOptions = {},
): Promise<LoadedImages> {
  const { threads, corners, signal } = checkOptions(loadOptions, options, 'loadImages');
  if (!Array.isArray(sources)) throw invalidType('loadImages: expected a list of images.');
  for (const [index, source] of sources.entries()) checkSource(source, `Image ${index}`);
  const side = viewSide(preprocessing, 'eval');
  const views: readonly View[] = corners ? ['eval', ...cornerViews] : ['eval'];
  const bytes = side * side * 3;
  const rowBytes = bytes * views.length;
  const data = new Uint8Array(sources.length * rowBytes);
  const sizes = new Int32Array(sources.length * 2);
  const failures = new Map<number, unknown>();
  await mapInOrder(sources, threads, async (source, row) => {
    throwIfAborted(signal);
    try {
      for (const [at, view] of views.entries()) {
        const size = await decodeImage(source, preprocessing, view, data, row * rowBytes + at * bytes);
        sizes.set([size.width, size.height], row * 2);
      }
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      failures.set(row, error);
    }
  });
  throwIfAborted(signal);
  const rows = [...sources.keys()].filter((row) => !failures.has(row));
  for (const [to, from] of rows.entries()) {
    if (to === from) continue;
    data.copyWithin(to * rowBytes, from * rowBytes, (from + 1) * rowBytes);
    sizes.copyWithin(to * 2, from * 2, (from + 1) * 2);
  }
  return {
    data: data.subarray(0, rows.length * rowBytes),
    shape: [rows.length * views.length, side, side, 3],
    sizes: sizes.subarray(0, rows.length * 2),
    rows,
    failures,
  };
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
  if (isBytes(source)) return;
  if (typeof source !== 'object' || source === null) throw invalidType(`${name}: expected ${expected}.`);
  const { data, width, height, channels } = source;
  if (!isBytes(data)) {
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
