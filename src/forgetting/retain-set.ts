import { createHash } from 'node:crypto';
import { basename, dirname } from 'node:path';
import type { Sample } from '../data/dataset.js';
import { isUnreadable } from '../data/decode.js';
import { imagesBelow } from '../data/images-below.js';
import { readRegularFile } from '../data/open-file.js';
import { invalidValue, TorchgraftError } from '../errors.js';
import type { RetainOption } from './options.js';

/** Images of the source task; labels are outputs of the source head, or -1 where the source shall say them. */
export interface RetainSet {
  samples: Sample[];
  isLabelled: boolean;
}

/**
 * Lists the images that should not be forgotten.
 *
 * @param classes of the source model's card, where it has one
 * @throws FILE_NOT_FOUND, DATA_INVALID without images, INVALID_VALUE for labels that do not fit
 */
export async function readRetainSet(
  { images, labels }: RetainOption,
  classes: readonly string[] | undefined,
): Promise<RetainSet> {
  const paths = typeof images === 'string' ? await imagesBelow(images, 'retain: ') : [...images];
  if (paths.length === 0) {
    throw new TorchgraftError('DATA_INVALID', 'retain: `images` is an empty list.');
  }
  if (labels === undefined) return { samples: paths.map((path) => ({ path, label: -1 })), isLabelled: false };
  const given = labels === 'folders' ? paths.map((path) => labelByFolder(path, classes)) : labels;
  if (given.length !== paths.length) {
    throw invalidValue(
      `retain: \`labels\` has ${given.length} entries for ${paths.length} images. Give one for each image of a list.`,
    );
  }
  return { samples: paths.map((path, i) => ({ path, label: given[i] as number })), isLabelled: true };
}

function labelByFolder(path: string, classes: readonly string[] | undefined): number {
  const folder = basename(dirname(path));
  const named = classes?.indexOf(folder) ?? -1;
  if (named >= 0) return named;
  if (/^\d+$/.test(folder)) return Number(folder);
  throw invalidValue(
    `retain: the folder of ${path} is no class of the source model, nor the number of one of its outputs. Leave ` +
      '`labels` out, and the source model says what they are.',
  );
}

/** SHA-256 over labels and contents, in order: the same for the same images, wherever they lie. */
export async function digestRetainSet({ samples }: RetainSet): Promise<string> {
  const hash = createHash('sha256');
  for (const { path, label } of samples) {
    const content = await readRegularFile(path).catch((error: unknown) => {
      if (isUnreadable(error)) return Buffer.alloc(0);
      throw error;
    });
    hash.update(`${label} ${content.byteLength} `).update(content);
  }
  return hash.digest('hex');
}
