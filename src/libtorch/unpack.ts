import { createWriteStream, mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { type Entry, openPromise } from 'yauzl';
import type { OnBytes } from './download.js';

/** Parts of libtorch that serve Python or libtorch's own tests. */
const unneeded = /^lib\/(libtorch_python|libshm|.*_test\.|.*_with_compiler\.|libaoti_custom_ops)/;

/** Where an entry of a wheel (torch/…) or an archive (libtorch/…) goes, or undefined when it is not needed. */
export function neededPath(name: string): string | undefined {
  const path = /^(?:torch|libtorch)\/(.*[^/])$/.exec(name)?.[1];
  if (!path || unneeded.test(path)) return undefined;
  if (/^lib\/[^/]+\.so[.\d]*$/.test(path) || path.startsWith('include/')) return path;
  return path === 'version.py' || path === 'build-version' ? path : undefined;
}

/** Unpacks what is needed of a wheel or archive into `directory`, one stream after the other. */
export async function unpackArchive(file: string, directory: string, onBytes: OnBytes): Promise<void> {
  const zip = await openPromise(file, { autoClose: false });
  try {
    const needed: { entry: Entry; target: string }[] = [];
    for await (const entry of zip.eachEntry()) {
      const path = neededPath(entry.fileName);
      if (path) needed.push({ entry, target: join(directory, path) });
    }
    const total = needed.reduce((sum, { entry }) => sum + entry.uncompressedSize, 0);
    let done = 0;
    for (const { entry, target } of needed) {
      mkdirSync(dirname(target), { recursive: true });
      const stream = await zip.openReadStreamPromise(entry);
      stream.on('data', (piece: Buffer) => {
        done += piece.length;
        onBytes(done, total);
      });
      await pipeline(stream, createWriteStream(target));
    }
  } finally {
    zip.close();
  }
}
