import { z } from 'zod';
import type { NativeAugment } from './native.js';
import { innerOptions, suggest } from './options.js';

const positive = z.number().gt(0);
const range = z.tuple([positive, positive]).refine(([low, high]) => low <= high, 'expected [low, high]');
/** Of a Beta distribution; more than 1000 would make every share one half. */
const alpha = z.number().gt(0).max(1000).optional();

const augmentSchema = innerOptions({
  crop: z
    .strictObject({ scale: range.default([0.35, 1]), ratio: range.default([3 / 4, 4 / 3]) })
    .nullable()
    .default({ scale: [0.35, 1], ratio: [3 / 4, 4 / 3] }),
  horizontalFlip: z.number().min(0).max(1).default(0.5),
  verticalFlip: z.number().min(0).max(1).default(0),
  rotation: z.number().min(0).max(180).default(0),
  brightness: z.number().min(0).default(0),
  contrast: z.number().min(0).default(0),
  saturation: z.number().min(0).default(0),
  hue: z.number().min(0).max(0.5).default(0),
  // torchvision's defaults.
  randAugment: innerOptions({
    operations: z.int().min(1).max(16).default(2),
    magnitude: z.int().min(0).max(30).default(9),
  }).optional(),
  erasing: innerOptions({
    probability: z.number().min(0).max(1).default(0.5),
    scale: range
      .default([0.02, 0.33])
      .refine(([, high]) => high <= 1, 'expected shares of the area, up to 1'),
    ratio: range.default([0.3, 3.3]),
    value: z.enum(['zero', 'noise']).default('zero'),
  }).optional(),
  mixup: alpha,
  cutmix: alpha,
});

type AugmentParts = z.input<typeof augmentSchema>;

/**
 * What each name of `augment` stands for; null for nothing. `light` takes most of each image. `strong` has RandAugment by
 * torchvision's defaults (2 operations of magnitude 9), and erasing, mixup and cutmix as torchvision's training recipe of
 * 2021, which has TrivialAugment beside them: 0.1, 0.2 and 1.
 */
export const augmentPresets = {
  none: null,
  light: { crop: { scale: [0.8, 1], ratio: [3 / 4, 4 / 3] } },
  default: {},
  strong: { randAugment: {}, erasing: { probability: 0.1 }, mixup: 0.2, cutmix: 1 },
} satisfies Record<string, AugmentParts | null>;

/** Name of a set of augmentations. */
export type AugmentPreset = keyof typeof augmentPresets;

/** Names of the sets, from nothing to most. */
export const augmentPresetNames = Object.keys(augmentPresets) as AugmentPreset[];

/** A preset's name, or its parts. */
export const augmentOption = z
  .unknown()
  .transform((value, context) => {
    if (typeof value !== 'string') return value;
    if (Object.hasOwn(augmentPresets, value)) return augmentPresets[value as AugmentPreset];
    context.addIssue({
      code: 'custom',
      message: `unknown name \`${value}\`. ${suggest(value, augmentPresetNames)}`,
    });
    return z.NEVER;
  })
  .pipe(augmentSchema.nullable())
  .transform((augment) => augment as NativeAugment | null);

/** Whether images are mixed with others of their batch. */
export function mixesImages(augment: NativeAugment | null): boolean {
  return augment?.mixup !== undefined || augment?.cutmix !== undefined;
}

/**
 * Augmentation done natively, a pure function of (seed, epoch, image). A name: `none`; `light` (random resized crop of 80 to
 * 100 % of the area, horizontal flip); `default` (35 to 100 %, as fastai trains on Imagenette, since small sets suffer from
 * ImageNet's 8; and horizontal flip); `strong` (that, RandAugment, random erasing, mixup and cutmix). Or its parts, what is
 * left out being that of `default`:
 *
 * - `crop` {scale, ratio} or null, `horizontalFlip` and `verticalFlip` (probabilities), `rotation` (degrees)
 * - `randAugment` {operations: 2, magnitude: 9 of 0 to 30}: torchvision's RandAugment, after crop and flips; none by default.
 *   In the paper (Cubuk et al. 2020) and in timm 10 is what 30 is here, so that their 9 is about 27
 * - `brightness`, `contrast`, `saturation`, `hue`: as in torchvision.transforms.ColorJitter
 * - `erasing` {probability: 0.5, scale: [0.02, 0.33], ratio: [0.3, 3.3], value: 'zero' or 'noise'}: torchvision's
 *   RandomErasing, after normalisation; none by default
 * - `mixup`, `cutmix`: alpha of the Beta distribution of the images' shares (Zhang et al. 2018, Yun et al. 2019), one draw a
 *   batch; with both, either at even odds, as in timm. The label is shared likewise. They need live images: see `views`.
 *   Training accuracy then counts the image with the larger share.
 */
export type AugmentOption = AugmentPreset | AugmentParts;
