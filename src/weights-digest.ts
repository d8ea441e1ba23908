import { createHash } from 'node:crypto';
import type { Model } from './model.js';
import type { Tensor } from './native.js';
import { callNative } from './native-call.js';

/** SHA-256 over the names, types, shapes and values of all weights and buffers. */
export async function digestWeights(model: Model): Promise<string> {
  const { parameters, buffers } = await model.summary();
  const hash = createHash('sha256');
  for (const { name } of [...parameters, ...buffers]) {
    const [value] = (await callNative(() => model.native.values([name]))) as [Tensor];
    hash.update(`${name} ${value.dtype} ${value.shape} `);
    hash.update(new Uint8Array(value.data.buffer, value.data.byteOffset, value.data.byteLength));
  }
  return hash.digest('hex');
}
