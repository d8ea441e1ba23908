import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadAddon } from './addon.js';
import { cleaningUp, cleanUp } from './clean-up.js';
import { Model } from './model.js';
import { callNative } from './native-call.js';

/**
 * A second model with the same weights, buffers, layers and card, on the same device with as many threads. It goes
 * through a file in the system's temporary folder, which is removed before this returns; the model given is only read.
 *
 * @throws BUSY, DISPOSED, OUT_OF_MEMORY, and what the file system throws
 */
export async function copyModel(model: Model): Promise<Model> {
  const folder = await mkdtemp(join(tmpdir(), 'torchgraft-copy-'));
  return cleaningUp(
    () => copyThrough(join(folder, 'model.pt'), model),
    () => rm(folder, { recursive: true, force: true }),
  );
}

async function copyThrough(file: string, model: Model): Promise<Model> {
  await callNative(() => model.native.save(file, {}));
  const native = await callNative(() => loadAddon().load(file, model.loading));
  try {
    const description = await callNative(() => native.describe());
    const { origin, loading } = model;
    return new Model({ native, description, origin, card: structuredClone(model.card), loading });
  } catch (error) {
    await cleanUp(() => native.dispose(), true);
    throw error;
  }
}
