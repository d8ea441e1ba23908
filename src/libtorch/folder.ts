import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** A folder that holds a libtorch. */
export interface LibtorchFolder {
  /** Absolute path of the folder with lib/ and include/. */
  directory: string;
  /** `2.13.0` */
  version: string;
  /** `cpu`, or the CUDA version it was built for: `cu130`. */
  flavour: string;
}

/** The libraries the addon is linked to; each must be loaded before it, in this order. */
export const libraries = ['libc10.so', 'libtorch_cpu.so', 'libtorch.so'] as const;

/** What lies in `directory`, or undefined when that is no libtorch (a library or its version is missing). */
export function inspectFolder(directory: string): LibtorchFolder | undefined {
  if (!libraries.every((library) => existsSync(join(directory, 'lib', library)))) return undefined;
  const found = versionOf(directory);
  if (!found) return undefined;
  const [version = '', local] = found.split('+');
  const withCuda = existsSync(join(directory, 'lib', 'libtorch_cuda.so'));
  return { directory, version, flavour: local ?? (withCuda ? 'cuda' : 'cpu') };
}

/** `2.13.0+cpu`: wheels write it in version.py, archives in build-version, both without flavour in version.h. */
function versionOf(directory: string): string | undefined {
  const read = (...path: string[]) => {
    const file = join(directory, ...path);
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  };
  const python = /^__version__ = '([^']+)'/m.exec(read('version.py'))?.[1];
  if (python) return python;
  const archive = read('build-version').trim();
  if (archive) return archive;
  const header = read('include', 'torch', 'headeronly', 'version.h') || read('include', 'torch', 'version.h');
  const parts = ['MAJOR', 'MINOR', 'PATCH'].map(
    (part) => new RegExp(`define TORCH_VERSION_${part} (\\d+)`).exec(header)?.[1],
  );
  return parts.every(Boolean) ? parts.join('.') : undefined;
}
