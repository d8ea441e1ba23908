import sharp, { type Sharp, type SharpOptions } from 'sharp';
import type { ImageSize, ImageSource } from './decode.js';
import { place, type View } from './geometry.js';
import type { Preprocessing } from './preprocessing.js';

// Many images are decoded at once, one thread each; and no file is read twice soon enough for a cache to pay, while
// a cached file that has changed since would be a wrong answer.
sharp.concurrency(1);
sharp.cache(false);

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

/** Above this many pixels the resized image is not made whole, only its window is (strips of extreme aspect ratio). */
const wholeLimit = 1 << 24;

/**
 * Decodes one image of any kind with sharp, as {@link decodeImage} does.
 *
 * Agreement with torchvision's Resize (antialias) and CenterCrop on PIL images: within 2 grey levels when the image is
 * enlarged or shrunk less than 4 times; with `bicubic`, in 1 or 2 of 10,000 values of photographs up to 15, where it
 * overshoots. Shrunk 4 times or more, JPEGs are decoded at 1/2, 1/4 or 1/8 size and libvips first averages whole
 * pixels: the mean difference is about 1 level, and single values at sharp edges are up to about 25 off.
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
  const opened = await open(source, preprocessing, view);
  await resizeInto(opened, preprocessing, target, offset);
  return opened.size;
}

async function open(source: ImageSource, preprocessing: Preprocessing, view: View) {
  let image = read(source).autoOrient();
  const { autoOrient, hasAlpha, orientation = 1 } = await image.metadata();
  const size = { width: autoOrient.width, height: autoOrient.height };
  const placement = place(size.width, size.height, preprocessing, view);
  const enlarged = placement.width > size.width || placement.height > size.height;
  const shrunk = placement.width < size.width || placement.height < size.height;
  // sharp would weigh colours by alpha while resizing, and turn an enlarged image after resizing, which moves the
  // pixels that resizeInto picks. Both are rare: take alpha and orientation away first, then resize.
  if (hasAlpha || (enlarged && orientation > 1)) image = await intermediate(image.removeAlpha());
  if (enlarged && shrunk) {
    const width = Math.min(size.width, placement.width);
    const height = Math.min(size.height, placement.height);
    image = await intermediate(
      image.resize({ width, height, fit: 'fill', kernel: kernels[preprocessing.interpolation] }),
    );
  }
  return { image, size, placement, enlarged };
}

async function intermediate(image: Sharp): Promise<Sharp> {
  const { data, info } = await image.raw().toBuffer({ resolveWithObject: true });
  return read({ data, ...info });
}

function read(source: ImageSource): Sharp {
  if (typeof source === 'string' || source instanceof Uint8Array) return sharp(source, readOptions);
  const { data, width, height, channels } = source;
  return sharp(data, { ...readOptions, raw: { width, height, channels } });
}

/**
 * Resizes and copies the window. libvips enlarges half an output pixel off PIL's grid, both axes even when only one
 * grows; made twice as large, every second pixel lies exactly on it. The window is cut here, not by sharp, because
 * sharp would then leave the rows below it unread and a file truncated there would pass.
 */
async function resizeInto(
  { image, placement, enlarged }: Awaited<ReturnType<typeof open>>,
  preprocessing: Preprocessing,
  target: Uint8Array,
  offset: number,
): Promise<void> {
  const { side } = placement;
  const step = enlarged ? 2 : 1;
  const width = placement.width * step;
  const height = placement.height * step;
  const kernel = kernels[preprocessing.interpolation];
  let resized = image.resize({ width, height, fit: 'fill', kernel, fastShrinkOnLoad: false });
  let left = placement.left * step;
  let top = placement.top * step;
  if (width * height > wholeLimit) {
    resized = resized.extract({ left, top, width: side * step, height: side * step });
    left = 0;
    top = 0;
  }
  const { data, info } = await resized.toColourspace('srgb').raw().toBuffer({ resolveWithObject: true });
  const first = (top + step - 1) * info.width + left + step - 1;
  for (let y = 0; y < side; y++) {
    copyRow(data, (first + y * step * info.width) * 3, step, target, offset + y * side * 3, side);
  }
}

function copyRow(
  from: Buffer,
  start: number,
  step: number,
  to: Uint8Array,
  at: number,
  pixels: number,
): void {
  if (step === 1) {
    to.set(from.subarray(start, start + pixels * 3), at);
    return;
  }
  for (let x = 0; x < pixels; x++) {
    const source = start + x * step * 3;
    to[at + x * 3] = from[source] as number;
    to[at + x * 3 + 1] = from[source + 1] as number;
    to[at + x * 3 + 2] = from[source + 2] as number;
  }
}
