import { createHash } from 'node:crypto';
import type { Model } from '../model.js';
import { callNative } from '../native-call.js';
import { ownerOf } from '../patterns.js';

/** Names of everything that belongs to the head's normalisation: it goes with the head. */
function isOfHead(modules: { path: string; type: string }[]): (name: string) => boolean {
  const owners = new Set(
    modules.filter(({ type }) => type === 'Standardiser' || type === 'CosineHead').map(({ path }) => path),
  );
  return (name) => owners.has(ownerOf(name));
}

/**
 * SHA-256 of what an adapter is made for: names, types, shapes and values of all parameters and buffers but the head's and
 * those of adapters.
 *
 * @param head names of the head's parameters
 */
export async function hashBase(model: Model, head: readonly string[]): Promise<string> {
  const { parameters, buffers, modules, adapters } = await model.summary();
  const left = new Set([...head, ...adapters.flatMap(({ down, up }) => [down, up])]);
  const belongs = isOfHead(modules);
  const all = [...parameters, ...buffers].filter(({ name }) => !left.has(name) && !belongs(name));
  const sha256 = createHash('sha256');
  for (const { name, dtype, shape } of all.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    sha256.update(`${name} ${dtype} [${shape.join(',')}]\n`);
    const [value] = await callNative(() => model.native.values([name]));
    if (!value) continue;
    const { buffer, byteOffset, byteLength } = value.data;
    sha256.update(new Uint8Array(buffer, byteOffset, byteLength));
  }
  return sha256.digest('hex');
}
