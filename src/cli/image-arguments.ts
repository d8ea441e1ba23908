import { existsSync, statSync } from 'node:fs';
import { isUnreadable } from '../data/decode.js';
import { imagesBelow } from '../data/images-below.js';
import { TorchgraftError } from '../errors.js';
import { filesLike, isGlob } from './glob.js';

/** An argument of which nothing came, or an image of which no answer came. */
export interface Failure {
  /** As it was given, or the path of the image. */
  image: string;
  code: string;
  reason: string;
}

/** Files by name, all images in a folder, and what a glob fits; paths of the images, in order, and what came to nothing. */
export async function imagesOf(given: readonly string[]): Promise<{ paths: string[]; failed: Failure[] }> {
  const paths: string[] = [];
  const failed: Failure[] = [];
  for (const one of given) {
    try {
      for (const path of await expand(one)) paths.push(path);
    } catch (error) {
      failed.push(failureOf(one, error));
    }
  }
  return { paths, failed };
}

async function expand(given: string): Promise<string[]> {
  if (existsSync(given)) return statSync(given).isDirectory() ? imagesBelow(given) : [given];
  if (!isGlob(given)) return [given];
  const files = await filesLike(given);
  if (files.length > 0) return files;
  throw new TorchgraftError('FILE_NOT_FOUND', `No file fits ${given}.`);
}

/** @throws the error itself, where it is not of this image alone */
export function failureOf(image: string, error: unknown): Failure {
  const { code, message } = error as TorchgraftError;
  if (!isUnreadable(error) && code !== 'DATA_INVALID') throw error;
  return { image, code, reason: message };
}
