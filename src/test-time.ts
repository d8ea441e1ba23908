import { z } from 'zod';
import type { Preprocessing } from './data/preprocessing.js';
import { invalidValue } from './errors.js';

/**
 * Views of an image whose probabilities are averaged: itself and its mirror image (`flip`); the centre and the four corners of
 * the resized image (`five-crop`, torchvision's FiveCrop); those and their mirror images (`ten-crop`, TenCrop).
 */
export type TestTimeAugmentation = 'flip' | 'five-crop' | 'ten-crop';

/** Names of the ways. */
export const testTimeNames: readonly TestTimeAugmentation[] = ['flip', 'five-crop', 'ten-crop'];

export const testTimeOption = z.enum(['flip', 'five-crop', 'ten-crop']).optional();

/** Windows of each image, and whether each is seen mirrored too. */
export interface TestViews {
  crops: 1 | 5;
  mirrored: boolean;
}

/**
 * The views that a way stands for; undefined for the image alone. Where the margin of the centre is odd, torchvision's TenCrop
 * takes the second centre one pixel beside; here it is the first one mirrored.
 *
 * @throws INVALID_VALUE for corners of what has none, since the whole image is squashed or `resize` is no larger than `size`
 */
export function testViews(
  way: TestTimeAugmentation | undefined,
  { crop, size, resize }: Preprocessing,
  where: string,
): TestViews | undefined {
  if (way === undefined) return undefined;
  if (way === 'flip') return { crops: 1, mirrored: true };
  if (crop === 'none') {
    throw invalidValue(
      `${where}: \`tta\` ${way} takes corners of the resized image, and this model's preprocessing (crop ${crop}, ` +
        `resize ${resize}, size ${size}) leaves none. Use \`flip\`.`,
    );
  }
  return { crops: 5, mirrored: way === 'ten-crop' };
}

/** Images in a forward, so that it has about as many views as it had images. */
export function imagesAtOnce(batchSize: number, views: TestViews | undefined): number {
  return views ? Math.max(1, Math.floor(batchSize / (views.crops * (views.mirrored ? 2 : 1)))) : batchSize;
}
