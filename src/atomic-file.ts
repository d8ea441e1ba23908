import { randomBytes } from 'node:crypto';
import { open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { cleaningUp, cleanUp } from './clean-up.js';
import { isTorchgraftError, TorchgraftError } from './errors.js';
import { asSystemError, explainSystemError } from './system-error.js';

/**
 * Replaces a file as one act: whatever happens, power loss included, `path` holds either the old content or the
 * whole new one. The new content is written to a hidden file in the same folder, flushed to the disk, and renamed.
 * Temporary files that killed processes left behind for this path are removed first.
 *
 * @param path file to write; its folder must exist
 * @param write writes the whole content to the path it is given
 * @throws FILE_NOT_FOUND when the folder does not exist; FILE_UNWRITABLE when the file system refuses; else what `write`
 * threw, with the old file as it was and the temporary file removed
 */
export async function writeAtomically(
  path: string,
  write: (temporaryPath: string) => Promise<void>,
): Promise<void> {
  const folder = dirname(path);
  await removeLeftovers(folder, basename(path));
  const unique = randomBytes(6).toString('hex');
  const temporary = join(folder, `.${basename(path)}.${process.pid}.${unique}.tmp`);
  try {
    await write(temporary);
    await flush(temporary, 'r+');
    await rename(temporary, path);
  } catch (error) {
    await cleanUp(() => rm(temporary, { force: true }), true);
    throw asUnwritable(error, path, temporary);
  }
  // Windows cannot flush a folder.
  if (process.platform !== 'win32') await flush(folder, 'r');
}

/** The file system's refusal, of the file that was asked for. */
function asUnwritable(error: unknown, path: string, temporary: string): unknown {
  if (isTorchgraftError(error, 'FILE_UNWRITABLE')) {
    const message = error.message.replaceAll(temporary, path);
    return new TorchgraftError('FILE_UNWRITABLE', message, { cause: error.cause });
  }
  const system = asSystemError(error);
  if (!system) return error;
  const message = explainSystemError({ ...system, path, call: 'write' });
  return new TorchgraftError('FILE_UNWRITABLE', message, { cause: error });
}

async function flush(path: string, mode: 'r' | 'r+'): Promise<void> {
  const handle = await open(path, mode);
  await cleaningUp(
    () => handle.sync(),
    () => handle.close(),
  );
}

async function removeLeftovers(folder: string, name: string): Promise<void> {
  const prefix = `.${name}.`;
  for (const entry of await listFolder(folder)) {
    if (!entry.startsWith(prefix)) continue;
    const pid = /^(\d+)\.[0-9a-f]{12}\.tmp$/.exec(entry.slice(prefix.length))?.[1];
    const leftover = join(folder, entry);
    if (pid !== undefined && (await isAbandoned(leftover, Number(pid)))) await rm(leftover, { force: true });
  }
}

/** Names in the folder that is to be written into. @throws FILE_NOT_FOUND */
export async function listFolder(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (cause) {
    throw new TorchgraftError(
      'FILE_NOT_FOUND',
      `Cannot write into the folder ${folder}: it does not exist or cannot be read. Create it first.`,
      { cause },
    );
  }
}

/** Whether no process can still be writing the file. */
async function isAbandoned(path: string, pid: number): Promise<boolean> {
  if (pid !== process.pid) return !isRunning(pid);
  // In a container every run may get the same pid: what was last written before this process began is not ours.
  const processStart = Date.now() - process.uptime() * 1000;
  const written = await stat(path).catch(() => undefined);
  return written !== undefined && written.mtimeMs < processStart - 1000;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it runs, as another user.
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
