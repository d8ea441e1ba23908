import { createHash, webcrypto } from 'node:crypto';
import { readRegularFile } from './open-file.js';

/** Larger files take over half a millisecond to hash: that is not done on the event loop. */
const largeBytes = 2 ** 20;

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
 * @throws TorchgraftError `FILE_NOT_FOUND`, `IMAGE_UNREADABLE` or `TOO_MANY_FILES` with the path
 */
export async function readImageFile(path: string): Promise<ImageFile> {
  const bytes = await readRegularFile(path);
  const digest =
    bytes.length < largeBytes
      ? createHash('sha256').update(bytes).digest()
      : Buffer.from(await webcrypto.subtle.digest('SHA-256', bytes));
  return { path, bytes, digest };
}
