import { z } from 'zod';
import { innerOptions } from '../options.js';

/** Options of `lora`, for zod objects of options. */
export const loraOptions = innerOptions({
  rank: z.int().min(1).max(65_536).default(8),
  alpha: z.number().gt(0).max(1e6).optional(),
  targets: z.array(z.string()).min(1).optional(),
});

/**
 * - `rank`: of the update of each weight; default 8, as in PEFT
 * - `alpha`: the update is multiplied by alpha / rank; default 2 * rank, which is usage and no paper's: loralib's default is
 *   1, PEFT's 8, and Hu et al. tune the learning rate instead
 * - `targets`: names, module paths or globs of the layers that get an adapter; default all Linear and Conv2d but the head.
 *   Layers whose adapter would have as many numbers as their weight, as depthwise convolutions, get none
 */
export type LoraOptions = z.input<typeof loraOptions>;
