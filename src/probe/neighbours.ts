import { z } from 'zod';
import { checkOptions } from '../options.js';
import type { Features } from './features.js';
import { type Matrix, scoreSlices } from './linear.js';
import { checkFeatures, matrixOf, type ProbeResult, probeResult } from './result.js';
import { unitRows } from './unit-rows.js';

const schema = z.strictObject({
  k: z.int().min(1).max(10_000).default(20),
  metric: z.enum(['cosine', 'euclidean']).default('cosine'),
  temperature: z.number().gt(0).default(0.07),
});

/**
 * - `k`: neighbours that vote, at most all training images; default 20
 * - `metric`: `cosine` (default) or `euclidean`
 * - `temperature`: with `cosine` a neighbour's vote weighs exp(similarity / temperature); default 0.07
 */
export type NeighboursOptions = z.input<typeof schema>;

/**
 * k nearest neighbours among the training images, as features of frozen networks are usually judged: votes weigh
 * exp(cosine / temperature) (Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, 2018;
 * k 20 and 0.07 as DINO, 2021); with `euclidean` the inverse of the distance, as in scikit-learn. Probabilities are the
 * shares of the votes, each class having 1 / classes of one neighbour's mean vote beforehand (Laplace), so that none is 0.
 *
 * @throws INVALID_TYPE, INVALID_VALUE, SHAPE_MISMATCH, MODEL_FAILED
 */
export async function neighboursProbe(
  features: Features,
  options: NeighboursOptions = {},
): Promise<ProbeResult> {
  const { k, metric, temperature } = checkOptions(schema, options, 'neighboursProbe');
  checkFeatures(features, 'neighboursProbe');
  const { classes } = features;
  const { labels } = features.train;
  const most = Math.min(k, labels.length);
  const { train, val, bias } = prepare(matrixOf(features.train), matrixOf(features.val), metric);
  const probabilities = new Float32Array(val.rows * classes.length);
  for await (const { from, rows, scores } of scoreSlices({ weight: train.data, bias }, val)) {
    for (let row = 0; row < rows; row++) {
      const own = scores.subarray(row * train.rows, (row + 1) * train.rows);
      const nearest = largestOf(own, most);
      const weights =
        metric === 'cosine'
          ? softVotes(own, nearest, temperature)
          : inverseDistances(own, nearest, val, from + row);
      const shares = voteShares(nearest, weights, labels, classes.length);
      probabilities.set(shares, (from + row) * classes.length);
    }
  }
  return probeResult(`${most} nearest neighbours, ${metric}`, features, probabilities);
}

/** Scores of a pair: the cosine; or 2 x t - |t|^2, which orders as minus the squared distance does. */
function prepare(train: Matrix, val: Matrix, metric: 'cosine' | 'euclidean') {
  if (metric === 'cosine') {
    return { train: unitRows(train), val: unitRows(val), bias: new Float32Array(train.rows) };
  }
  const origin = train.data.slice(0, train.columns).fill(0);
  for (const [at, value] of train.data.entries()) {
    const column = at % train.columns;
    origin[column] = (origin[column] as number) + value / train.rows;
  }
  // Around the mean, so that the products do not lose the distances to rounding.
  const centre = (rows: Matrix) => ({
    ...rows,
    data: rows.data.map((value, at) => value - (origin[at % rows.columns] as number)),
  });
  const centred = centre(train);
  const bias = Float32Array.from({ length: train.rows }, (_, row) => -squaredLength(centred, row));
  const doubled = { ...centred, data: centred.data.map((value) => 2 * value) };
  return { train: doubled, val: centre(val), bias };
}

function squaredLength({ data, columns }: Matrix, row: number): number {
  let sum = 0;
  for (let i = row * columns; i < (row + 1) * columns; i++) sum += (data[i] as number) ** 2;
  return sum;
}

/** Indices of the largest values, in no order. */
function largestOf(values: Float32Array, count: number): Int32Array {
  const bound = values.slice().sort()[values.length - count] as number;
  const above: number[] = [];
  const equal: number[] = [];
  for (const [index, value] of values.entries()) {
    if (value > bound) above.push(index);
    else if (value === bound) equal.push(index);
  }
  return Int32Array.from([...above, ...equal.slice(0, count - above.length)]);
}

function softVotes(scores: Float32Array, nearest: Int32Array, temperature: number): Float64Array {
  return Float64Array.from(nearest, (index) => Math.exp(((scores[index] as number) - 1) / temperature));
}

/** Where a neighbour is the image itself (distance 0, up to rounding), only such neighbours vote. */
function inverseDistances(scores: Float32Array, nearest: Int32Array, val: Matrix, row: number): Float64Array {
  const length = squaredLength(val, row);
  const squares = Float64Array.from(nearest, (index) => Math.max(0, length - (scores[index] as number)));
  const isSame = squares.map((square) => Number(square <= 1e-6 * length));
  return isSame.includes(1) ? isSame : squares.map((square) => 1 / Math.sqrt(square));
}

function voteShares(
  nearest: Int32Array,
  weights: Float64Array,
  labels: Int32Array,
  classes: number,
): Float64Array {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  // Votes of images that are all far away may be too small for a float; then nobody is preferred.
  const mean = total > 0 ? total / nearest.length : 1;
  const votes = new Float64Array(classes).fill(mean / classes);
  for (const [at, index] of nearest.entries()) {
    const label = labels[index] as number;
    votes[label] = (votes[label] as number) + (weights[at] as number);
  }
  const all = votes.reduce((sum, vote) => sum + vote, 0);
  return votes.map((vote) => vote / all);
}
