import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { packageRoot } from '../package.js';

/** An official archive with lib/ and include/ under torch/ (a wheel) or libtorch/. */
export interface Archive {
  flavour: string;
  /** Folder of the file on the server, without a slash at its end. */
  base: string;
  file: string;
  /** SHA-256 of the file, hexadecimal. */
  sha256: string;
}

/** What libtorch.json says: the one place where the version is pinned. */
export interface Pin {
  version: string;
  /** First and last minor version the addon's source compiles against, both included. */
  supported: { from: string; through: string };
  /** By `<platform>-<arch>`. */
  archives: Record<string, Archive>;
}

/** `linux-x64` and so on, as in the names of prebuilds and of the cache's folders. */
export const platform = `${process.platform}-${process.arch}`;

/** Reads libtorch.json, which lies beside package.json. */
export function readPin(): Pin {
  return JSON.parse(readFileSync(join(packageRoot(), 'libtorch.json'), 'utf8')) as Pin;
}

/** `2.13` of `2.13.0+cpu`. */
export function minorOf(version: string): string {
  return version.split('.').slice(0, 2).join('.');
}

/** Whether a libtorch of this version is one the source is made for. */
export function isSupported(version: string, { supported }: Pin): boolean {
  const [major, minor] = minorOf(version).split('.').map(Number);
  const [fromMajor, from] = supported.from.split('.').map(Number);
  const [throughMajor, through] = supported.through.split('.').map(Number);
  if (major === undefined || minor === undefined || from === undefined || through === undefined) return false;
  return major === fromMajor && major === throughMajor && minor >= from && minor <= through;
}
