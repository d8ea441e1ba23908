import type { ImageDataset } from '../data/dataset.js';
import type { Tensor } from '../native.js';
import type { Features } from '../probe/features.js';
import { crossValidate } from '../probe/grid.js';
import { type Matrix, scoresOf } from '../probe/linear.js';
import type { LinearMap } from '../probe/linear-file.js';

/** What is known of the training images of a multi-label set or a regression. */
export interface TargetRows {
  features: Pick<Features, 'train'>;
  data: Pick<ImageDataset, 'splits' | 'classes'>;
}

/** Targets of each training image that features are known of, in their order. */
export function targetsOfRows({ features, data: { splits } }: TargetRows): (readonly number[])[] {
  const byPath = new Map(splits.train.map(({ path, targets }) => [path, targets]));
  return features.train.paths.map((path) => byPath.get(path) as readonly number[]);
}

/**
 * Cross-validation of the training images of a multi-label set or a regression, which are dealt to the folds in turn.
 *
 * @param fit the maps of standardised features [n, d] to targets [n, outputs], one for each candidate
 * @returns truth and scores of each candidate, row-major [n, outputs], of what was held out
 */
export async function crossValidateTargets(
  rows: TargetRows,
  folding: { folds: number; seed: number; signal?: AbortSignal | undefined },
  fit: (learn: Matrix, targets: Tensor) => Promise<LinearMap[]>,
): Promise<{ truth: Float32Array; scores: Float32Array[] }> {
  const targets = targetsOfRows(rows);
  const pick = (indices: Int32Array) =>
    Float32Array.from([...indices].flatMap((row) => targets[row] as readonly number[]));
  // In the place of labels the rows, by which a fold finds its targets.
  const train = { ...rows.features.train, labels: Int32Array.from(targets.keys()) };
  const held = await crossValidate({ train }, folding, async ({ learn, held }) => {
    const shape = [learn.labels.length, rows.data.classes.length];
    const maps = await fit(learn.features, { data: pick(learn.labels), shape, dtype: 'float32' });
    const all: Float32Array[] = [];
    for (const map of maps) all.push(await scoresOf(map, held.features));
    return all;
  });
  return { truth: pick(held.rows), scores: held.scores };
}
