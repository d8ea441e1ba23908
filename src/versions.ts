import { readFileSync } from 'node:fs';
import sharp from 'sharp';
import { loadAddon } from './addon.js';

/** Version of this package. */
export const packageVersion: string = JSON.parse(
  readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
).version;

/** Versions of what computes a result. */
export function versions(): {
  torchgraft: string;
  libtorch: string;
  node: string;
  sharp: string;
  vips: string;
} {
  const { sharp: sharpVersion = '', vips = '' } = sharp.versions;
  return {
    torchgraft: packageVersion,
    libtorch: loadAddon().info().torch,
    node: process.versions.node,
    sharp: sharpVersion,
    vips,
  };
}
