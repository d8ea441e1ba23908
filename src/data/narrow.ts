import type { RawPixels } from './decode.js';

/** How sharp calls the numbers that pixels are made of, and how they lie in memory. */
const arrays = {
  uchar: Uint8Array,
  char: Int8Array,
  ushort: Uint16Array,
  short: Int16Array,
  uint: Uint32Array,
  int: Int32Array,
  float: Float32Array,
  double: Float64Array,
} as const;

export type Depth = keyof typeof arrays;
type Numbers = InstanceType<(typeof arrays)[Depth]>;

/** Of 14 bits. A 16-bit image that stays below has another range than that of 16 bits, or is rather dark. */
const fourteenBits = 16_383;

/** Black and white; `own`: the least and the most of each image, for who compares patterns alone. */
export type PixelRange = readonly [number, number] | 'own';

export function isDepth(depth: string): depth is Depth {
  return Object.hasOwn(arrays, depth);
}

/**
 * Pixels of more than 8 bits per channel as 8 bits: with `range`, from black to white, and what is beyond as either. Without, by
 * one rule for all images, so that two images of a set keep their relation: of 16 bits the upper 8; floating-point numbers of 0 to
 * 1 times 255, those of 0 to 255 as they are, rounded; other whole numbers as they are. Pixels alone do not tell any other
 * range, and where it is in doubt a text says why: PIL cuts such numbers off at 255.
 */
export function narrowPixels(data: Buffer, depth: Depth, range?: PixelRange): Uint8Array | string {
  const numbers = numbersOf(data, depth);
  if (depth === 'uchar') return numbers as Uint8Array;
  const { least, most } = rangeOf(numbers);
  if (range !== undefined) return stretch(numbers, range === 'own' ? [least, most] : range);
  if (depth === 'ushort') {
    if (most > fourteenBits || most === 0) return Uint8Array.from(numbers, (value) => value >> 8);
    return `its 16-bit numbers reach only ${most} of 65535, so that they may be of 14 bits or fewer`;
  }
  const isReal = depth === 'float' || depth === 'double';
  const kind = isReal ? 'floating-point' : 'whole';
  if (!(least >= 0 && most <= 255)) {
    const range = Number.isFinite(least) && Number.isFinite(most) ? `${least} to ${most}` : 'not all finite';
    return `its ${kind} numbers are ${range}, and only ${isReal ? '0 to 1, or ' : ''}0 to 255, has one meaning`;
  }
  const factor = isReal && most <= 1 ? 255 : 1;
  return Uint8Array.from(numbers, (value) => Math.round(value * factor));
}

function stretch(numbers: Numbers, [black, white]: readonly [number, number]): Uint8Array {
  const factor = white > black ? 255 / (white - black) : 0;
  // What is no number is black.
  const grey = (value: number) => Math.min(255, Math.max(0, Math.round((value - black) * factor))) || 0;
  return Uint8Array.from(numbers, grey);
}

function numbersOf(data: Buffer, depth: Depth): Numbers {
  const { BYTES_PER_ELEMENT: bytes } = arrays[depth];
  // A view must begin at a multiple of its numbers' size.
  const aligned = data.byteOffset % bytes === 0 ? data : new Uint8Array(data);
  return new arrays[depth](aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / bytes);
}

/** NaN is in no range. */
function rangeOf(numbers: Numbers): { least: number; most: number } {
  let least = Number.POSITIVE_INFINITY;
  let most = Number.NEGATIVE_INFINITY;
  for (const value of numbers) {
    if (!Number.isFinite(value)) return { least: Number.NaN, most: Number.NaN };
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return { least, most };
}

/** Cyan, magenta, yellow and black as RGB by PIL's formula, without a colour profile. `stride` bytes a pixel. */
export function rgbOfCmyk(cmyk: Uint8Array, stride: number): Pick<RawPixels, 'data' | 'channels'> {
  const pixels = cmyk.length / stride;
  const data = new Uint8Array(pixels * 3);
  for (let pixel = 0; pixel < pixels; pixel++) {
    const white = 255 - (cmyk[pixel * stride + 3] as number);
    for (let channel = 0; channel < 3; channel++) {
      const product = (cmyk[pixel * stride + channel] as number) * white + 128;
      data[pixel * 3 + channel] = Math.max(0, white - (((product >> 8) + product) >> 8));
    }
  }
  return { data, channels: 3 };
}
