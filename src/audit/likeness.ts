import { side } from './thumbnail.js';

/** Pixels on each side of the window whose mean is taken off: what is left is detail, not light and shade. */
const blur = 3;

/** Detail of a grey image [side, side]: what differs from the mean of the 7 x 7 pixels around, [side, side]. */
export function detailOf(pixels: Uint8Array): Float32Array {
  const values = Float32Array.from(pixels);
  const smooth = boxMean(boxMean(values, 1, side), side, 1);
  return values.map((value, at) => value - (smooth[at] as number));
}

/** Means of 2 `blur` + 1 values along one direction, fewer at the edges. */
function boxMean(values: Float32Array, along: number, across: number): Float32Array {
  const means = new Float32Array(values.length);
  for (let line = 0; line < side; line++) {
    let sum = 0;
    let count = 0;
    for (let i = -blur; i < side; i++) {
      const [enters, leaves] = [i + blur, i - blur - 1];
      if (enters < side) [sum, count] = [sum + (values[line * across + enters * along] as number), count + 1];
      if (leaves >= 0) [sum, count] = [sum - (values[line * across + leaves * along] as number), count - 1];
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
  let [sumA, sumB, squareA, squareB, product] = [0, 0, 0, 0, 0];
  for (let i = 0; i < a.length; i++) {
    const [x, y] = [a[i] as number, b[i] as number];
    sumA += x;
    sumB += y;
    squareA += x * x;
    squareB += y * y;
    product += x * y;
  }
  const n = a.length;
  const spread = Math.sqrt((squareA - (sumA * sumA) / n) * (squareB - (sumB * sumB) / n));
  return spread > 1e-6 * n ? (product - (sumA * sumB) / n) / spread : 0;
}
