import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TorchgraftError } from './errors.js';

let root: string | undefined;

/**
 * The folder of this package: its package.json, libtorch.json, assets and addon lie there.
 *
 * @throws ADDON_NOT_FOUND where a bundler took the code away from them
 */
export function packageRoot(): string {
  root ??= findRoot();
  return root;
}

/** Requires as a file of this package would: its addon's loader, sharp. */
export function packageRequire(): NodeJS.Require {
  return createRequire(join(packageRoot(), 'package.json'));
}

/** Version of this package. */
export function packageVersion(): string {
  return readPackage(packageRoot())?.version ?? 'unknown';
}

function findRoot(): string {
  // Bundled as CommonJS, code has no address.
  const url: string | undefined = import.meta.url;
  const folder = url?.startsWith('file:') ? dirname(dirname(fileURLToPath(url))) : undefined;
  if (folder !== undefined && readPackage(folder)?.name === 'torchgraft') return folder;
  throw new TorchgraftError(
    'ADDON_NOT_FOUND',
    `torchgraft was bundled${url ? ` into ${url}` : ''}, away from its addon and files. Mark torchgraft and sharp as ` +
      "external (esbuild: --external:torchgraft --external:sharp; webpack: externals: ['torchgraft', 'sharp']; Next.js: " +
      'serverExternalPackages), and install them where the bundle runs.',
  );
}

function readPackage(folder: string): { name?: string; version?: string } | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  } catch {
    return undefined;
  }
}
