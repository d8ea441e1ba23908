import type { Dirent } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { TorchgraftError } from '../errors.js';
import { compare } from './dataset.js';
import { fileProblem } from './open-file.js';
import { isImageName } from './passed-over.js';

/** What archives and operating systems leave behind. */
const junk = new Set(['__MACOSX', '@eaDir', '$RECYCLE.BIN', 'System Volume Information', 'lost+found']);

export function isHidden(name: string): boolean {
  return name.startsWith('.') || junk.has(name);
}

/** What a folder holds directly. */
export interface Directory {
  path: string;
  /** Names of the visible folders, links to folders included, sorted. */
  folders: string[];
  /** Visible files with the extension of an image. */
  images: number;
}

/** @throws FILE_NOT_FOUND, DATA_INVALID for a file */
export async function lookInto(path: string): Promise<Directory> {
  const folders: string[] = [];
  let images = 0;
  for (const entry of await listEntries(path)) {
    if (isHidden(entry.name)) continue;
    if (await isFolder(path, entry)) folders.push(entry.name);
    else if (isImageName(entry.name)) images++;
  }
  return { path, folders, images };
}

async function isFolder(path: string, entry: Dirent): Promise<boolean> {
  if (!entry.isSymbolicLink()) return entry.isDirectory();
  const linked = await stat(join(path, entry.name)).catch(() => undefined);
  return linked?.isDirectory() ?? false;
}

/** What a folder holds, sorted by name. @throws FILE_NOT_FOUND, DATA_INVALID for a file */
export async function listEntries(path: string): Promise<Dirent[]> {
  try {
    const entries = await readdir(path, { withFileTypes: true });
    return entries.sort((a, b) => compare(a.name, b.name));
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOTDIR') {
      throw new TorchgraftError('DATA_INVALID', `${path} is a file: expected a folder of class folders.`, {
        cause,
      });
    }
    if (code === 'EMFILE' || code === 'ENFILE') throw fileProblem(path, path, cause);
    const why = path.includes('\uFFFD') ? 'a name in it is not UTF-8. Rename it' : code;
    throw new TorchgraftError('FILE_NOT_FOUND', `Cannot read the folder ${path}: ${why}.`, { cause });
  }
}
