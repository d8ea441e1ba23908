import { TorchgraftError } from '../errors.js';
import type { Tensor } from '../native.js';

/**
 * One vector for each image: the crossing value that the head takes in, feature maps [n, d, h, w] averaged over height
 * and width.
 *
 * @param crossings [n, d] or [n, d, h, w]; with auxiliary heads one for each
 * @param inFeatures d of the main head
 * @returns [n, d], row-major
 * @throws MODEL_FAILED where none is a vector or a map of d features, or several are
 */
export function poolCrossing(crossings: readonly Tensor[], inFeatures: number, name: string): Float32Array {
  const fitting = crossings.filter(
    ({ shape }) => shape[1] === inFeatures && (shape.length === 2 || shape.length === 4),
  );
  const [found] = fitting;
  if (!found || fitting.length > 1) {
    const shapes = crossings.map(({ shape }) => `[${['n', ...shape.slice(1)].join(', ')}]`).join(', ');
    throw new TorchgraftError(
      'MODEL_FAILED',
      `${name}: its head takes ${inFeatures} features, and what reaches it is ${shapes}. Expected exactly one ` +
        `[n, ${inFeatures}] or [n, ${inFeatures}, h, w]. Fine-tune the model instead.`,
    );
  }
  const data = found.data as Float32Array;
  const area = found.shape.slice(2).reduce((a, b) => a * b, 1);
  if (area === 1) return data;
  return Float32Array.from({ length: data.length / area }, (_, vector) => {
    let sum = 0;
    for (let i = vector * area; i < (vector + 1) * area; i++) sum += data[i] as number;
    return sum / area;
  });
}
