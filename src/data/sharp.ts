import type sharp from 'sharp';
import { TorchgraftError } from '../errors.js';
import { packageRequire } from '../package.js';

let loaded: typeof sharp | undefined;

/** Bytes as sharp knows them: it asks for classes by name, of which another realm has its own. No copy is made. */
export function asBuffer({ buffer, byteOffset, byteLength }: Uint8Array | Uint8ClampedArray): Buffer {
  return Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
}

/**
 * sharp, loaded when an image first needs it: JPEGs do not, and most commands read no image at all.
 *
 * @throws ADDON_NOT_FOUND when it is not there or does not load
 */
export function loadSharp(): typeof sharp {
  loaded ??= load();
  return loaded;
}

function load(): typeof sharp {
  const require = packageRequire();
  let module: typeof sharp;
  try {
    module = require('sharp');
  } catch (cause) {
    const reason = String((cause as Error).message)
      .trim()
      .split('\n')[0];
    throw new TorchgraftError(
      'ADDON_NOT_FOUND',
      `sharp, which decodes images, does not load: ${reason}. Run \`npm install --include=optional sharp\`.`,
      { cause },
    );
  }
  // Many images are decoded at once, one thread each; and no file is read twice soon enough for a cache to pay, while
  // a cached file that has changed since would be a wrong answer.
  module.concurrency(1);
  module.cache(false);
  return module;
}
