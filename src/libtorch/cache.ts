import { readdirSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { platform } from './pin.js';

/** The user's cache: TORCHGRAFT_CACHE, else `torchgraft` in XDG_CACHE_HOME, else in ~/.cache. */
export function cacheDirectory(): string {
  if (process.env.TORCHGRAFT_CACHE) return process.env.TORCHGRAFT_CACHE;
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'torchgraft');
}

/** Where a libtorch of this version and flavour lies once it was fetched. */
export function cachedLibtorch(version: string, flavour: string): string {
  return join(cacheDirectory(), 'libtorch', `${version}-${flavour}-${platform}`);
}

/** Folders of all flavours of this version in the cache; builds for a GPU first, since they serve the CPU too. */
export function listCached(version: string): string[] {
  const parent = join(cacheDirectory(), 'libtorch');
  return gpuFirst(
    listNames(parent).filter((name) => name.startsWith(`${version}-`) && name.endsWith(`-${platform}`)),
  ).map((name) => join(parent, name));
}

/** Sorts names that carry a flavour so that the CPU's come last. */
export function gpuFirst(names: string[]): string[] {
  const isCpu = (name: string) => Number(/-cpu\b/.test(name));
  return names.sort((a, b) => isCpu(a) - isCpu(b) || a.localeCompare(b));
}

/** Names in a folder; none when there is no such folder. */
export function listNames(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
