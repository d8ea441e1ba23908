import { readdir, stat, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { checkOptions } from './options.js';

/** A file of the user cache. */
export interface CacheFile {
  path: string;
  /** Size on the disk. */
  bytes: number;
  /** When a run last used it. */
  lastUsed: Date;
}

const clearOptions = z.strictObject({ olderThanDays: z.number().min(0).default(0) });

/** - `olderThanDays`: only what was last used more than so many days ago; default 0: all */
export type ClearOptions = z.input<typeof clearOptions>;

/** The files of a folder whose names end so, the last used first; none where there is no such folder. */
export async function cacheFiles(folder: string, ending: string): Promise<CacheFile[]> {
  const names = (await readdir(folder).catch(ignoreMissing)) ?? [];
  const paths = names.filter((name) => name.endsWith(ending)).map((name) => join(folder, name));
  const files = await Promise.all(paths.map(inspectFile));
  return files
    .filter((file) => file !== undefined)
    .sort((a, b) => b.lastUsed.getTime() - a.lastUsed.getTime() || a.path.localeCompare(b.path));
}

/** Undefined for what is no file, or was removed meanwhile. */
async function inspectFile(path: string): Promise<CacheFile | undefined> {
  const status = await stat(path).catch(ignoreMissing);
  return status?.isFile() ? { path, bytes: status.size, lastUsed: status.mtime } : undefined;
}

/** Removes a file. Another process may have been first; that is as good. */
export async function removeCacheFile({ path }: CacheFile): Promise<void> {
  await unlink(path).catch(ignoreMissing);
}

/**
 * Removes those of the files that are old enough.
 *
 * @returns what was removed
 */
export async function clearCacheFiles<File extends CacheFile>(
  list: () => Promise<File[]>,
  options: ClearOptions | undefined,
  where: string,
): Promise<File[]> {
  const { olderThanDays } = checkOptions(clearOptions, options, where);
  const latest = Date.now() - olderThanDays * 86_400_000;
  const files = await list();
  const removed = olderThanDays > 0 ? files.filter(({ lastUsed }) => lastUsed.getTime() < latest) : files;
  for (const file of removed) await removeCacheFile(file);
  return removed;
}

/** Where a file is in the way of a folder, nothing is in that folder either. */
function ignoreMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== 'ENOENT' && error.code !== 'ENOTDIR') throw error;
  return undefined;
}
