import type { Sharp, SharpOptions } from 'sharp';
import { loadAddon } from '../addon.js';
import { isUint8Array } from '../value-kinds.js';
import type { ImageSize, ImageSource, RawPixels } from './decode.js';
import { nativeView, type Placement, place, type View } from './geometry.js';
import type { Preprocessing } from './preprocessing.js';
import { asBuffer, loadSharp } from './sharp.js';

const readOptions: SharpOptions = {
  // Truncated and damaged files fail, as in PIL; mere warnings do not.
  failOn: 'error',
  // Models were pretrained on the stored values: PIL does not apply colour profiles either.
  ignoreIcc: true,
  // sharp's own limit, 2^28 pixels: a small file cannot claim all memory.
  limitInputPixels: 0x3fff * 0x3fff,
};

/** libvips' triangle and Catmull-Rom kernels, widened when shrinking: PIL's BILINEAR and BICUBIC. */
const kernels = { bilinear: 'linear', bicubic: 'cubic' } as const;

/** Shrunk that much, an image is not kept whole: libvips shrinks it while it is read. */
const muchShrunk = 4;

/**
 * Decodes one image of any kind with sharp, as {@link decodeImage} does.
 *
 * Agreement with torchvision's Resize (antialias) and CenterCrop on PIL images: equal when the image is enlarged or
 * shrunk less than 4 times, as the addon resizes it. Shrunk 4 times or more, libvips first averages whole pixels, and
 * JPEGs are decoded at 1/2, 1/4 or 1/8 size: the mean difference is about 1 level, and single values at sharp edges are
 * up to about 25 off.
 *
 * @throws sharp's errors
 */
export async function decodeWithSharp(
  source: ImageSource,
  preprocessing: Preprocessing,
  view: View,
  target: Uint8Array,
  offset: number,
): Promise<ImageSize> {
  const { image, size, hasAlpha } = await open(source);
  const placement = place(size.width, size.height, preprocessing, view);
  if (Math.min(size.width / placement.width, size.height / placement.height) < muchShrunk) {
    const pixels = isRaw(source) ? source : await decodeWhole(image);
    await loadAddon().resizePixels(pixels, nativeView(preprocessing, view), target, offset);
  } else {
    // sharp would weigh colours by alpha while resizing.
    const opaque = hasAlpha ? read(await decodeWhole(image)) : image;
    await shrinkInto(opaque, placement, preprocessing, target, offset);
  }
  return size;
}

async function open(source: ImageSource): Promise<{ image: Sharp; size: ImageSize; hasAlpha: boolean }> {
  const image = read(source);
  if (isRaw(source)) {
    const { width, height, channels } = source;
    return { image, size: { width, height }, hasAlpha: channels % 2 === 0 };
  }
  image.autoOrient();
  const { autoOrient, hasAlpha } = await image.metadata();
  return { image, size: { width: autoOrient.width, height: autoOrient.height }, hasAlpha };
}

function read(source: ImageSource): Sharp {
  if (!isRaw(source)) return loadSharp()(typeof source === 'string' ? source : asBuffer(source), readOptions);
  const { data, width, height, channels } = source;
  return loadSharp()(asBuffer(data), { ...readOptions, raw: { width, height, channels } });
}

function isRaw(source: ImageSource): source is RawPixels {
  return typeof source !== 'string' && !isUint8Array(source);
}

async function decodeWhole(image: Sharp): Promise<RawPixels> {
  const { data, info } = await image
    .removeAlpha()
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height, channels: info.channels };
}

/**
 * Shrinks and copies the window. It is cut here, not by sharp, because sharp would then leave the rows below it unread
 * and a file truncated there would pass.
 */
async function shrinkInto(
  image: Sharp,
  { width, height, left, top, side }: Placement,
  preprocessing: Preprocessing,
  target: Uint8Array,
  offset: number,
): Promise<void> {
  const kernel = kernels[preprocessing.interpolation];
  const { data, info } = await image
    .resize({ width, height, fit: 'fill', kernel, fastShrinkOnLoad: false })
    .toColourspace('srgb')
    .raw()
    .toBuffer({ resolveWithObject: true });
  for (let y = 0; y < side; y++) {
    const from = ((top + y) * info.width + left) * 3;
    target.set(data.subarray(from, from + side * 3), offset + y * side * 3);
  }
}
