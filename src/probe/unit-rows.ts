import type { Matrix } from './linear.js';

/** Each row divided by its length; a row of zeros stays. */
export function unitRows({ data, rows, columns }: Matrix): Matrix {
  const values = new Float32Array(data.length);
  for (let from = 0; from < data.length; from += columns) {
    let sum = 0;
    for (let i = from; i < from + columns; i++) sum += (data[i] as number) ** 2;
    const factor = sum > 0 ? 1 / Math.sqrt(sum) : 0;
    for (let i = from; i < from + columns; i++) values[i] = (data[i] as number) * factor;
  }
  return { data: values, rows, columns };
}
