import { loadAddon } from '../addon.js';
import type { ImageDataset } from '../data/dataset.js';
import type { Tensor } from '../native.js';
import { callNative } from '../native-call.js';
import type { Features } from '../probe/features.js';
import { crossValidate, indexOfSmallest } from '../probe/grid.js';
import { type Matrix, scoresOf } from '../probe/linear.js';

/** scikit-learn's `alpha` of Ridge on standardised features. */
const lambdas = [0.1, 1, 10, 100, 1e3, 1e4];

/**
 * The penalty of a ridge regression on these features with the least squared error in 5-fold cross-validation of the training
 * images, each target weighed by 1 / its variance.
 *
 * @returns lambda of sum((y - Xw)^2) + lambda |w|^2
 */
export async function ridgeStrength(
  features: Pick<Features, 'train'>,
  { splits, classes }: ImageDataset,
  { seed, signal }: { seed: number; signal?: AbortSignal | undefined },
): Promise<number> {
  const byPath = new Map(splits.train.map(({ path, targets }) => [path, targets]));
  const targets = features.train.paths.map((path) => byPath.get(path) as readonly number[]);
  // In the place of labels the rows, by which a fold finds its targets; they are dealt to the folds in turn.
  const train = { ...features.train, labels: Int32Array.from(targets.keys()) };
  const { rows, scores } = await crossValidate(
    { train },
    { folds: 5, seed, signal },
    async ({ learn, held }) => {
      const own = Float32Array.from([...learn.labels].flatMap((row) => targets[row] as readonly number[]));
      const fits = await callNative(() =>
        loadAddon().ridge(
          tensorOf(learn.features),
          matrix(own, learn.labels.length, classes.length),
          lambdas,
        ),
      );
      const all: Float32Array[] = [];
      for (const { weight, bias } of fits) {
        const map = {
          weight: Float32Array.from(weight.data as Float32Array),
          bias: Float32Array.from(bias.data as Float32Array),
        };
        all.push(await scoresOf(map, held.features));
      }
      return all;
    },
  );
  const variances = classes.map((_, at) => varianceOf(targets.map((values) => values[at] as number)));
  const errors = scores.map((held) =>
    held.reduce((sum, score, i) => {
      const [row, at] = [rows[Math.floor(i / classes.length)] as number, i % classes.length];
      return sum + (score - (targets[row]?.[at] as number)) ** 2 / (variances[at] || 1);
    }, 0),
  );
  // A single training image leaves nothing to hold out.
  return lambdas[Math.max(0, indexOfSmallest(errors))] as number;
}

function varianceOf(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
}

function tensorOf({ data, rows, columns }: Matrix): Tensor {
  return matrix(data, rows, columns);
}

function matrix(data: Float32Array, rows: number, columns: number): Tensor {
  return { data, shape: [rows, columns], dtype: 'float32' };
}
