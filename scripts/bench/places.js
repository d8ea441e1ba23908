// Where the bench finds the peers' scripts, the models and the images.
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** A folder beside the repository, or where the environment variable says. */
function shared(name, variable) {
  const folder = resolve(process.env[variable] || join(root, '..', 'shared', name));
  if (!existsSync(folder)) {
    throw new Error(
      `There is no folder ${folder}. Set ${variable} to the one that holds the bench's ${name}.`,
    );
  }
  return folder;
}

/** Folder of models.py and pytorch_finetune.py. */
export const peersFolder = () => shared('peers', 'TORCHGRAFT_PEERS');

/** Class folders with train/ and val/. */
export const imagesFolder = (name) => join(shared('data', 'TORCHGRAFT_SHARED_DATA'), 'images', name);

/** A path ending in .pt, or the name of a model of the shared data. */
export function modelFile(model) {
  const file = model.endsWith('.pt')
    ? resolve(model)
    : join(shared('data', 'TORCHGRAFT_SHARED_DATA'), 'models', `${model}.scripted.pt`);
  if (!existsSync(file)) throw new Error(`There is no model ${file}. Name one with --model.`);
  return file;
}
