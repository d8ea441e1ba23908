import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { unreadable } from './decode.js';

/** An image file, read once. */
export interface ImageFile {
  path: string;
  bytes: Buffer;
  /** SHA-256 of the bytes, 32 bytes. */
  digest: Buffer;
}

/**
 * Reads an image file and hashes it, for whoever has to know what it holds before decoding it:
 * `decodeImage(file.bytes, preprocessing, view, target, offset, file.path)`.
 *
 * @throws TorchgraftError `FILE_NOT_FOUND` or `IMAGE_UNREADABLE` with the path
 */
export async function readImageFile(path: string): Promise<ImageFile> {
  try {
    const bytes = await readFile(path);
    return { path, bytes, digest: createHash('sha256').update(bytes).digest() };
  } catch (error) {
    throw unreadable(path, error);
  }
}
