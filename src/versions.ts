import { loadAddon } from './addon.js';
import { loadSharp } from './data/sharp.js';
import { packageVersion } from './package.js';

/** Versions of what computes a result. */
export function versions(): {
  torchgraft: string;
  libtorch: string;
  node: string;
  sharp: string;
  vips: string;
} {
  const { sharp = '', vips = '' } = loadSharp().versions;
  return {
    torchgraft: packageVersion(),
    libtorch: loadAddon().info().torch,
    node: process.versions.node,
    sharp,
    vips,
  };
}
