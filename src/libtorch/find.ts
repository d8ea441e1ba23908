import { join, resolve } from 'node:path';
import { TorchgraftError } from '../errors.js';
import { packageRequire } from '../package.js';
import { gpuFirst, listCached, listNames } from './cache.js';
import { inspectFolder, type LibtorchFolder } from './folder.js';
import { isSupported, type Pin, platform, readPin } from './pin.js';

/** A libtorch and how it was found. */
export interface Libtorch extends LibtorchFolder {
  source: 'environment' | 'package' | 'cache';
}

/**
 * Finds libtorch without downloading anything: TORCHGRAFT_LIBTORCH, then an installed platform package
 * `@torchgraft/libtorch-<platform>-<arch>-<flavour>`, then the user's cache. Undefined when there is none.
 *
 * @throws LIBTORCH_NOT_FOUND when TORCHGRAFT_LIBTORCH names a folder that holds none; LIBTORCH_VERSION when the
 *   one found is outside the supported versions
 */
export function findLibtorch(pin: Pin = readPin()): Libtorch | undefined {
  const found = fromEnvironment() ?? fromPackage() ?? fromCache(pin);
  if (found && !isSupported(found.version, pin)) {
    const { from, through } = pin.supported;
    const next =
      found.source === 'environment' ? 'Point TORCHGRAFT_LIBTORCH elsewhere, or unset it and run' : 'Run';
    throw new TorchgraftError(
      'LIBTORCH_VERSION',
      `libtorch ${found.version} in ${found.directory} does not fit: torchgraft needs ${from} to ${through}. ` +
        `${next} \`npx torchgraft setup\`.`,
    );
  }
  return found;
}

/**
 * As findLibtorch, but missing is an error.
 *
 * @throws LIBTORCH_NOT_FOUND naming the command that fetches it
 */
export function requireLibtorch(): Libtorch {
  const found = findLibtorch();
  if (found) return found;
  throw new TorchgraftError(
    'LIBTORCH_NOT_FOUND',
    `libtorch ${readPin().version} is neither installed nor in the cache. Run \`npx torchgraft setup\` to fetch it, ` +
      'or set TORCHGRAFT_LIBTORCH to a folder with lib/ and include/.',
  );
}

function fromEnvironment(): Libtorch | undefined {
  const named = process.env.TORCHGRAFT_LIBTORCH;
  if (!named) return undefined;
  const folder = inspectFolder(resolve(named));
  if (folder) return { ...folder, source: 'environment' };
  throw new TorchgraftError(
    'LIBTORCH_NOT_FOUND',
    `TORCHGRAFT_LIBTORCH is ${named}, which holds no libtorch: expected lib/libtorch_cpu.so and include/ there. ` +
      'Correct it, or unset it and run `npx torchgraft setup`.',
  );
}

function fromPackage(): Libtorch | undefined {
  const scopes = packageRequire().resolve.paths('@torchgraft/libtorch') ?? [];
  for (const scope of scopes.map((path) => join(path, '@torchgraft'))) {
    const names = listNames(scope).filter((name) => name.startsWith(`libtorch-${platform}-`));
    for (const name of gpuFirst(names)) {
      const folder = inspectFolder(join(scope, name));
      if (folder) return { ...folder, source: 'package' };
    }
  }
  return undefined;
}

function fromCache(pin: Pin): Libtorch | undefined {
  for (const directory of listCached(pin.version)) {
    const folder = inspectFolder(directory);
    if (folder) return { ...folder, source: 'cache' };
  }
  return undefined;
}
