import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadModel, type Model } from '../model.js';

/** A second model like this one, through a temporary file. The caller disposes it. */
export async function copyModel(model: Model): Promise<Model> {
  const folder = await mkdtemp(join(tmpdir(), 'torchgraft-copy-'));
  try {
    const file = join(folder, model.origin.name);
    await model.save(file);
    return await loadModel(file, { device: model.device });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
