import type { Command } from 'commander';
import { imageLimits } from '../data/image-limits.js';
import type { SkippedImage } from '../data/loader.js';
import { type Normalisation, normalisation, type Preprocessing } from '../data/preprocessing.js';
import { visible } from '../report/visible.js';
import { normalisationName, pixelRange, sideOf, wholeNumber } from './arguments.js';

/** Flags of the commands that read images and do not train. */
export interface ReadingFlags {
  skipUnreadable?: boolean;
  threads?: number;
  device: string;
  json?: boolean;
}

/** The options of {@link ReadingFlags}. */
export function addReading(command: Command): Command {
  return addPixelLimit(command)
    .option('--skip-unreadable', 'leave out images that cannot be decoded, and list them')
    .option('--threads <n>', 'default: all processors', wholeNumber(1))
    .option('--device <name>', 'auto, cpu, cuda:0, ...', 'auto')
    .option('--json', 'one JSON object on standard output');
}

/** Largest images that are decoded, set before the command begins. */
export function addPixelLimit(command: Command): Command {
  return command
    .option(
      '--max-pixels <n>',
      `refuse images with more pixels (default: ${imageLimits().maxPixels})`,
      wholeNumber(1),
    )
    .hook('preAction', (_, called) => {
      const { maxPixels } = called.opts<{ maxPixels?: number }>();
      if (maxPixels !== undefined) imageLimits({ maxPixels });
    });
}

/** What they say of reading images. */
export function readingOf({ skipUnreadable, threads }: ReadingFlags) {
  return {
    unreadable: skipUnreadable ? ('skip' as const) : ('fail' as const),
    ...(threads ? { threads } : {}),
  };
}

/** What they say of a model that computes on as many threads as decode. */
export function loadingOf({ device, threads }: ReadingFlags) {
  return { device, ...(threads ? { threads } : {}) };
}

/** A line for each image that was left out, once, however often it was to be read. */
export function skippedLines(skipped: readonly SkippedImage[]): string[] {
  return onceEach(skipped).map(({ path, reason }) => visible(`skipped ${path}: ${reason}`));
}

/** Each image that was left out, once. */
export function onceEach(skipped: readonly SkippedImage[]): SkippedImage[] {
  return [...new Map(skipped.map((image) => [image.path, image])).values()];
}

/** Flags of what the images are made into. */
export interface PreprocessingFlags {
  normalise?: Normalisation;
  imageSize?: number;
  pixelRange?: [number, number];
}

/** The options of {@link PreprocessingFlags}. */
export function addPreprocessing(command: Command): Command {
  return command
    .option(
      '--normalise <name>',
      "mean and standard deviation: imagenet, signed or none (default: the model's own, or imagenet)",
      normalisationName,
    )
    .option(
      '--image-size <px>',
      "side of the square images that the model gets (default: the model's own, or 224)",
      wholeNumber(1),
    )
    .option(
      '--pixel-range <black,white>',
      'of images with more than 8 bits per channel, for example 0,4095',
      pixelRange,
    );
}

/** What they say, as the parts that differ from the model's own. */
export function preprocessingOf(flags: PreprocessingFlags): Partial<Preprocessing> {
  const { normalise, imageSize, pixelRange: range } = flags;
  return {
    ...(imageSize ? sideOf(imageSize) : {}),
    ...(normalise ? normalisation(normalise) : {}),
    ...(range ? { pixelRange: range } : {}),
  };
}
