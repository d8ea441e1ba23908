import type { Sharp } from 'sharp';
import { requireFormat } from '../data/image-format.js';
import { imageLimits } from '../data/image-limits.js';
import { readRegularFile } from '../data/open-file.js';
import { asBuffer, loadSharp } from '../data/sharp.js';
import type { Occlusion } from './occlusion.js';

/** Side of a picture in the report, pixels. */
const pictureSide = 128;

/** The glow of an occlusion map. */
const glow = { r: 255, g: 96, b: 24 };
/** How much the deepest glow covers. */
const deepest = 0.8;
/** A map whose largest drop is below this stays faint: its differences are noise. */
const faintDrop = 0.05;

/** An image as the model saw it, RGB [size, size, 3], as a data: URI. */
export async function drawPicture(pixels: Uint8Array, size: number): Promise<string> {
  return toUri(shrink(pixels, size));
}

/** A file's image, cropped to a square, as a data: URI; undefined where it cannot be read any more. */
export async function drawFile(path: string): Promise<string | undefined> {
  try {
    const bytes = await readRegularFile(path);
    requireFormat(bytes, path);
    const { maxPixels: limitInputPixels } = imageLimits();
    return await toUri(loadSharp()(bytes, { limitInputPixels }).rotate().resize(pictureSide, pictureSide));
  } catch {
    return undefined;
  }
}

/** An image in grey, glowing where covering it takes probability from the class. */
export async function drawOcclusion(pixels: Uint8Array, size: number, map: Occlusion): Promise<string> {
  const largest = map.drops.reduce((most, drop) => Math.max(most, drop), faintDrop);
  const values = map.drops.map((drop) => drop / largest);
  return drawGlow(pixels, size, { values, width: map.side, height: map.side });
}

/** The same in grey, glowing by values from 0 to 1, row-major [height, width]. */
export async function drawGlow(
  pixels: Uint8Array,
  size: number,
  { values, width, height }: { values: Float32Array; width: number; height: number },
): Promise<string> {
  const rgba = Buffer.alloc(values.length * 4);
  for (const [place, value] of values.entries()) {
    rgba.set([glow.r, glow.g, glow.b, Math.round(255 * deepest * value)], place * 4);
  }
  const overlay = await loadSharp()(asBuffer(rgba), { raw: { width, height, channels: 4 } })
    .resize(pictureSide, pictureSide, { kernel: 'cubic', fit: 'fill' })
    .png()
    .toBuffer();
  const grey = await shrink(pixels, size).modulate({ saturation: 0.15 }).png().toBuffer();
  return toUri(loadSharp()(grey).composite([{ input: overlay }]));
}

function shrink(pixels: Uint8Array, size: number): Sharp {
  return loadSharp()(asBuffer(pixels), { raw: { width: size, height: size, channels: 3 } }).resize(
    pictureSide,
    pictureSide,
  );
}

async function toUri(image: Sharp): Promise<string> {
  const jpeg = await image.flatten().jpeg({ quality: 82 }).toBuffer();
  return `data:image/jpeg;base64,${jpeg.toString('base64')}`;
}
