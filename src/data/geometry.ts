import type { NativeView } from '../native.js';
import type { Preprocessing } from './preprocessing.js';

/** The parts that say where pixels go. */
type Geometry = Pick<Preprocessing, 'size' | 'resize' | 'crop' | 'interpolation'>;

/**
 * Which picture is made of an image: `eval` is what the model sees when it is judged or asked (size x size),
 * `canvas` is the whole image squashed to resize x resize, out of which training cuts its random crops; a corner is the
 * window of `eval` there instead of at the centre, as in torchvision's FiveCrop.
 */
export type View = 'eval' | 'canvas' | Corner;

export type Corner = NonNullable<NativeView['corner']>;

/** In FiveCrop's order. */
export const cornerViews: readonly Corner[] = ['top-left', 'top-right', 'bottom-left', 'bottom-right'];

/** Size of the resized image and the square window kept of it, in pixels. */
export interface Placement {
  width: number;
  height: number;
  left: number;
  top: number;
  side: number;
}

/** Height and width, in pixels, of the picture a view gives. */
export function viewSide(preprocessing: Geometry, view: View): number {
  return view === 'canvas' ? preprocessing.resize : preprocessing.size;
}

/** A view as the addon takes it. */
export function nativeView(preprocessing: Geometry, view: View): NativeView {
  const { resize, crop, interpolation } = preprocessing;
  const squash = view === 'canvas' || crop === 'none';
  const corner = view === 'eval' || view === 'canvas' ? {} : { corner: view };
  return { resize, side: viewSide(preprocessing, view), squash, filter: interpolation, ...corner };
}

/**
 * Where an image of `width` x `height` goes. For crop `center` these are torchvision's numbers: the long side is
 * int(resize * long / short) and the window starts at round((length - size) / 2), half to even as Python rounds.
 */
export function place(width: number, height: number, preprocessing: Geometry, view: View): Placement {
  const side = viewSide(preprocessing, view);
  if (view === 'canvas' || preprocessing.crop === 'none') {
    return { width: side, height: side, left: 0, top: 0, side };
  }
  const { resize } = preprocessing;
  const long = Math.floor((resize * Math.max(width, height)) / Math.min(width, height));
  const resized = width <= height ? { width: resize, height: long } : { width: long, height: resize };
  const left = start(resized.width - side, view, 'left', 'right');
  const top = start(resized.height - side, view, 'top', 'bottom');
  return { ...resized, left, top, side };
}

/** Where the window begins that leaves `margin` pixels. */
function start(margin: number, view: View, before: string, behind: string): number {
  if (view.includes(before)) return 0;
  return view.includes(behind) ? margin : roundHalfToEven(margin / 2);
}

function roundHalfToEven(value: number): number {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}
