import type { NativeView } from '../native.js';
import type { Preprocessing } from './preprocessing.js';

/**
 * Which picture is made of an image: `eval` is what the model sees when it is judged or asked (size x size),
 * `canvas` is the whole image squashed to resize x resize, out of which training cuts its random crops.
 */
export type View = 'eval' | 'canvas';

/** Size of the resized image and the square window kept of it, in pixels. */
export interface Placement {
  width: number;
  height: number;
  left: number;
  top: number;
  side: number;
}

/** Height and width, in pixels, of the picture a view gives. */
export function viewSide(preprocessing: Preprocessing, view: View): number {
  return view === 'eval' ? preprocessing.size : preprocessing.resize;
}

/** A view as the addon takes it. */
export function nativeView(preprocessing: Preprocessing, view: View): NativeView {
  const { resize, crop, interpolation } = preprocessing;
  const squash = view === 'canvas' || crop === 'none';
  return { resize, side: viewSide(preprocessing, view), squash, filter: interpolation };
}

/**
 * Where an image of `width` x `height` goes. For crop `center` these are torchvision's numbers: the long side is
 * int(resize * long / short) and the window starts at round((length - size) / 2), half to even as Python rounds.
 */
export function place(width: number, height: number, preprocessing: Preprocessing, view: View): Placement {
  const side = viewSide(preprocessing, view);
  if (view === 'canvas' || preprocessing.crop === 'none') {
    return { width: side, height: side, left: 0, top: 0, side };
  }
  const { resize } = preprocessing;
  const long = Math.floor((resize * Math.max(width, height)) / Math.min(width, height));
  const resized = width <= height ? { width: resize, height: long } : { width: long, height: resize };
  const left = roundHalfToEven((resized.width - side) / 2);
  const top = roundHalfToEven((resized.height - side) / 2);
  return { ...resized, left, top, side };
}

function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}
