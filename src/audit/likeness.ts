import type { GreyImage, Window } from './grey-image.js';

/** Places on each side that detail is compared at: when it counts, and when it is only asked where to look. */
export const sides = { fine: 36, coarse: 24 };

/**
 * Detail of a window of a grey image: what differs from the mean of the 7 x 7 places around (coarse: 5 x 5), less its mean, and
 * of length 1, so that light and shade do not count; all 0 for an image without any. [side, side].
 */
export function detailOf(
  image: GreyImage,
  window: Window,
  mirrored: boolean,
  side = sides.fine,
): Float32Array {
  const detail = image.means(window, side, side, mirrored);
  const blur = side / 12;
  const smooth = boxMean(boxMean(detail, 1, side, blur), side, 1, blur);
  let sum = 0;
  for (let i = 0; i < detail.length; i++) {
    detail[i] = (detail[i] as number) - (smooth[i] as number);
    sum += detail[i] as number;
  }
  const mean = sum / detail.length;
  let square = 0;
  for (let i = 0; i < detail.length; i++) square += ((detail[i] as number) - mean) ** 2;
  const scale = square > 1e-6 * detail.length ? 1 / Math.sqrt(square) : 0;
  for (let i = 0; i < detail.length; i++) detail[i] = ((detail[i] as number) - mean) * scale;
  return detail;
}

/** Means of 2 `blur` + 1 values along one direction, fewer at the edges. */
function boxMean(values: Float32Array, along: number, across: number, blur: number): Float32Array {
  const side = Math.max(along, across);
  const means = new Float32Array(values.length);
  for (let line = 0; line < side; line++) {
    let sum = 0;
    let count = 0;
    for (let i = -blur; i < side; i++) {
      const enters = i + blur;
      const leaves = i - blur - 1;
      if (enters < side) {
        sum += values[line * across + enters * along] as number;
        count += 1;
      }
      if (leaves >= 0) {
        sum -= values[line * across + leaves * along] as number;
        count -= 1;
      }
      if (i >= 0) means[line * across + i * along] = sum / count;
    }
  }
  return means;
}

/**
 * How alike two images are: Pearson's correlation of their detail, -1 to 1; 0 where one has none. Plain images whose light
 * and shade agree have detail of their own and come out near 0.
 */
export function likeness(a: Float32Array, b: Float32Array): number {
  let product = 0;
  for (let i = 0; i < a.length; i++) product += (a[i] as number) * (b[i] as number);
  return product;
}
