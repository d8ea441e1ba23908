import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, join } from 'node:path';
import { messageOf, TorchgraftError } from '../errors.js';
import { cacheDirectory, cachedLibtorch, listNames } from './cache.js';
import { findLibtorch, type Libtorch } from './find.js';
import { inspectFolder, type LibtorchFolder } from './folder.js';
import { type Pin, platform, readPin } from './pin.js';
import { downloadWheel } from './pip.js';
import { unpackArchive } from './unpack.js';

/** What ensureLibtorch is doing: a line for people, or bytes done of a step (`total` is 0 while unknown). */
export type LibtorchProgress =
  | { step: 'note'; text: string }
  | { step: 'download' | 'unpack'; done: number; total: number };

/** Options of ensureLibtorch. */
export interface EnsureOptions {
  onProgress?: (progress: LibtorchProgress) => void;
  /** Which version and archives; libtorch.json by default. */
  pin?: Pin;
}

/**
 * Finds libtorch, or fetches it into the user's cache: the official archive by HTTPS, else the wheel that the user's
 * pip gives. It appears in the cache whole or not at all, also when interrupted or when two processes do it at once.
 *
 * @throws LIBTORCH_NOT_FOUND with what both ways said and what to do; LIBTORCH_VERSION as findLibtorch
 */
export async function ensureLibtorch({
  onProgress = () => {},
  pin = readPin(),
}: EnsureOptions = {}): Promise<Libtorch> {
  const parent = join(cacheDirectory(), 'libtorch');
  removeAbandoned(parent);
  const found = findLibtorch(pin);
  if (found) return found;
  if (process.platform !== 'linux') throw unavailable(`torchgraft runs on Linux, and this is ${platform}.`);
  mkdirSync(parent, { recursive: true });
  // Host and process id tell a later run whether whoever made the folder is still alive.
  const work = mkdtempSync(join(parent, `.partial-${hostname()}-${process.pid}-`));
  const removeWork = () => rmSync(work, { recursive: true, force: true });
  process.once('exit', removeWork);
  try {
    const archive = await fetchArchive(pin, work, onProgress);
    const tree = join(work, 'tree');
    await unpackArchive(archive, tree, (done, total) => onProgress({ step: 'unpack', done, total }));
    const folder = inspectFolder(tree);
    if (folder?.version !== pin.version) {
      const holds = folder ? `libtorch ${folder.version}` : 'no libtorch';
      throw unavailable(`${basename(archive)} holds ${holds} where ${pin.version} was expected.`);
    }
    return publish(folder, onProgress);
  } finally {
    process.off('exit', removeWork);
    removeWork();
  }
}

/** Renames the unpacked folder to its place; when another process was there first, its folder is taken. */
function publish(folder: LibtorchFolder, onProgress: (progress: LibtorchProgress) => void): Libtorch {
  const { version, flavour } = folder;
  if (flavour !== 'cpu') {
    const text = `pip gave the ${flavour} build; without NVIDIA's CUDA libraries beside it, it may not load`;
    onProgress({ step: 'note', text });
  }
  const directory = cachedLibtorch(version, flavour);
  try {
    if (existsSync(directory) && !inspectFolder(directory)) rmSync(directory, { recursive: true });
    renameSync(folder.directory, directory);
  } catch (error) {
    if (!inspectFolder(directory)) throw error;
  }
  return { version, flavour, directory, source: 'cache' };
}

async function fetchArchive(pin: Pin, work: string, onProgress: (progress: LibtorchProgress) => void) {
  const onBytes = (done: number, total: number) => onProgress({ step: 'download', done, total });
  const failures: string[] = [];
  const archive = pin.archives[platform];
  if (archive) {
    const file = join(work, archive.file);
    try {
      // With undici, whose WebAssembly takes 8 GiB of addresses: only who downloads needs it.
      const { archiveUrl, downloadArchive } = await import('./download.js');
      onProgress({ step: 'note', text: `fetching ${archiveUrl(archive)}` });
      await downloadArchive(archive, file, onBytes);
      return file;
    } catch (error) {
      failures.push(messageOf(error));
      rmSync(file, { force: true });
    }
  } else {
    failures.push(`no official archive is pinned for ${platform}`);
  }
  onProgress({
    step: 'note',
    text: `${failures[0]}; asking pip: python3 -m pip download torch==${pin.version} --no-deps`,
  });
  try {
    return await downloadWheel(pin.version, work, onBytes);
  } catch (error) {
    failures.push(messageOf(error));
  }
  throw unavailable(`libtorch ${pin.version} could not be fetched: ${failures.join('; ')}.`);
}

/** Removes what an interrupted fetch of this machine left behind. */
function removeAbandoned(parent: string): void {
  const prefix = `.partial-${hostname()}-`;
  for (const name of listNames(parent).filter((entry) => entry.startsWith(prefix))) {
    const id = Number.parseInt(name.slice(prefix.length), 10);
    if (!isAlive(id)) rmSync(join(parent, name), { recursive: true, force: true });
  }
}

function isAlive(id: number): boolean {
  try {
    process.kill(id, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function unavailable(reason: string): TorchgraftError {
  return new TorchgraftError(
    'LIBTORCH_NOT_FOUND',
    `${reason} Check the network (HTTPS_PROXY is honoured) and pip's configuration and run \`npx torchgraft setup\` ` +
      'again, name a mirror of the archive in TORCHGRAFT_LIBTORCH_URL, or set TORCHGRAFT_LIBTORCH to a folder with ' +
      'lib/ and include/, such as the torch folder of a Python installation.',
  );
}
