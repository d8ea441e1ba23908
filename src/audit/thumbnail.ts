import { decodeImage } from '../data/decode.js';
import { completePreprocessing } from '../data/preprocessing.js';
import { GreyImage, type Window, whole } from './grey-image.js';
import { crops, insideBorder, plainWindows } from './windows.js';

/** Side of the kept grey images, pixels; the image is squashed to a square. */
export const side = 48;

/** Side that images are decoded at: its blocks of 8 x 9 pixels are the 9 x 8 that the hash compares. */
const decodedSide = 72;
/** Hash and likeness do not change with brightness. */
const preprocessing = {
  ...completePreprocessing({ size: decodedSide, resize: decodedSide }),
  pixelRange: 'own' as const,
};

/**
 * dHash, 64 bits as two numbers of 32: whether each of 8 x 8 places is darker than the one right of it (Krawetz, Kind of
 * Like That, 2013).
 */
export type Hash = [number, number];

/** A window of an image, and its hashes. */
export interface HashedWindow {
  window: Window;
  hash: Hash;
  /** Of the mirrored image. */
  mirrored: Hash;
}

/** What is compared of an image. */
export interface Thumbnail {
  /** All of it, and what is inside its border where it has one. */
  plain: HashedWindow[];
  /** Parts of it, as a cropped copy shows. */
  crops: HashedWindow[];
  /** Luma, [side, side]. */
  grey: Uint8Array;
}

/**
 * Decodes an image small and hashes it.
 *
 * @throws TorchgraftError `IMAGE_UNREADABLE` or `FILE_NOT_FOUND` with the path
 */
export async function readThumbnail(path: string): Promise<Thumbnail> {
  const rgb = new Uint8Array(decodedSide * decodedSide * 3);
  await decodeImage(path, preprocessing, 'canvas', rgb, 0);
  const luma = new Float32Array(decodedSide * decodedSide);
  for (let at = 0; at < luma.length; at++) {
    luma[at] =
      0.299 * (rgb[at * 3] as number) +
      0.587 * (rgb[at * 3 + 1] as number) +
      0.114 * (rgb[at * 3 + 2] as number);
  }
  const image = new GreyImage(luma, decodedSide);
  const hashed = (window: Window): HashedWindow => ({
    window,
    hash: differenceHash(image.means(window, 9, 8)),
    mirrored: differenceHash(image.means(window, 9, 8, true)),
  });
  return {
    plain: plainWindows(insideBorder(luma, decodedSide)).map(hashed),
    crops: crops.map(hashed),
    grey: Uint8Array.from(image.means(whole, side, side), Math.round),
  };
}

/** Of 9 x 8 means. */
function differenceHash(means: Float32Array): Hash {
  const hash: Hash = [0, 0];
  for (let bit = 0; bit < 64; bit++) {
    const at = Math.floor(bit / 8) * 9 + (bit % 8);
    if ((means[at] as number) < (means[at + 1] as number))
      hash[bit >> 5] = (hash[bit >> 5] as number) | (1 << (bit & 31));
  }
  return hash;
}
