import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { messageOf, TorchgraftError } from './errors.js';
import { type Libtorch, requireLibtorch } from './libtorch/find.js';
import { minorOf } from './libtorch/pin.js';
import { preloadLibtorch } from './libtorch/preload.js';
import type { NativeBinding } from './native.js';
import { packageRequire, packageRoot } from './package.js';

let loaded: NativeBinding | undefined;

/**
 * The native addon, loaded on first use, once per thread: finds libtorch, preloads it, and loads the addon that
 * node-gyp-build picks (build/Release of a clone, else prebuilds). Nothing is downloaded.
 *
 * @throws LIBTORCH_NOT_FOUND, LIBTORCH_VERSION or ADDON_NOT_FOUND, each with the next command
 */
export function loadAddon(): NativeBinding {
  loaded ??= load();
  return loaded;
}

function load(): NativeBinding {
  const libtorch = requireLibtorch();
  const file = findAddon();
  const compiledFor = readBuildRecord(file)?.libtorch;
  if (compiledFor) refuseOtherVersion(compiledFor, libtorch);
  preloadLibtorch(libtorch);
  const binding = openAddon(file, libtorch);
  refuseOtherVersion(binding.info().compiledFor, libtorch);
  return binding;
}

/**
 * Path of the addon for this platform.
 *
 * @throws ADDON_NOT_FOUND when the package carries none
 */
export function findAddon(): string {
  const root = packageRoot();
  try {
    return packageRequire()('node-gyp-build').resolve(root) as string;
  } catch (error) {
    throw new TorchgraftError(
      'ADDON_NOT_FOUND',
      `${root} has no addon for ${process.platform}-${process.arch}. In a clone run \`npm run setup\`, which ` +
        'compiles it; an installed package carries ready ones for linux-x64 only.',
      { cause: error },
    );
  }
}

/** What scripts/build-native.js writes beside the addon; undefined when it is missing. */
export function readBuildRecord(addon: string): { libtorch: string; sources: string } | undefined {
  const file = join(dirname(addon), 'torchgraft.json');
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined;
}

function openAddon(file: string, libtorch: Libtorch): NativeBinding {
  const module: { exports: unknown } = { exports: {} };
  try {
    // RTLD_NOW: a symbol that this libtorch lacks is an error here, and not the end of the process at its first use.
    process.dlopen(module, file, constants.dlopen.RTLD_NOW);
  } catch (error) {
    const reason = messageOf(error);
    const mismatch = /undefined symbol/.test(reason);
    throw new TorchgraftError(
      mismatch ? 'LIBTORCH_VERSION' : 'ADDON_NOT_FOUND',
      mismatch
        ? `The addon ${file} was not made for libtorch ${libtorch.version} in ${libtorch.directory}. ${versionAdvice(libtorch)}`
        : `The addon ${file} cannot be loaded: ${reason}. Run \`npx torchgraft doctor\`.`,
      { cause: error },
    );
  }
  return module.exports as NativeBinding;
}

/** Layouts inside libtorch change with the minor version, so nothing but the same one is safe. */
function refuseOtherVersion(compiledFor: string, libtorch: Libtorch): void {
  if (minorOf(compiledFor) === minorOf(libtorch.version)) return;
  throw new TorchgraftError(
    'LIBTORCH_VERSION',
    `The addon was made for libtorch ${compiledFor}, and ${libtorch.directory} holds ${libtorch.version}. ` +
      versionAdvice(libtorch),
  );
}

function versionAdvice({ source }: Libtorch): string {
  const remedies = {
    environment: 'Unset TORCHGRAFT_LIBTORCH and run `npx torchgraft setup`',
    package: 'Remove that package and run `npx torchgraft setup`',
    cache: 'Run `npx torchgraft setup`',
  };
  return `${remedies[source]}, or compile the addon against it in a clone: \`npm run setup\`.`;
}
