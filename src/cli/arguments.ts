import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import type { ImageDataset } from '../data/dataset.js';
import { type ImageFolderOptions, imageFolder } from '../data/folder.js';
import { imageManifest } from '../data/manifest.js';
import type { Normalisation } from '../data/preprocessing.js';
import type { SliceRules } from '../data/slices.js';
import { TorchgraftError } from '../errors.js';

/** A whole number of at least `low`, from an option's text. */
export function wholeNumber(low: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() === '' || !Number.isSafeInteger(value) || value < low) {
      throw new InvalidArgumentError(`Expected a whole number of at least ${low}.`);
    }
    return value;
  };
}

/** A finite number of at least 0. */
export function positiveNumber(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < 0) {
    throw new InvalidArgumentError('Expected a number that is not negative.');
  }
  return value;
}

/** A number from 0 to 1. */
export function shareOf(text: string): number {
  const share = Number(text);
  if (text.trim() !== '' && share >= 0 && share <= 1) return share;
  throw new InvalidArgumentError('Expected a number from 0 to 1.');
}

/** `a,b,c`: one number for each of red, green and blue. */
export function threeNumbers(text: string): [number, number, number] {
  const values = text.split(',').map(Number);
  if (values.length !== 3 || values.some((value) => !Number.isFinite(value))) {
    throw new InvalidArgumentError('Expected three numbers, for example 0.485,0.456,0.406.');
  }
  return values as [number, number, number];
}

/** `black,white`, of images of more than 8 bits per channel. */
export function pixelRange(text: string): [number, number] {
  const values = text.split(',').map(Number);
  if (values.length !== 2 || text.trim() === '' || values.some((value) => !Number.isFinite(value))) {
    throw new InvalidArgumentError('Expected black and white, for example 0,4095 of 12 bits.');
  }
  return values as [number, number];
}

/** The name of a pair of mean and standard deviation. */
export function normalisationName(text: string): Normalisation {
  if (text === 'imagenet' || text === 'signed' || text === 'none') return text;
  throw new InvalidArgumentError('Expected imagenet, signed or none.');
}

/** Side of the images in pixels, and the resize that goes with it. */
export function sideOf(size: number): { size: number; resize: number } {
  return { size, resize: Math.round((size * 256) / 224) };
}

/** Collects an option that may be given many times. */
export function collect(text: string, before: string[] = []): string[] {
  return [...before, text];
}

/** `GLOB=X`, many times. */
export function collectRates(text: string, before: Record<string, number> = {}): Record<string, number> {
  const at = text.lastIndexOf('=');
  const rate = Number(text.slice(at + 1));
  if (at < 1 || text.slice(at + 1).trim() === '' || !(rate >= 0)) {
    throw new InvalidArgumentError('Expected GLOB=X, for example "features.*=1e-5".');
  }
  return { ...before, [text.slice(0, at)]: rate };
}

/** Refuses a call without these options. commander's own check would come before it looks for misspelt ones. */
export function requireOptions(command: Command, names: string[]): void {
  const missing = command.options.find(
    (option) =>
      names.includes(option.attributeName()) && command.getOptionValue(option.attributeName()) === undefined,
  );
  if (missing) command.error(`error: required option '${missing.flags}' not specified`);
}

/** A folder of images, or a manifest (.csv, .tsv, .jsonl). */
export async function readData(
  path: string,
  seed: number,
  slices?: SliceRules,
  { purpose, unreadable, validation }: Omit<ImageFolderOptions, 'seed' | 'slices'> = {},
): Promise<ImageDataset> {
  const options = {
    seed,
    ...(slices ? { slices } : {}),
    ...(purpose ? { purpose } : {}),
    ...(unreadable ? { unreadable } : {}),
    ...(validation === undefined ? {} : { validation }),
  };
  const isFile = existsSync(path) && statSync(path).isFile();
  return isFile ? imageManifest(path, options) : imageFolder(path, options);
}

/** The model file of a run folder, or the file itself. */
export function modelFile(path: string): string {
  if (!existsSync(path)) throw new TorchgraftError('FILE_NOT_FOUND', `No run folder or model at ${path}.`);
  if (!statSync(path).isDirectory()) return path;
  const file = join(path, 'model.pt');
  if (existsSync(file)) return file;
  throw new TorchgraftError(
    'FILE_NOT_FOUND',
    `${path} has no model.pt. If training was interrupted there, go on with \`torchgraft train … --out ${path} --resume\`.`,
  );
}
