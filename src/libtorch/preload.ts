import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { messageOf, TorchgraftError } from '../errors.js';
import { listNames } from './cache.js';
import { type LibtorchFolder, libraries } from './folder.js';

/** RTLD_NODELETE of glibc, which Node does not name: the library stays although Node closes its handle. */
const RTLD_NODELETE = 0x1000;

/**
 * Loads libtorch's libraries into the process by absolute path, so that the addon finds them by name wherever they
 * lie. Harmless when they are loaded already, as in a second worker thread.
 *
 * @throws LIBTORCH_NOT_FOUND when a library cannot be loaded; it says which one and what to do
 */
export function preloadLibtorch({ directory, flavour, version }: LibtorchFolder): void {
  const lib = join(directory, 'lib');
  const withCuda = existsSync(join(lib, 'libtorch_cuda.so'));
  if (withCuda) for (const library of cudaRuntime(directory)) tryLoad(library);
  // libtorch.so of a CUDA build needs libtorch_cuda.so, so that one goes before it.
  const [c10, cpu, torch] = libraries;
  for (const name of withCuda ? [c10, cpu, 'libc10_cuda.so', 'libtorch_cuda.so', torch] : libraries) {
    const failure = withShortSpinning(() => tryLoad(join(lib, name)));
    if (!failure) continue;
    const next = withCuda
      ? `This is the ${flavour} build, which needs NVIDIA's CUDA libraries. Install it with them, ` +
        `\`python3 -m pip install torch==${version}\`, and set TORCHGRAFT_LIBTORCH to the torch folder that ` +
        'command made in site-packages, or use a CPU build: `npx torchgraft setup` where pip offers one.'
      : `Remove the folder and run \`npx torchgraft setup\`.`;
    throw new TorchgraftError(
      'LIBTORCH_NOT_FOUND',
      `${join(lib, name)} cannot be loaded: ${failure.message}. ${next}`,
      {
        cause: failure,
      },
    );
  }
}

/**
 * How often an idle OpenMP thread looks for new work before it sleeps: about a tenth of a millisecond, longer than the
 * gap between two operations of a network, and short enough to leave the cores to image decoding.
 */
const spinCount = '5000';

/**
 * OpenMP reads its settings when its library is loaded. By default its idle threads spin for milliseconds, and where
 * they compete with image decoding or other processes for the cores, whole steps get ten times slower (seen: 4.6 s
 * against 0.5 s). Sleeping at once costs a wake-up an operation: of one image through MobileNetV1 0.25 a quarter of the
 * time (seen: 325 against 416 images/s). Who sets OMP_WAIT_POLICY or GOMP_SPINCOUNT keeps their choice.
 */
function withShortSpinning<T>(load: () => T): T {
  if (process.env.OMP_WAIT_POLICY !== undefined || process.env.GOMP_SPINCOUNT !== undefined) return load();
  process.env.GOMP_SPINCOUNT = spinCount;
  try {
    return load();
  } finally {
    delete process.env.GOMP_SPINCOUNT;
  }
}

/** What libtorch_cpu.so of a CUDA build needs, from the nvidia packages beside it or from its own folder. */
function cudaRuntime(directory: string): string[] {
  const nvidia = join(dirname(directory), 'nvidia');
  const folders = [join(directory, 'lib'), ...listNames(nvidia).map((name) => join(nvidia, name, 'lib'))];
  const files = folders.flatMap((folder) => listNames(folder).map((name) => join(folder, name)));
  return files.filter((file) => /lib(cudart|cupti)[-.\w]*\.so[.\d]*$/.test(file));
}

/** dlopens a library that is no addon. Node says so by an error of its own, which is the sign of success. */
function tryLoad(file: string): Error | undefined {
  const { RTLD_NOW, RTLD_GLOBAL } = constants.dlopen;
  try {
    process.dlopen({ exports: {} }, file, RTLD_NOW | RTLD_GLOBAL | RTLD_NODELETE);
  } catch (error) {
    if (!messageOf(error).startsWith('Module did not self-register')) return error as Error;
  }
  return undefined;
}
