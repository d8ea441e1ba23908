import { loadAddon } from '../addon.js';
import { permutation } from '../data/random.js';
import { rocAuc } from '../metrics/curves.js';
import { callNative } from '../native-call.js';
import type { FeatureSplit, Features } from '../probe/features.js';
import { crossValidate } from '../probe/grid.js';
import { type Matrix, pickRows, scoresOf } from '../probe/linear.js';
import type { LinearMap } from '../probe/linear-file.js';
import { matrixOf } from '../probe/result.js';

/** Images of each domain that are looked at, at most. */
const mostImages = 1000;
/** Of the cross-validation. */
const folds = 5;
/** The smallest area under the curve that is taken for a shift, beside its interval lying above one half. */
const smallestArea = 0.6;

/** Whether target images can be told from the source's. */
export interface DomainShift {
  /** How well a linear classifier on the features tells held-out images of the two apart: 0.5 not at all, 1 always. */
  rocAuc: number;
  /** Its 95 % interval (Hanley and McNeil 1982). */
  low: number;
  high: number;
  /** The interval lies above 0.5 and the area is 0.6 or more. */
  isShift: boolean;
}

/**
 * Tells source and target apart by ridge regression on their features, cross-validated: the idea of the proxy A-distance
 * (Ben-David et al., A theory of learning from different domains, 2010). Takes images of the source that the model has not
 * learnt from, or it would tell memory from novelty.
 */
export async function measureShift(
  source: FeatureSplit,
  target: Pick<Features, 'train' | 'val'>,
  seed: number,
): Promise<DomainShift> {
  const own = sample(matrixOf(source), seed);
  const other = sample(joined(matrixOf(target.train), matrixOf(target.val)), seed + 1);
  const { labels, scores } = await crossValidate(
    pooled(own, other),
    { folds, seed },
    async ({ learn, held }) => {
      const { data, rows, columns } = learn.features;
      const wanted = Float32Array.from(learn.labels);
      // As much penalty as evidence: with more features than images nearly everything can be told apart otherwise.
      const [fitted] = await callNative(() =>
        loadAddon().ridge(
          { data, shape: [rows, columns], dtype: 'float32' },
          { data: wanted, shape: [rows, 1], dtype: 'float32' },
          [rows],
        ),
      );
      const map: LinearMap = {
        weight: fitted?.weight.data as Float32Array,
        bias: fitted?.bias.data as Float32Array,
      };
      return [await scoresOf(map, held.features)];
    },
  );
  const area = rocAuc(scores[0] as Float32Array, Uint8Array.from(labels)) ?? 0.5;
  const spread = 1.96 * standardError(area, other.rows, own.rows);
  const [low, high] = [Math.max(0, area - spread), Math.min(1, area + spread)];
  return { rocAuc: area, low, high, isShift: low > 0.5 && area >= smallestArea };
}

function sample(matrix: Matrix, seed: number): Matrix {
  if (matrix.rows <= mostImages) return matrix;
  return pickRows(matrix, permutation(matrix.rows, seed, 0).subarray(0, mostImages));
}

/** Both domains as two classes, in the form that cross-validation takes. */
function pooled(source: Matrix, target: Matrix): { train: FeatureSplit } {
  const { data: features, rows, columns } = joined(source, target);
  const labels = Int32Array.from({ length: rows }, (_, row) => (row < source.rows ? 0 : 1));
  return { train: { features, shape: [rows, columns], labels, paths: [] } };
}

function joined(first: Matrix, second: Matrix): Matrix {
  const { columns } = first;
  const data = new Float32Array(first.data.length + second.data.length);
  data.set(first.data);
  data.set(second.data, first.data.length);
  return { data, rows: first.rows + second.rows, columns };
}

/** Of an area under the ROC curve, by Hanley and McNeil (1982). */
function standardError(area: number, positives: number, negatives: number): number {
  const [first, second] = [area / (2 - area), (2 * area * area) / (1 + area)];
  const spread =
    area * (1 - area) + (positives - 1) * (first - area * area) + (negatives - 1) * (second - area * area);
  return Math.sqrt(Math.max(0, spread) / (positives * negatives));
}
