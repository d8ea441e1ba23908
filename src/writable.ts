import { randomBytes } from 'node:crypto';
import { mkdir, open, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { listFolder } from './atomic-file.js';
import { TorchgraftError } from './errors.js';
import { asSystemError, explainSystemError } from './system-error.js';

/**
 * Refuses a folder into which no file can be written, before a long computation whose result would be lost. It is made and
 * written to for a moment; what was not there is gone again.
 *
 * @throws FILE_UNWRITABLE
 */
export async function requireWritableFolder(folder: string): Promise<void> {
  const made: string[] = [];
  try {
    // One by one: where a file system takes none, as /proc, Node's recursive mkdir never ends.
    for (const path of await missingFolders(resolve(folder))) {
      await mkdir(path);
      made.unshift(path);
    }
    await tryFile(folder);
  } catch (error) {
    throw await unwritable(folder, error);
  } finally {
    for (const path of made) await rmdir(path).catch(() => undefined);
  }
}

/** Folders on the way to this one that are not there, the outermost first. */
async function missingFolders(folder: string): Promise<string[]> {
  const missing: string[] = [];
  for (let path = folder; ; path = dirname(path)) {
    const isThere = await stat(path).catch((error) => error.code !== 'ENOENT');
    if (isThere || path === dirname(path)) return missing;
    missing.unshift(path);
  }
}

/**
 * The same of a file in a folder that must exist.
 *
 * @throws FILE_NOT_FOUND when its folder does not exist; FILE_UNWRITABLE
 */
export async function requireWritableFile(path: string): Promise<void> {
  const there = await stat(path).catch(() => undefined);
  if (there?.isDirectory()) {
    throw new TorchgraftError('FILE_UNWRITABLE', `${path} is a folder. Give the path of a file.`);
  }
  await listFolder(dirname(path));
  try {
    await tryFile(dirname(path));
  } catch (error) {
    throw await unwritable(path, error);
  }
}

async function tryFile(folder: string): Promise<void> {
  const path = join(folder, `.torchgraft-${process.pid}-${randomBytes(6).toString('hex')}.tmp`);
  const file = await open(path, 'wx');
  await file.close();
  await rm(path);
}

async function unwritable(path: string, cause: unknown): Promise<unknown> {
  const system = asSystemError(cause);
  if (!system) return cause;
  const obstacle = await fileOnTheWay(resolve(path));
  const message =
    obstacle === undefined
      ? explainSystemError({ ...system, path, call: 'write' })
      : `${obstacle === resolve(path) ? `${path} is a file` : `${path} lies below ${obstacle}, which is a file`}. ` +
        'Name a folder elsewhere.';
  return new TorchgraftError('FILE_UNWRITABLE', message, { cause });
}

/** The file in the place of a folder; undefined where there is none. */
async function fileOnTheWay(path: string): Promise<string | undefined> {
  for (let at = path; ; at = dirname(at)) {
    const there = await stat(at).catch(() => undefined);
    if (there) return there.isDirectory() ? undefined : at;
    if (at === dirname(at)) return undefined;
  }
}
