import { loadImages } from '../data/images.js';
import { nativePreprocess, type Preprocessing } from '../data/preprocessing.js';
import type { Model } from '../model.js';
import { callNative } from '../native-call.js';
import { extractFeatures, type Features } from './features.js';
import { type Matrix, scoresOf } from './linear.js';
import type { LinearMap } from './linear-file.js';
import { softmaxRows } from './probabilities.js';
import { matrixOf } from './result.js';

const mostImages = 16;

/** Largest deviation of a probability by rounding in float32. */
export const headTolerance = 0.005;

/** Features of the same network in a lower precision deviate by less, relative to their norm. */
const another = 0.3;

/** Images, with the float32 features that a head is compared on: in a lower precision rounding looks like another head. */
export interface HeadProof {
  paths: string[];
  preprocessing: Preprocessing;
  features: Matrix;
  /** The features that were given are of another network. */
  isOfAnother: boolean;
}

/** Up to 16 validation images, evenly spread, whose features the model computes anew. */
export async function headProof(model: Model, features: Features): Promise<HeadProof> {
  const { val, preprocessing, layer, classes, data } = features;
  const step = Math.max(1, Math.ceil(val.paths.length / mostImages));
  const rows = val.paths.map((_, row) => row).filter((row) => row % step === 0);
  const paths = rows.map((row) => val.paths[row] as string);
  const train = paths.map((path) => ({ path, label: 0 }));
  const { train: exact } = await extractFeatures(
    model,
    { classes, splits: { train, val: [] }, warnings: [], summary: data },
    { preprocessing, layer, precision: 'float32', cache: 'memory' },
  );
  return {
    ...{ paths, preprocessing, features: matrixOf(exact) },
    isOfAnother: deviationOf(val, rows, exact) > another,
  };
}

/** Of the given rows from the exact ones, relative to the norm of these. */
function deviationOf(given: Features['val'], rows: readonly number[], exact: Features['train']): number {
  const columns = exact.shape[1];
  if (given.shape[1] !== columns) return Number.POSITIVE_INFINITY;
  let apart = 0;
  let norm = 0;
  for (const [at, row] of rows.entries()) {
    for (let column = 0; column < columns; column++) {
      const value = exact.features[at * columns + column] as number;
      apart += ((given.features[row * columns + column] as number) - value) ** 2;
      norm += value ** 2;
    }
  }
  return Math.sqrt(apart / (norm || 1));
}

/** The largest difference between the model's probabilities and those of a linear map of its features. */
export async function headDeviation(
  model: Model,
  { paths, preprocessing, features }: HeadProof,
  map: LinearMap,
): Promise<number> {
  const { data, shape } = await loadImages(paths, preprocessing);
  const { logits } = await callNative(() =>
    model.native.evaluate({
      inputs: [{ data, shape, dtype: 'uint8' }],
      preprocess: nativePreprocess(preprocessing),
    }),
  );
  const classes = map.bias.length;
  const said = softmaxRows(logits.data as Float32Array, classes);
  const expected = softmaxRows(await scoresOf(map, features), classes);
  return said.reduce((most, value, at) => Math.max(most, Math.abs(value - (expected[at] as number))), 0);
}
