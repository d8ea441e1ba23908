import type { Metadata, Sharp, SharpOptions } from 'sharp';
import { loadAddon } from '../addon.js';
import { TorchgraftError } from '../errors.js';
import { isBytes } from '../value-kinds.js';
import { type Decoding, type ImageSize, type ImageSource, type RawPixels } from './decode.js';
import { nativeView, type Placement, place, type View } from './geometry.js';
import { withoutTransparency } from './gif.js';
import { imageLimits } from './image-limits.js';
import { type Depth, isDepth, narrowPixels, type PixelRange, rgbOfCmyk } from './narrow.js';
import type { Preprocessing } from './preprocessing.js';
import { asBuffer, loadSharp } from './sharp.js';

const readOptions: SharpOptions = {
  // Truncated and damaged files fail, as in PIL; mere warnings do not.
  failOn: 'error',
  // Models were pretrained on the stored values: PIL does not apply colour profiles either.
  ignoreIcc: true,
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
 * @throws IMAGE_UNREADABLE for too many pixels, channels, or numbers whose range is in doubt; sharp's errors
 */
export async function decodeWithSharp(
  source: ImageSource,
  preprocessing: Decoding,
  view: View,
  target: Uint8Array,
  offset: number,
  name = 'given',
  maxPixels = imageLimits().maxPixels,
): Promise<ImageSize> {
  const { image, size, pixels, hasAlpha } = await open(source, preprocessing.pixelRange, name, maxPixels);
  const placement = place(size.width, size.height, preprocessing, view);
  if (Math.min(size.width / placement.width, size.height / placement.height) < muchShrunk) {
    const whole = pixels ?? (await decodeWhole(image));
    await loadAddon().resizePixels(whole, nativeView(preprocessing, view), target, offset);
  } else {
    // sharp would weigh colours by alpha while resizing.
    const opaque = hasAlpha ? readRaw(await decodeWhole(image)) : image;
    await shrinkInto(opaque, placement, preprocessing, target, offset);
  }
  return size;
}

/** An image whose numbers mean what PIL's do. */
interface Opened {
  image: Sharp;
  size: ImageSize;
  hasAlpha: boolean;
  /** Where they are decoded already. */
  pixels?: RawPixels;
}

async function open(
  source: ImageSource,
  range: PixelRange | undefined,
  name: string,
  maxPixels: number,
): Promise<Opened> {
  if (typeof source !== 'string' && !isBytes(source)) return openRaw(source);
  const given = typeof source === 'string' ? source : withoutTransparency(asBuffer(source));
  const header = await loadSharp()(given, { ...readOptions, limitInputPixels: false }).metadata();
  refuseUnusual(header, name, maxPixels);
  const image = loadSharp()(given, { ...readOptions, limitInputPixels: maxPixels });
  image.autoOrient().timeout({ seconds: imageLimits().maxSeconds });
  const { depth, space, hasAlpha, autoOrient } = header;
  if (depth === 'uchar' && space !== 'cmyk') return { image, size: autoOrient, hasAlpha };
  return openRaw(await convert(image, header, range, name));
}

function openRaw(pixels: RawPixels): Opened {
  const { width, height, channels } = pixels;
  return { image: readRaw(pixels), pixels, size: { width, height }, hasAlpha: channels % 2 === 0 };
}

function readRaw({ data, width, height, channels }: RawPixels): Sharp {
  return loadSharp()(asBuffer(data), {
    ...readOptions,
    limitInputPixels: false,
    raw: { width, height, channels },
  });
}

/** By the header, before any pixel is decoded. */
function refuseUnusual({ width, height, channels, space, depth }: Metadata, name: string, maxPixels: number) {
  if (width * height > maxPixels) {
    throw refusal(
      name,
      `it has ${width} x ${height} pixels, ${width * height} in all, and ${maxPixels} are the most (\`maxPixels\`)`,
    );
  }
  if (channels > (space === 'cmyk' ? 5 : 4)) {
    throw refusal(
      name,
      `it has ${channels} channels, and images have 4 at most. Keep three of them, as red, green and blue`,
    );
  }
  // sharp makes whole numbers without a sign of all that libvips counts among the 16-bit images: halves and signed ones too.
  const isCut = /^(grey|rgb)16$/.test(space) && depth !== 'ushort';
  if (isCut || !isDepth(depth)) {
    const kind = depth === 'float' ? 'floating-point' : depth === 'short' ? 'signed' : `of kind ${depth}`;
    throw refusal(name, `its ${isCut ? '16-bit ' : ''}numbers are ${kind}. ${convertFirst}`);
  }
}

const convertFirst = 'Convert it to 8 bits per channel with the range that you mean';

/** Pixels that sharp itself would make 8-bit RGB in another way than PIL: it cuts floating-point numbers to whole ones first. */
async function convert(
  image: Sharp,
  { space, depth }: Metadata,
  range: PixelRange | undefined,
  name: string,
): Promise<RawPixels> {
  const { data, info } = await image
    .removeAlpha()
    .pipelineColourspace(space)
    .toColourspace(space)
    .raw({ depth: depth as Depth })
    .toBuffer({ resolveWithObject: true });
  const narrow = narrowPixels(data, depth as Depth, range);
  if (typeof narrow === 'string') {
    throw refusal(
      name,
      `${narrow}. Say what is black and white (\`pixelRange\`, --pixel-range 0,4095 for 12 bits), or convert it to 8 bits per channel`,
    );
  }
  const { width, height, channels } = info;
  if (space === 'cmyk') return { ...rgbOfCmyk(narrow, channels), width, height };
  return { data: narrow, width, height, channels: channels as 1 | 3 };
}

function refusal(name: string, reason: string): TorchgraftError {
  return new TorchgraftError('IMAGE_UNREADABLE', `Cannot decode the image ${name}: ${reason}.`);
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
  preprocessing: Pick<Preprocessing, 'interpolation'>,
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
