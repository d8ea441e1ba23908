import {
  close,
  constants,
  fstat,
  open,
  read as readCallback,
  readlinkSync,
  type Stats,
  statSync,
} from 'node:fs';
import { promisify } from 'node:util';
import { isTorchgraftError, TorchgraftError } from '../errors.js';

// Callbacks take two thirds of the time of fs.promises.
const openFile = promisify(open);
const closeFile = promisify(close);
const statFile = promisify(fstat);
const readFile = promisify(readCallback);

/** Larger files are not read whole. */
const mostBytes = 2 ** 31 - 1;
/** Of a single read. */
const partBytes = 2 ** 28;

/** Without it, opening a named pipe waits for somebody to write to it. Windows has none. */
const mode = constants.O_RDONLY | (constants.O_NONBLOCK ?? 0);

/**
 * The bytes of an image file, which has to be a regular one: what comes out of pipes and devices may never end.
 *
 * @param name what to call it in errors
 * @throws TorchgraftError `FILE_NOT_FOUND`, `IMAGE_UNREADABLE` or `TOO_MANY_FILES`
 */
export async function readRegularFile(path: string, name = path): Promise<Buffer> {
  try {
    const file = await openFile(path, mode);
    try {
      const { size } = checkRegular(await statFile(file), name);
      if (size > mostBytes) throw notRead(name, `it has ${size} bytes, and ${mostBytes} are the most`);
      return await readWhole(file, size);
    } finally {
      await closeFile(file);
    }
  } catch (error) {
    throw fileProblem(path, name, error);
  }
}

/** Less than `size` where the file has been cut meanwhile. */
async function readWhole(file: number, size: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(size);
  let at = 0;
  while (at < size) {
    const { bytesRead } = await readFile(file, bytes, at, Math.min(partBytes, size - at), at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return bytes.subarray(0, at);
}

/** Refuses folders, pipes and devices. @throws IMAGE_UNREADABLE */
export function checkRegular(stats: Stats, name: string): Stats {
  if (stats.isFile()) return stats;
  throw notRead(name, `it is ${kindOf(stats)}, not a file`);
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'a folder';
  if (stats.isFIFO()) return 'a named pipe';
  return stats.isSocket() ? 'a socket' : 'a device';
}

/** What to throw where a file could not be opened or read: it names the file and the cause. */
export function fileProblem(path: string, name: string, error: unknown): unknown {
  const { code, message } = (error ?? {}) as NodeJS.ErrnoException;
  if (isTorchgraftError(error) || code === undefined) return error;
  if (code === 'EMFILE' || code === 'ENFILE') {
    return new TorchgraftError(
      'TOO_MANY_FILES',
      `Cannot open ${name}: the process has as many files open as it may (${code}). Raise the limit, for example with ` +
        '`ulimit -n 4096`, or close what the program holds open.',
      { cause: error },
    );
  }
  if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG'].includes(code)) {
    return new TorchgraftError('FILE_NOT_FOUND', `No image at ${name}${whyMissing(path)}.`, { cause: error });
  }
  const special = kindAt(path);
  if (special) return notRead(name, `it is ${special}, not a file`, error);
  const reason =
    code === 'EACCES' || code === 'EPERM' ? 'permission is denied' : message.replaceAll('\0', '\\0');
  return notRead(name, `${reason} (${code})`, error);
}

function whyMissing(path: string): string {
  try {
    return `: it is a link to ${readlinkSync(path)}, which cannot be followed`;
  } catch {
    // Node.js puts this sign for bytes that are no UTF-8, and the file cannot be asked for by it.
    return path.includes('\uFFFD') ? ': its name is not UTF-8. Rename it' : '';
  }
}

/** Undefined for files, and for what cannot be looked at. */
function kindAt(path: string): string | undefined {
  try {
    const stats = statSync(path);
    return stats.isFile() ? undefined : kindOf(stats);
  } catch {
    return undefined;
  }
}

function notRead(name: string, reason: string, cause?: unknown): TorchgraftError {
  return new TorchgraftError('IMAGE_UNREADABLE', `Cannot decode the image ${name}: ${reason}.`, {
    ...(cause === undefined ? {} : { cause }),
  });
}
