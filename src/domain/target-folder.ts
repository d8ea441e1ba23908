import type { Dirent } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { compare, invalid } from '../data/dataset.js';
import { imageExtensions } from '../data/folder.js';
import { invalidType, TorchgraftError } from '../errors.js';

/**
 * Paths of all images in a folder and the folders below it, whatever they are called, sorted: a target of
 * {@link adaptDomain}. Hidden files, other extensions and linked folders are passed over.
 *
 * @throws FILE_NOT_FOUND for no such folder, DATA_INVALID for a file and for a folder without images
 */
export async function unlabelledImages(dir: string): Promise<string[]> {
  if (typeof dir !== 'string' || dir === '') throw invalidType('unlabelledImages: expected a folder.');
  const entries = await list(dir);
  const images = entries
    .filter((entry) => !entry.isDirectory() && imageExtensions.includes(extname(entry.name).toLowerCase()))
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name))
    .filter((path) => !/(^|[\\/])\./.test(path.slice(dir.length)))
    .sort(compare);
  if (images.length === 0) throw invalid(`${dir}: no images found.`);
  return images;
}

async function list(dir: string): Promise<Dirent[]> {
  try {
    return await readdir(dir, { recursive: true, withFileTypes: true });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOTDIR') throw invalid(`${dir} is a file: expected a folder of images.`);
    throw new TorchgraftError('FILE_NOT_FOUND', `Cannot read the folder ${dir}: ${code}.`, { cause });
  }
}
