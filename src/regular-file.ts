import type { Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { TorchgraftError } from './errors.js';

/**
 * Whether there is a file to read: a pipe would be waited for without end, and a device may have none.
 *
 * @param noun what it should be, for the message: `model`
 * @throws FILE_NOT_FOUND
 */
export async function requireFile(path: string, noun: string): Promise<Stats> {
  const status = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    throw new TorchgraftError('FILE_NOT_FOUND', missing(path, noun, cause), { cause });
  });
  if (status.isFile()) return status;
  throw new TorchgraftError('FILE_NOT_FOUND', `${path} is ${typeName(status)}, not a ${noun} file.`);
}

function missing(path: string, noun: string, { code, message }: NodeJS.ErrnoException): string {
  if (/^https?:\/\//.test(path)) return `No ${noun} at ${path}: torchgraft reads files. Download it first.`;
  if (code === 'ENOENT' || code === 'ENOTDIR') return `No ${noun} at ${path}.`;
  if (code === 'EACCES' || code === 'EPERM') return `${path} cannot be read: permission denied.`;
  return `No ${noun} can be read at ${path}: ${message}.`;
}

function typeName(status: Stats): string {
  if (status.isDirectory()) return 'a folder';
  if (status.isFIFO()) return 'a pipe';
  if (status.isSocket()) return 'a socket';
  return 'a device';
}
