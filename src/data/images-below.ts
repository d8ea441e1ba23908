import type { Dirent } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import { TorchgraftError } from '../errors.js';
import { compare, invalid } from './dataset.js';
import { isHidden } from './directory.js';
import { fileProblem } from './open-file.js';
import { isImageName, PassedOver } from './passed-over.js';

/**
 * Paths of all images in a folder and the folders below it, sorted, by their extensions. Hidden files, other extensions and
 * linked folders are passed over.
 *
 * @param where begins messages
 * @throws FILE_NOT_FOUND for no such folder, DATA_INVALID for a file and for a folder without images
 */
export async function imagesBelow(dir: string, where = ''): Promise<string[]> {
  const passed = new PassedOver();
  const images: string[] = [];
  for (const entry of await list(dir, where)) {
    if (entry.isDirectory()) continue;
    const path = join(entry.parentPath ?? entry.path, entry.name);
    if (relative(dir, path).split(sep).some(isHidden)) passed.hidden++;
    else if (isImageName(entry.name)) images.push(path);
    else passed.addFile(entry.name);
  }
  if (images.length > 0) return images.sort(compare);
  throw invalid(`${where}${dir}: no images found. ${passed.why() || 'It is empty.'}`);
}

async function list(dir: string, where: string): Promise<Dirent[]> {
  try {
    return await readdir(dir, { recursive: true, withFileTypes: true });
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOTDIR') throw invalid(`${where}${dir} is a file: expected a folder of images.`);
    if (code === 'EMFILE' || code === 'ENFILE') throw fileProblem(dir, dir, cause);
    throw new TorchgraftError('FILE_NOT_FOUND', `${where}Cannot read the folder ${dir}: ${code}.`, { cause });
  }
}
