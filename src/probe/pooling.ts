import { TorchgraftError } from '../errors.js';
import type { HeadDescription, Tensor } from '../native.js';

/**
 * One vector for each image: the crossing value that the head takes in, feature maps [n, d, h, w] averaged over height
 * and width. Of several heads that make the output together, what each takes in stands side by side.
 *
 * @param crossings [n, d] or [n, d, h, w]; with auxiliary heads one for each
 * @param heads the main ones
 * @returns [n, width], row-major
 * @throws MODEL_FAILED where none is a vector or a map of d features, or more are than there are heads
 */
export function poolCrossing(
  crossings: readonly Tensor[],
  heads: readonly Pick<HeadDescription, 'inFeatures'>[],
  name: string,
): { data: Float32Array; width: number } {
  const widths = new Set(heads.map(({ inFeatures }) => inFeatures));
  const fitting = crossings.filter(
    ({ shape }) => widths.has(shape[1] as number) && (shape.length === 2 || shape.length === 4),
  );
  if (fitting.length === 0 || fitting.length > heads.length) {
    const shapes = crossings.map(({ shape }) => `[${['n', ...shape.slice(1)].join(', ')}]`).join(', ');
    const wanted = [...widths].map((d) => `[n, ${d}] or [n, ${d}, h, w]`).join(', ');
    throw new TorchgraftError(
      'MODEL_FAILED',
      `${name}: its head takes ${[...widths].join(' and ')} features, and what reaches it is ${shapes}. Expected exactly ` +
        `one ${wanted} for each head. Fine-tune the model instead.`,
    );
  }
  return sideBySide(fitting.map((tensor) => ({ data: pooled(tensor), width: tensor.shape[1] as number })));
}

function sideBySide(parts: { data: Float32Array; width: number }[]): { data: Float32Array; width: number } {
  const [first] = parts as [{ data: Float32Array; width: number }];
  if (parts.length === 1) return first;
  const width = parts.reduce((sum, part) => sum + part.width, 0);
  const rows = first.data.length / first.width;
  const data = new Float32Array(rows * width);
  let at = 0;
  for (let row = 0; row < rows; row++) {
    for (const part of parts) {
      data.set(part.data.subarray(row * part.width, (row + 1) * part.width), at);
      at += part.width;
    }
  }
  return { data, width };
}

function pooled(found: Tensor): Float32Array {
  const data = found.data as Float32Array;
  const area = found.shape.slice(2).reduce((a, b) => a * b, 1);
  if (area === 1) return data;
  return Float32Array.from({ length: data.length / area }, (_, vector) => {
    let sum = 0;
    for (let i = vector * area; i < (vector + 1) * area; i++) sum += data[i] as number;
    return sum / area;
  });
}
