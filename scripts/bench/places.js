// Where the bench finds the peers' scripts, the models and the images, and keeps what it makes.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cacheDirectory } from '../../lib/libtorch/cache.js';
import { PeerMissing } from './peer-missing.js';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** A program of the bench's own. */
export const programFile = (name) => fileURLToPath(new URL(name, import.meta.url));

/** The bench's own part of the user cache: peers, generated images, exported models, runs. */
export function benchFolder(...path) {
  const folder = join(cacheDirectory(), 'bench', ...path);
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** A new empty folder for one run, on the disk that the user cache is on. */
export const makeRunFolder = () => mkdtempSync(join(benchFolder('runs'), 'run-'));

/** A folder beside the repository, or where the environment variable says. */
function shared(name, variable) {
  const folder = resolve(process.env[variable] || join(root, '..', 'shared', name));
  if (existsSync(folder)) return folder;
  throw new PeerMissing(
    `There is no folder ${folder}. Set ${variable} to the one that holds the bench's ${name}.`,
  );
}

/** Folder of models.py and pytorch_finetune.py. */
export const peersFolder = () => shared('peers', 'TORCHGRAFT_PEERS');

/** A folder with train/ and val/ of class folders: a path, or the name of one of the shared data. */
export function imagesFolder(images) {
  const folder = images.includes('/')
    ? resolve(images)
    : join(shared('data', 'TORCHGRAFT_SHARED_DATA'), 'images', images);
  if (!existsSync(folder)) throw new Error(`There is no folder ${folder}. Name one with --images.`);
  return folder;
}

/** A path ending in .pt, or the name of a model of the shared data. */
export function modelFile(model) {
  const file = model.endsWith('.pt')
    ? resolve(model)
    : join(shared('data', 'TORCHGRAFT_SHARED_DATA'), 'models', `${model}.scripted.pt`);
  if (!existsSync(file)) throw new Error(`There is no model ${file}. Name one with --model.`);
  return file;
}

/** The first digits of a file's SHA-256, for the names of what is made from it. */
export const digestOf = (file) => createHash('sha256').update(readFileSync(file)).digest('hex').slice(0, 12);

/** Bytes of all files under a folder; 0 where there is none. */
export function folderBytes(folder) {
  if (!existsSync(folder)) return 0;
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return files.reduce(
    (total, entry) => total + statSync(join(entry.parentPath ?? entry.path, entry.name)).size,
    0,
  );
}
