import { existsSync } from 'node:fs';
import { loadAddon } from '../addon.js';
import { messageOf, TorchgraftError } from '../errors.js';
import { isUint8Array } from '../value-kinds.js';
import { decodeWithSharp } from './decode-sharp.js';
import { nativeView, type View } from './geometry.js';
import type { Preprocessing } from './preprocessing.js';

/** Pixels that are already decoded: 8 bits a channel, row by row; grey, grey and alpha, RGB or RGBA. */
export interface RawPixels {
  data: Uint8Array | Uint8ClampedArray;
  /** Pixels. */
  width: number;
  /** Pixels. */
  height: number;
  channels: 1 | 2 | 3 | 4;
}

/** An image: the path of a file, the bytes of a file, or decoded pixels. */
export type ImageSource = string | Uint8Array | RawPixels;

/** Width and height of the original image in pixels, after EXIF orientation. */
export interface ImageSize {
  width: number;
  height: number;
}

/**
 * Decodes one image into `target` at `offset` as RGB bytes [side, side, 3], side being `size` for view `eval` and
 * `resize` for `canvas`, and gives the original's size. JPEGs are decoded by the addon (`binding/jpeg.cc`) where it has
 * libjpeg-turbo, and everything else by sharp; the addon resizes.
 *
 * EXIF orientation is applied, grey becomes three equal channels, an alpha channel is dropped as PIL's
 * `convert('RGB')` drops it (the colours under it stay), CMYK is converted by a colour profile, 16 bits are cut to 8,
 * of an animation the first frame is taken, and colour profiles are ignored.
 *
 * Agreement with torchvision's Resize (antialias) and CenterCrop on PIL images: shrunk less than 4 times or enlarged,
 * equal to the last bit. (Where the height shrinks much more than the width, Pillow 13 resizes rows first; earlier ones
 * resize columns first, as here. That makes 1 level, and more where `bicubic` overshoots.) Shrunk 4 times or more, JPEGs
 * are decoded at 1/2, 1/4 or 1/8 size: the mean difference is 0.2 to 0.5 levels in photographs of 3,000 x 2,000 pixels
 * and up to 2 in small ones, and single values at sharp edges are up to about 25 off. For other images shrunk so much
 * see {@link decodeWithSharp}.
 *
 * @param name what to call an image in errors that is given as bytes: the path that they were read from
 * @throws TorchgraftError `IMAGE_UNREADABLE` for a truncated or non-image file, `FILE_NOT_FOUND` for none; with its path;
 * LIBTORCH_NOT_FOUND and what else the addon cannot be loaded for
 */
export async function decodeImage(
  source: ImageSource,
  preprocessing: Preprocessing,
  view: View,
  target: Uint8Array,
  offset: number,
  name = nameOf(source),
): Promise<ImageSize> {
  const addon = loadAddon();
  try {
    // The addon gives nothing for a damaged or unusual JPEG: sharp has the last word on those.
    const size = mayBeJpeg(source)
      ? await addon.decodeJpeg(source, nativeView(preprocessing, view), target, offset)
      : undefined;
    return size ?? (await decodeWithSharp(source, preprocessing, view, target, offset));
  } catch (error) {
    throw unreadable(name, error, typeof source === 'string' ? source : undefined);
  }
}

function mayBeJpeg(source: ImageSource): source is string | Uint8Array {
  if (typeof source === 'string') return true;
  return isUint8Array(source) && source[0] === 0xff && source[1] === 0xd8;
}

function nameOf(source: ImageSource): string {
  if (typeof source === 'string') return source;
  return isUint8Array(source) ? 'given as bytes' : 'given as raw pixels';
}

/** The error for an image that cannot be read or decoded; `path` where it was asked for by path. */
export function unreadable(name: string, error: unknown, path?: string): TorchgraftError {
  // Of several missing files at a time, sharp calls some unsupported.
  if (path !== undefined && !existsSync(path)) {
    return new TorchgraftError('FILE_NOT_FOUND', `No image at ${name}.`, { cause: error });
  }
  const reason = messageOf(error);
  const hint = 'Expected a whole JPEG, PNG, WebP, TIFF, GIF or AVIF image.';
  return new TorchgraftError('IMAGE_UNREADABLE', `Cannot decode the image ${name}: ${reason}. ${hint}`, {
    cause: error,
  });
}
