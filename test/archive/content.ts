import { createHash } from 'node:crypto';
import type { NativeModel } from '../../src/native.js';

/** A hash of a model's names, values and card: equal for equal bits. */
export async function contentOf(model: NativeModel): Promise<string> {
  const { parameters, buffers } = await model.describe();
  const names = [...parameters, ...buffers].map(({ name }) => name);
  const hash = createHash('sha256').update(JSON.stringify([names, model.extra]));
  for (const name of names) {
    const [value] = await model.values([name]).catch(() => [undefined]);
    if (value) hash.update(new Uint8Array(value.data.buffer, value.data.byteOffset, value.data.byteLength));
  }
  return hash.digest('hex');
}
