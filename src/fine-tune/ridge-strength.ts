import { loadAddon } from '../addon.js';
import { callNative } from '../native-call.js';
import { indexOfSmallest } from '../probe/grid.js';
import { crossValidateTargets, type TargetRows, targetsOfRows } from './target-folds.js';

/** scikit-learn's `alpha` of Ridge on standardised features. */
const lambdas = [0.1, 1, 10, 100, 1e3, 1e4];

/**
 * The penalty of a ridge regression on these features with the least squared error in 5-fold cross-validation of the training
 * images, each target weighed by 1 / its variance.
 *
 * @returns lambda of sum((y - Xw)^2) + lambda |w|^2
 */
export async function ridgeStrength(
  rows: TargetRows,
  { seed, signal }: { seed: number; signal?: AbortSignal | undefined },
): Promise<number> {
  const folding = { folds: 5, seed, signal };
  const { truth, scores } = await crossValidateTargets(rows, folding, async (learn, targets) => {
    const features = { data: learn.data, shape: [learn.rows, learn.columns], dtype: 'float32' as const };
    const fits = await callNative(() => loadAddon().ridge(features, targets, lambdas));
    return fits.map(({ weight, bias }) => ({
      weight: Float32Array.from(weight.data as Float32Array),
      bias: Float32Array.from(bias.data as Float32Array),
    }));
  });
  const targets = targetsOfRows(rows);
  const { classes } = rows.data;
  const variances = classes.map((_, at) => varianceOf(targets.map((values) => values[at] as number)));
  const errors = scores.map((held) =>
    held.reduce((sum, score, i) => {
      return sum + (score - (truth[i] as number)) ** 2 / (variances[i % classes.length] || 1);
    }, 0),
  );
  // A single training image leaves nothing to hold out.
  return lambdas[Math.max(0, indexOfSmallest(errors))] as number;
}

function varianceOf(values: readonly number[]): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
}
