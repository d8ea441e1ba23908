import { spawnSync } from 'node:child_process';
import { existsSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { benchFolder, digestOf, modelFile, programFile } from './places.js';
import { normalisationOf } from './recipe.js';

/**
 * A copy of the model that carries classes and preprocessing, in the bench's part of the user cache; made once.
 *
 * @param resize short side before the centre crop of 224, pixels; 224 takes images of that size as they are
 */
export function cardedModel(model, resize = 256) {
  const source = modelFile(model);
  const file = join(benchFolder('models'), `${digestOf(source)}-${resize}.pt`);
  if (existsSync(file)) return file;
  const temporary = `${file}.${process.pid}`;
  const args = [programFile('torchgraft-card.js'), source, normalisationOf(model), `${resize}`, temporary];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`Giving ${source} a card failed:\n${stderr.slice(-1000)}`);
  renameSync(temporary, file);
  return file;
}
