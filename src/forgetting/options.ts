import { z } from 'zod';
import { invalidValue } from '../errors.js';
import type { NativeOptimizer } from '../native.js';
import { innerOptions } from '../options.js';
import { named } from '../training-options.js';

const retainSchema = innerOptions({
  images: z.union(
    [z.string().min(1), z.array(z.string().min(1)).min(1)],
    'expected a folder, or a list of image files',
  ),
  labels: z
    .union(
      [z.array(z.int().min(0)), z.literal('folders')],
      'expected class indices of the source head, or `folders`',
    )
    .optional(),
});

/** Images of the source task, which fine-tuning should not forget. */
export interface RetainOption {
  /** A folder, read with its subfolders, or a list of image files. */
  images: string | readonly string[];
  /**
   * Outputs of the source head: one index for each listed file, or `folders` where each image lies in a folder named by a
   * class of the source model's card, or by an output's number. Default: what the source model itself says of them.
   */
  labels?: readonly number[] | 'folders';
}

/** A folder of images, or with its own options. */
export const retainOption = z
  .unknown()
  .transform((value) => (typeof value === 'string' ? { images: value } : value))
  .pipe(retainSchema)
  .transform((value) => value as RetainOption);

const strength = z.number().min(0);

const regularisationSchemas = {
  'l2-sp': innerOptions({
    kind: z.literal('l2-sp'),
    alpha: strength.default(0.1),
    beta: strength.default(0.01),
  }),
  ewc: innerOptions({
    kind: z.literal('ewc'),
    lambda: strength.default(1000),
  }),
};

/** Names of the penalties on how far weights move. */
export const regularisationNames = Object.keys(regularisationSchemas) as ('l2-sp' | 'ewc')[];

/** `'l2-sp'`, `'ewc'`, or an object with `kind`. */
export const regularisationOption = named(regularisationNames)
  .pipe(z.discriminatedUnion('kind', Object.values(regularisationSchemas) as never))
  .transform(
    (value) => value as { kind: 'l2-sp'; alpha: number; beta: number } | { kind: 'ewc'; lambda: number },
  );

/** A penalty by name, or with its own options. */
export type RegularisationOption =
  | 'l2-sp'
  | 'ewc'
  | { kind: 'l2-sp'; alpha?: number; beta?: number }
  | { kind: 'ewc'; lambda?: number };

/** Strength and temperature. */
export const distillationOption = innerOptions({
  weight: z.number().gt(0).default(1),
  temperature: z.number().gt(0).default(2),
});

/** Learning without forgetting (Li and Hoiem 2016). */
export type DistillationOption = z.input<typeof distillationOption>;

/** Options of fineTune that are about forgetting. */
export interface ForgettingOptions {
  retain?: RetainOption | undefined;
  regularisation?: z.output<typeof regularisationOption> | undefined;
  distillation?: z.output<typeof distillationOption> | undefined;
}

/** @throws INVALID_VALUE for options that do not go together */
export function checkForgetting({
  optimizer,
  retain,
  regularisation,
  distillation,
  head,
}: ForgettingOptions & { optimizer: NativeOptimizer; head: { hidden: readonly number[] } }): void {
  if (regularisation?.kind === 'ewc' && !retain) {
    throw invalidValue(
      'fineTune: regularisation `ewc` weighs weights by images of the source task. Give them as `retain`, or use `l2-sp`.',
    );
  }
  const asked = regularisation ? 'regularisation' : distillation ? 'distillation' : undefined;
  if (asked && optimizer.kind === 'lbfgs') {
    throw invalidValue(
      `fineTune: \`${asked}\` has no meaning with \`lbfgs\`, which fits a head alone. Leave it out.`,
    );
  }
  if (distillation && head.hidden.length > 0) {
    throw invalidValue(
      'fineTune: `distillation` keeps the source head beside a new head of one layer. Leave `head.hidden` out.',
    );
  }
}
