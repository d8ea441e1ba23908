import type { ImageDataset, Sample } from '../data/dataset.js';
import { targetsOf, taskOf } from '../data/task.js';
import type { Graft } from '../forgetting/forgetting.js';
import { targetMetrics } from '../metrics/tasks.js';
import type { Model } from '../model.js';
import { callNative } from '../native-call.js';
import { ownerOf } from '../patterns.js';

/** Learning rates are made for targets that spread about 1. */
const spreads = { least: 0.05, most: 20 };

/** Mean and standard deviation of each target over samples. */
function spreadOf(samples: readonly Sample[], classes: readonly string[]) {
  return classes.map((_, at) => {
    const values = samples.map(({ targets }) => targets?.[at] as number);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    return { mean, std: Math.sqrt(variance) };
  });
}

/**
 * Begins a new head of a regression at the training targets' mean: its bias. Targets are not standardised, so what the saved
 * model gives is in their unit without another layer.
 *
 * @param head `fresh`: names of the parameters that are new, those of auxiliary heads among them; `layers`: the main heads' paths
 * @param hidden widths of its hidden layers
 */
export async function beginAtMean(
  model: Model,
  { splits, classes, task }: ImageDataset,
  { fresh, layers }: Pick<Graft, 'fresh' | 'layers'>,
  hidden: readonly number[],
): Promise<void> {
  // With hidden layers, which exclude auxiliary heads, the last one; else the main heads', of which several are averaged.
  const biases = fresh.filter((name) => name.endsWith('.bias'));
  const chosen =
    hidden.length > 0 ? biases.slice(-1) : biases.filter((name) => layers.includes(ownerOf(name)));
  if (taskOf({ task }) !== 'regression' || chosen.length === 0) return;
  const means = Float64Array.from(spreadOf(splits.train, classes), ({ mean }) => mean);
  const value = { data: means, shape: [means.length], dtype: 'float64' as const };
  await callNative(() =>
    model.native.setValues(
      chosen,
      chosen.map(() => value),
    ),
  );
}

const show = (value: number | null) => (value === null ? 'undefined' : value.toPrecision(3));

/** What a person should know of the targets before a run, one sentence each: what comes without learning, and odd units. */
export function targetNotices({ splits: { train, val }, classes, task }: ImageDataset): string[] {
  const kind = taskOf({ task });
  if (kind === 'single-label') return [];
  const spread = spreadOf(train, classes);
  const truth = targetsOf(val, Int32Array.from(val.keys())) as Float32Array;
  const constant = truth.map((_, i) => spread[i % classes.length]?.mean as number);
  if (kind === 'multi-label') {
    const shares = classes.map((_, at) =>
      truth.filter((value, i) => i % classes.length === at && value === 1),
    );
    const known = shares.filter(({ length }) => length > 0);
    const chance = known.reduce((sum, { length }) => sum + length / val.length, 0) / known.length;
    return [
      `Without learning: labels in an order at random have a mean average precision of ${show(chance)} on validation. ` +
        'The other baselines (`baselines`) are of data with one class an image.',
    ];
  }
  const metrics = targetMetrics('regression', constant, truth, 0, classes);
  const { mae, rmse } = metrics as { mae: number; rmse: number };
  const odd = classes.filter((_, at) => {
    const { std } = spread[at] as { std: number };
    return std < spreads.least || std > spreads.most;
  });
  return [
    `Without learning: the training images' mean has an MAE of ${show(mae)} and an RMSE of ${show(rmse)} on validation. ` +
      'The other baselines (`baselines`) are of data with one class an image.',
    ...odd.map(
      (name) =>
        `Target \`${name}\` has a standard deviation of ${show(spread[classes.indexOf(name)]?.std ?? null)}: targets are ` +
        'not standardised, and learning rates are made for about 1. Give it in another unit.',
    ),
  ];
}
