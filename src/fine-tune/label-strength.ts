import { plainLoss } from '../metrics/tasks.js';
import { indexOfSmallest } from '../probe/grid.js';
import { fitTargets } from '../probe/logistic.js';
import { quickSettings } from '../probe/quick.js';
import { crossValidateTargets, type TargetRows } from './target-folds.js';

/**
 * C of logistic regression for each label of a multi-label set, one for all of them: that with the least binary cross entropy
 * in cross-validation of the training images, of those that `quickProbe` chooses from.
 *
 * @returns scikit-learn's C
 */
export async function labelStrength(
  rows: TargetRows,
  { seed, signal }: { seed: number; signal?: AbortSignal | undefined },
): Promise<number> {
  const { C: grid, folds, maxIterations } = quickSettings;
  const { truth, scores } = await crossValidateTargets(rows, { folds, seed, signal }, (learn, targets) =>
    fitTargets(learn, targets, grid, { loss: 'bceWithLogits', maxIterations, signal }),
  );
  const losses = scores.map((held) => plainLoss('multi-label', held, truth));
  // A single training image leaves nothing to hold out.
  return grid[Math.max(0, indexOfSmallest(losses))] as number;
}
