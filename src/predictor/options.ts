import { z } from 'zod';
import { signalOption } from '../value-kinds.js';
import type { CalibrationImages } from './int8.js';

export const predictorOptions = z.strictObject({
  maxBatch: z.int().min(1).max(1024).default(32),
  maxDelayMs: z.number().min(0).max(1000).default(2),
  maxQueue: z.int().min(1).default(1024),
  threads: z.int().min(1).max(1024).optional(),
  precision: z.enum(['auto', 'float32', 'bfloat16', 'float16', 'int8']).default('auto'),
  calibration: z.custom<CalibrationImages>().optional(),
  maxAccuracyLoss: z.number().min(0).max(1).default(0.01),
  maxPixels: z.int().min(1).optional(),
  device: z.string().default('auto'),
});

/**
 * - `maxBatch`: most images of one forward, 1 to 1024; default 32
 * - `maxDelayMs`: most milliseconds that decoded images wait, while the model is idle, for others that are being
 *   decoded; never for images nobody has asked about yet, and never longer than a forward's fixed cost, which is what
 *   waiting can save. Below 1, the shortest time of a timer, they never wait; default 2
 * - `maxQueue`: requests that may wait; one more is refused with QUEUE_FULL; default 1024
 * - `threads`: threads of a forward, and images decoded at a time; default: all that the process may use
 * - `precision`: `auto`, `float32`, `bfloat16`, `float16` or, on the CPU, `int8`; default `auto`
 * - `calibration`: for `int8`: data from imageFolder or imageManifest, whose training images give the ranges of 8-bit
 *   numbers and whose validation images show what they cost; or a list of images, every other one for each
 * - `maxAccuracyLoss`: for `int8`: most top-1 accuracy that may be lost (without labels: most images whose best class
 *   may differ), 0 to 1; more is refused with ACCURACY_LOST; default 0.01
 * - `maxPixels`: most pixels of an image, width times height; one with more is refused by its header with IMAGE_UNREADABLE.
 *   Default: that of `imageLimits`, 268,402,689
 * - `device`: `auto` (the first GPU that this libtorch sees, else the CPU), `cpu`, `cuda` or `cuda:1`; default `auto`
 */
export type PredictorOptions = z.input<typeof predictorOptions>;

/** Checked, with every default in it. */
export type PredictorSettings = z.output<typeof predictorOptions> & { threads: number };

export const requestOptions = z.strictObject({
  top: z.int().min(1).default(5),
  threshold: z.number().min(0).max(1).default(0.5),
  signal: signalOption,
});

/**
 * - `top`: how many classes to give for each image, at most all; default 5
 * - `threshold`: of a multi-label model, the probability from which on a label is among `labels`; default 0.5
 * - `signal`: withdraws the request with ABORTED
 */
export type PredictorRequestOptions = z.input<typeof requestOptions>;
