import { z } from 'zod';
import { checkOptions } from '../options.js';

const schema = z.strictObject({
  maxPixels: z.int().min(1).optional(),
  maxSeconds: z.int().min(1).max(3600).optional(),
});

/** What decoding one image may take. */
export interface ImageLimits {
  /** Most pixels, width times height; an image with more is refused by its header. Default 16,383 x 16,383 = 268,402,689. */
  maxPixels: number;
  /** Most seconds that sharp may take to decode an image. Default 120. */
  maxSeconds: number;
}

const limits: ImageLimits = { maxPixels: 0x3fff * 0x3fff, maxSeconds: 120 };

/**
 * What decoding one image may take in this thread, so that a small file can claim neither all memory nor a processor for
 * long; what is given is set, for all images decoded from now on. `createPredictor` has `maxPixels` of its own.
 *
 * @example
 * imageLimits({ maxPixels: 20_000_000 });
 *
 * @throws INVALID_TYPE, INVALID_VALUE
 */
export function imageLimits(options: Partial<ImageLimits> = {}): ImageLimits {
  const { maxPixels, maxSeconds } = checkOptions(schema, options, 'imageLimits');
  if (maxPixels !== undefined) limits.maxPixels = maxPixels;
  if (maxSeconds !== undefined) limits.maxSeconds = maxSeconds;
  return { ...limits };
}
