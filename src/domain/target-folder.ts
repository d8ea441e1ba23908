import { imagesBelow } from '../data/images-below.js';
import { invalidType } from '../errors.js';

/**
 * Paths of all images in a folder and the folders below it, whatever they are called, sorted: a target of
 * {@link adaptDomain}. Hidden files, other extensions and linked folders are passed over.
 *
 * @throws FILE_NOT_FOUND for no such folder, DATA_INVALID for a file and for a folder without images
 */
export async function unlabelledImages(dir: string): Promise<string[]> {
  if (typeof dir !== 'string' || dir === '') throw invalidType('unlabelledImages: expected a folder.');
  return imagesBelow(dir);
}
