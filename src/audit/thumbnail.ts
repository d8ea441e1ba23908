import { decodeImage } from '../data/decode.js';
import { completePreprocessing } from '../data/preprocessing.js';

/** Side of the kept grey images, pixels; the image is squashed to a square. */
export const side = 36;

/** Side that images are decoded at, twice that: its blocks of 8 x 9 pixels are the 9 x 8 that the hash compares. */
const decodedSide = 72;
/** Hash and likeness do not change with brightness. */
const preprocessing = {
  ...completePreprocessing({ size: decodedSide, resize: decodedSide }),
  pixelRange: 'own' as const,
};

/** What is compared of an image. */
export interface Thumbnail {
  /**
   * dHash, 64 bits as two numbers of 32: whether each of 8 x 8 places is darker than the one right of it (Krawetz, Kind of
   * Like That, 2013).
   */
  hash: [number, number];
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
  return { hash: differenceHash(shrink(luma, 8, 9)), grey: Uint8Array.from(shrink(luma, 2, 2), Math.round) };
}

/** Means of blocks of the decoded image, [decodedSide / height, decodedSide / width]. */
function shrink(luma: Float32Array, width: number, height: number): Float32Array {
  const columns = decodedSide / width;
  const means = new Float32Array((columns * decodedSide) / height);
  for (let at = 0; at < luma.length; at++) {
    const row = Math.floor(Math.floor(at / decodedSide) / height);
    const place = row * columns + Math.floor((at % decodedSide) / width);
    means[place] = (means[place] as number) + (luma[at] as number) / (width * height);
  }
  return means;
}

/** Of 9 x 8 means. */
function differenceHash(means: Float32Array): [number, number] {
  const hash: [number, number] = [0, 0];
  for (let bit = 0; bit < 64; bit++) {
    const at = Math.floor(bit / 8) * 9 + (bit % 8);
    if ((means[at] as number) < (means[at + 1] as number))
      hash[bit >> 5] = (hash[bit >> 5] as number) | (1 << (bit & 31));
  }
  return hash;
}
