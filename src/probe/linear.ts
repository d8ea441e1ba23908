import { loadModel, type Model } from '../model.js';
import type { Tensor } from '../native.js';
import { type LinearMap, linearFile } from './linear-file.js';

/** Scores computed at a time, so that a product never takes more than 32 MiB. */
const mostScores = 2 ** 23;

/** Up to so many products are summed here: that takes milliseconds, as opening a native model does. */
const fewProducts = 2 ** 22;

/** Features of n images: [n, d], row-major. */
export interface Matrix {
  data: Float32Array;
  /** n. */
  rows: number;
  /** d. */
  columns: number;
}

/** A linear map as a native model; the caller disposes it. */
export async function openLinear(map: LinearMap): Promise<Model> {
  return loadModel(linearFile(map), { device: 'cpu' });
}

/** Scores of the map, a slice of rows at a time: x W^T + b, [slice, outputs]. */
export async function* scoreSlices(
  map: LinearMap,
  features: Matrix,
): AsyncGenerator<{ from: number; rows: number; scores: Float32Array }, void, void> {
  const { rows, columns, data } = features;
  const most = Math.max(1, Math.floor(mostScores / map.bias.length));
  await using model = await openLinear(map);
  for (let from = 0; from < rows; from += most) {
    const count = Math.min(most, rows - from);
    const slice = data.subarray(from * columns, (from + count) * columns);
    const output = await model.forward([{ data: slice, shape: [count, columns], dtype: 'float32' }]);
    yield { from, rows: count, scores: (output as Tensor).data as Float32Array };
  }
}

/** Scores of all rows, [n, outputs]. */
export async function scoresOf(map: LinearMap, features: Matrix): Promise<Float32Array> {
  const outputs = map.bias.length;
  if (features.rows * map.weight.length <= fewProducts) return multiply(map, features);
  const all = new Float32Array(features.rows * outputs);
  for await (const { from, scores } of scoreSlices(map, features)) all.set(scores, from * outputs);
  return all;
}

function multiply({ weight, bias }: LinearMap, { data, rows, columns }: Matrix): Float32Array {
  const outputs = bias.length;
  const scores = new Float32Array(rows * outputs);
  for (let row = 0; row < rows; row++) {
    for (let output = 0; output < outputs; output++) {
      let sum = bias[output] as number;
      for (let i = 0; i < columns; i++)
        sum += (data[row * columns + i] as number) * (weight[output * columns + i] as number);
      scores[row * outputs + output] = sum;
    }
  }
  return scores;
}

/** Some rows of a matrix. */
export function pickRows({ data, columns }: Matrix, indices: Int32Array): Matrix {
  const picked = new Float32Array(indices.length * columns);
  for (const [at, row] of indices.entries()) {
    picked.set(data.subarray(row * columns, (row + 1) * columns), at * columns);
  }
  return { data: picked, rows: indices.length, columns };
}
