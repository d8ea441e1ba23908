import { isBytes } from '../value-kinds.js';
import { type ImageSource, type RawPixels } from './decode.js';
import { type Placement, place } from './geometry.js';
import type { Preprocessing } from './preprocessing.js';

/** Raw RGB pixels, and the window of them that the model sees. */
export interface RawWindow {
  image: RawPixels;
  placement: Placement;
}

/**
 * The window of raw RGB pixels that the model sees (view `eval`), when nothing has to be resized: of 224 x 224 pixels
 * with `size` and `resize` 224 all, of 256 x 256 with `resize` 256 the centre. Undefined for everything that has to be
 * decoded, resized or converted.
 */
export function rawWindow(source: ImageSource, preprocessing: Preprocessing): RawWindow | undefined {
  if (typeof source === 'string' || isBytes(source) || source.channels !== 3) return undefined;
  const placement = place(source.width, source.height, preprocessing, 'eval');
  const isKept = placement.width === source.width && placement.height === source.height;
  return isKept ? { image: source, placement } : undefined;
}

/** Copies the window as bytes [side, side, 3] into `target` at `offset`. */
export function copyWindow(
  { image: { data, width }, placement: { left, top, side } }: RawWindow,
  target: Uint8Array,
  offset: number,
): void {
  if (side === width) {
    target.set(data.subarray(top * width * 3, (top + side) * width * 3), offset);
    return;
  }
  for (let y = 0; y < side; y++) {
    const from = ((top + y) * width + left) * 3;
    target.set(data.subarray(from, from + side * 3), offset + y * side * 3);
  }
}
