import { z } from 'zod';
import { throwIfAborted } from '../errors.js';
import type { Model } from '../model.js';
import type { Tensor } from '../native.js';
import { callNative } from '../native-call.js';
import { checkOptions } from '../options.js';
import { createTrainer } from '../trainer.js';
import type { Features } from './features.js';
import type { LabelledRows } from './folds.js';
import { ascending, crossValidate, gridOptions, indexOfSmallest } from './grid.js';
import { type Matrix, openLinear, scoresOf } from './linear.js';
import type { LinearMap } from './linear-file.js';
import { logLoss, softmaxRows } from './probabilities.js';
import { checkFeatures, matrixOf, type ProbeResult, probeResult } from './result.js';
import { measureColumns, standardise, unstandardise } from './standardise.js';

const schema = z.strictObject({
  C: ascending.prefault([1e-4, 1e-3, 1e-2, 1e-1, 1, 10]),
  maxIterations: z.int().min(1).max(100_000).default(300),
  ...gridOptions,
});

/**
 * - `C`: the inverse strengths of the penalty to choose from; default 1e-4, 1e-3, ..., 10
 * - `maxIterations`: of L-BFGS for each fit; default 300
 * - `folds`: of the cross-validation that chooses; default 5
 * - `seed`: of the folds; default 0
 * - `signal`: stops between two fits with ABORTED
 */
export type LogisticOptions = z.input<typeof schema>;

/**
 * Multinomial logistic regression on standardised features: the usual linear probe (Kornblith et al., Do Better ImageNet
 * Models Transfer Better?, 2019). Natively by L-BFGS, with the objective of scikit-learn's LogisticRegression: mean
 * cross-entropy plus |W|^2 / (2 n C), the bias not penalised. `C` is the one with the lowest log loss in stratified
 * k-fold cross-validation of the training images; the validation images play no part in it.
 *
 * @throws INVALID_TYPE, INVALID_VALUE, SHAPE_MISMATCH, MODEL_FAILED, ABORTED
 */
export async function logisticProbe(features: Features, options: LogisticOptions = {}): Promise<ProbeResult> {
  const { C: grid, maxIterations, ...folding } = checkOptions(schema, options, 'logisticProbe');
  checkFeatures(features, 'logisticProbe');
  const classes = features.classes.length;
  const settings = { maxIterations, signal: folding.signal };
  const chosen = await chooseC(features, grid, folding, settings);
  const train = matrixOf(features.train);
  const measured = measureColumns(train);
  const learn = { features: standardise(train, measured), labels: features.train.labels };
  const path = grid.filter((value) => value <= chosen);
  const fitted = await fitPath(learn, classes, path, settings);
  const map = fitted.at(-1) as LinearMap;
  const scores = await scoresOf(map, standardise(matrixOf(features.val), measured));
  const linear = unstandardise(map, measured);
  const name = `logistic regression, C ${chosen}`;
  return { ...probeResult(name, features, softmaxRows(scores, classes), linear), C: chosen };
}

async function chooseC(
  features: Features,
  grid: readonly number[],
  folding: Parameters<typeof crossValidate>[1],
  settings: FitSettings,
): Promise<number> {
  if (grid.length === 1) return grid[0] as number;
  const classes = features.classes.length;
  const { labels, scores } = await crossValidate(features, folding, async ({ learn, held }) => {
    const all: Float32Array[] = [];
    for (const map of await fitPath(learn, classes, grid, settings))
      all.push(await scoresOf(map, held.features));
    return all;
  });
  const losses = scores.map((held) => logLoss(softmaxRows(held, classes), labels, classes));
  return grid[indexOfSmallest(losses)] ?? (grid[0] as number);
}

export interface FitSettings {
  maxIterations: number;
  signal: AbortSignal | undefined;
}

/** One fit for each C, each from where the one with the smaller C ended: most of the way is done then. */
export async function fitPath(
  { features, labels }: LabelledRows,
  classes: number,
  grid: readonly number[],
  settings: FitSettings,
): Promise<LinearMap[]> {
  const target: Tensor = { data: labels, shape: [features.rows], dtype: 'int32' };
  return fitTargets(features, target, grid, { ...settings, loss: 'crossEntropy', outputs: classes });
}

/**
 * The same to any target: class indices [n], of `outputs` classes, or with `bceWithLogits` 1 and 0 for each label,
 * [n, labels]; then C is scikit-learn's of a regression for each label alone.
 */
export async function fitTargets(
  { rows, columns, data }: Matrix,
  target: Tensor,
  grid: readonly number[],
  {
    maxIterations,
    signal,
    loss,
    outputs = target.shape[1] as number,
  }: FitSettings & { loss: 'crossEntropy' | 'bceWithLogits'; outputs?: number },
): Promise<LinearMap[]> {
  await using model = await openLinear({
    weight: new Float32Array(outputs * columns),
    bias: new Float32Array(outputs),
  });
  const batch = { inputs: [{ data, shape: [rows, columns], dtype: 'float32' as const }], target };
  const maps: LinearMap[] = [];
  for (const C of grid) {
    throwIfAborted(signal);
    const trainer = await createTrainer(model, {
      loss,
      // The tolerances of a fit whose predictions no longer move, not of one to float32's last digit.
      optimizer: {
        kind: 'lbfgs',
        maxIterations,
        toleranceGradient: 1e-5,
        toleranceChange: 1e-7,
      },
      // The loss is a mean over the target's elements.
      weightDecay: 1 / (target.data.length * C),
    });
    await trainer.step(batch);
    maps.push(await readMap(model));
  }
  return maps;
}

async function readMap(model: Model): Promise<LinearMap> {
  const [weight, bias] = await callNative(() => model.native.values(['weight', 'bias']));
  return { weight: weight?.data as Float32Array, bias: bias?.data as Float32Array };
}
