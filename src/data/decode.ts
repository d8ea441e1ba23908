import { loadAddon } from '../addon.js';
import { isTorchgraftError, TorchgraftError } from '../errors.js';
import { translateNative } from '../native-call.js';
import { isBytes } from '../value-kinds.js';
import { decodeWithSharp } from './decode-sharp.js';
import { nativeView, type View } from './geometry.js';
import { formatWords, requireFormat } from './image-format.js';
import { imageLimits } from './image-limits.js';
import type { PixelRange } from './narrow.js';
import { readRegularFile } from './open-file.js';
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

/** What is made of an image; a pixel range of its own is for who compares patterns alone. */
export type Decoding = Omit<Preprocessing, 'pixelRange'> & { pixelRange?: PixelRange | undefined };

/** Width and height of the original image in pixels, after EXIF orientation. */
export interface ImageSize {
  width: number;
  height: number;
}

/**
 * Decodes one image into `target` at `offset` as RGB bytes [side, side, 3], side being `size` for view `eval` and
 * `resize` for `canvas`, and gives the original's size. JPEGs are decoded by the addon (`binding/jpeg.cc`) where it has
 * libjpeg-turbo, and everything else by sharp, once its first bytes have told that it is a PNG, WebP, TIFF, GIF or AVIF
 * image; the addon resizes.
 *
 * EXIF orientation is applied, grey becomes three equal channels, an alpha channel is dropped as PIL's
 * `convert('RGB')` drops it (the colours under it stay), CMYK is converted by PIL's formula, of an animation the first frame is
 * taken, and colour profiles are ignored. What has more than 8 bits per channel is made 8 by {@link narrowPixels}.
 *
 * Agreement with torchvision's Resize (antialias) and CenterCrop on PIL images: shrunk less than 4 times or enlarged,
 * equal to the last bit. (Where the height shrinks much more than the width, Pillow 13 resizes rows first; earlier ones
 * resize columns first, as here. That makes 1 level, and more where `bicubic` overshoots.) Shrunk 4 times or more, JPEGs
 * are decoded at 1/2, 1/4 or 1/8 size: the mean difference is 0.2 to 0.5 levels in photographs of 3,000 x 2,000 pixels
 * and up to 2 in small ones, and single values at sharp edges are up to about 25 off. For other images shrunk so much
 * see {@link decodeWithSharp}.
 *
 * @param name what to call an image in errors that is given as bytes: the path that they were read from
 * @param maxPixels most width times height; default that of {@link imageLimits}
 * @throws TorchgraftError `IMAGE_UNREADABLE` for a truncated or non-image file, `FILE_NOT_FOUND` for none; with its path;
 * TOO_MANY_FILES, OUT_OF_MEMORY, LIBTORCH_NOT_FOUND and what else the addon cannot be loaded for
 */
export async function decodeImage(
  source: ImageSource,
  preprocessing: Decoding,
  view: View,
  target: Uint8Array,
  offset: number,
  name = nameOf(source),
  maxPixels = imageLimits().maxPixels,
): Promise<ImageSize> {
  const addon = loadAddon();
  try {
    // The addon gives nothing for a damaged or unusual JPEG: sharp has the last word on those.
    const size = mayBeJpeg(source)
      ? await addon.decodeJpeg(source, { ...nativeView(preprocessing, view), maxPixels }, target, offset)
      : undefined;
    if (size) return size;
    const image = typeof source === 'string' ? await readRegularFile(source, name) : source;
    if (isBytes(image)) requireFormat(image, name);
    return await decodeWithSharp(image, preprocessing, view, target, offset, name, maxPixels);
  } catch (error) {
    throw unreadable(name, error);
  }
}

function mayBeJpeg(source: ImageSource): source is string | Uint8Array {
  if (typeof source === 'string') return true;
  return isBytes(source) && source[0] === 0xff && source[1] === 0xd8;
}

function nameOf(source: ImageSource): string {
  if (typeof source === 'string') return source;
  return isBytes(source) ? 'given as bytes' : 'given as raw pixels';
}

/** The error for an image that cannot be decoded. */
function unreadable(name: string, error: unknown): unknown {
  const { code, message } = (error ?? {}) as { code?: unknown; message?: unknown };
  if (isTorchgraftError(error) || code === 'OUT_OF_MEMORY') return translateNative(error);
  const reason = wordsFor(String(message ?? error).trim());
  const hint = `Expected a whole image of one of these: ${formatWords}.`;
  return new TorchgraftError(
    'IMAGE_UNREADABLE',
    `Cannot decode the image ${name}: ${reason.replace(/\.$/, '')}. ${hint}`,
    { cause: error },
  );
}

/** What libvips says in words of its own, or in none that lead on. */
function wordsFor(message: string): string {
  if (message.startsWith('timeout')) {
    return `decoding it took longer than ${imageLimits().maxSeconds} s, the most that \`imageLimits\` allows`;
  }
  if (message.includes('samples out of range'))
    return 'it is a TIFF with numbers of 64 bits, or complex ones';
  // libvips says the same again and again, a line each time.
  return (message.split('\n')[0] as string).trim();
}

/** Whether an error is of the image and not of the machine, so that others may go on without it. */
export function isUnreadable(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: unknown };
  return code === 'IMAGE_UNREADABLE' || code === 'FILE_NOT_FOUND';
}
