import { z } from 'zod';
import { invalidValue } from '../errors.js';
import type { NativePreprocess } from '../native.js';
import { checkOptions } from '../options.js';

const size = z.int().min(1).max(8192);
const perChannel = z.tuple([z.number(), z.number(), z.number()]);
const perChannelPositive = z.tuple([z.number().positive(), z.number().positive(), z.number().positive()]);

const fields = z.strictObject({
  size,
  resize: size,
  crop: z.enum(['center', 'none']),
  mean: perChannel,
  std: perChannelPositive,
  interpolation: z.enum(['bilinear', 'bicubic']),
  pixelRange: z
    .tuple([z.number(), z.number()])
    .refine(([black, white]) => black < white, 'expected black and white, the smaller number first')
    .optional(),
});

/** What a file that carries a preprocessing must hold; see {@link Preprocessing}. */
export const preprocessingSchema = fields.refine((p) => p.crop === 'none' || p.resize >= p.size, {
  message: 'must be at least `size`: a centre crop cannot be larger than the image it is cut from',
  path: ['resize'],
});

/**
 * How an image becomes the model's input; plain JSON, carried by the model so that train and predict cannot disagree.
 *
 * - `size`: height and width the model receives, pixels
 * - `resize`: short side after resizing for crop `center`, pixels; also the side of the training canvas
 * - `crop`: `center` is torchvision's Resize(resize) and CenterCrop(size); `none` squashes the whole image to size x size
 * - `mean`, `std`: red, green, blue, in units of 0..1; input = (pixel / 255 - mean) / std
 * - `pixelRange`: what is black and what is white in images of more than 8 bits per channel, for example [0, 4095] of 12 bits;
 *   left out: by the kind of their numbers, and what leaves it in doubt is refused
 * - `interpolation`: `bilinear` or `bicubic` (a = -0.5), both antialiased as in PIL and torchvision
 */
export type Preprocessing = z.output<typeof fields>;

/** Name of a pair of mean and standard deviation in common use. */
export type Normalisation = 'imagenet' | 'signed' | 'none';

const normalisations: Record<Normalisation, Pick<Preprocessing, 'mean' | 'std'>> = {
  imagenet: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
  signed: { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  none: { mean: [0, 0, 0], std: [1, 1, 1] },
};

/** Mean and std by name: `imagenet` as torchvision's weights, `signed` to -1..1, `none` to 0..1. */
export function normalisation(name: Normalisation): Pick<Preprocessing, 'mean' | 'std'> {
  const { mean, std } = normalisations[name];
  return { mean: [...mean], std: [...std] };
}

/**
 * A whole preprocessing from the parts that differ from the defaults: size 224, resize = size x 256 / 224 rounded,
 * crop `center`, ImageNet's mean and std, `bilinear`.
 *
 * @throws TypeError (`INVALID_TYPE`) or RangeError (`INVALID_VALUE`) naming the part that is wrong; also for a mean or std of
 * pixels from 0 to 255, with what they are from 0 to 1
 */
export function completePreprocessing(parts: Partial<Preprocessing> = {}): Preprocessing {
  const checked = checkOptions(fields.partial(), parts, 'preprocessing');
  refuseByteScale(checked);
  const side = checked.size ?? 224;
  const whole = {
    size: side,
    resize: Math.round((side * 256) / 224),
    crop: 'center',
    interpolation: 'bilinear',
    ...normalisation('imagenet'),
    ...checked,
  };
  return checkOptions(preprocessingSchema, whole, 'preprocessing');
}

/** Pixels are 0 to 1: a mean of them is no more than 1, and a standard deviation no more than 0.5. */
const mostOfUnit = 2;

function refuseByteScale({ mean, std }: Partial<Preprocessing>): void {
  const isLarge = (values: readonly number[] | undefined) =>
    values?.some((value) => Math.abs(value) > mostOfUnit);
  if (!isLarge(mean) && !isLarge(std)) return;
  // Networks that take 0 to 255 less a mean have a std of 1 beside it.
  const divided = (values: readonly number[] | undefined) =>
    values?.some((value) => Math.abs(value) >= 1)
      ? values.map((value) => Number((value / 255).toPrecision(6)))
      : values;
  const told = [
    ...(mean ? [`mean ${divided(mean)?.join()}`] : []),
    ...(std ? [`std ${divided(std)?.join()}`] : []),
  ];
  throw invalidValue(
    `preprocessing: ${isLarge(mean) ? `\`mean\` ${mean?.join()}` : `\`std\` ${std?.join()}`} is for pixels from 0 to 255, and here ` +
      `they are from 0 to 1. Divide by 255: ${told.join(' and ')}.`,
  );
}

/** The part of a preprocessing that is done natively. */
export function nativePreprocess({ mean, std, size }: Preprocessing): NativePreprocess {
  return { mean: [...mean], std: [...std], size: [size, size] };
}
