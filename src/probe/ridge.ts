import { z } from 'zod';
import { loadAddon } from '../addon.js';
import type { Tensor } from '../native.js';
import { callNative } from '../native-call.js';
import { checkOptions } from '../options.js';
import type { Features } from './features.js';
import type { LabelledRows } from './folds.js';
import { ascending, crossValidate, gridOptions, indexOfSmallest } from './grid.js';
import { scoresOf } from './linear.js';
import type { LinearMap } from './linear-file.js';
import { bestScale, logLoss, softmaxRows } from './probabilities.js';
import { checkFeatures, matrixOf, type ProbeResult, probeResult } from './result.js';
import { measureColumns, standardise, unstandardise } from './standardise.js';

const schema = z.strictObject({
  lambdas: ascending.prefault([1, 10, 100, 1e3, 1e4, 1e5, 1e6]),
  ...gridOptions,
});

/**
 * - `lambdas`: the penalties to choose from, scikit-learn's `alpha`; default 1, 10, ..., 1e6
 * - `folds`: of the cross-validation that chooses; default 5
 * - `seed`: of the folds; default 0
 * - `signal`: stops between two fits with ABORTED
 */
export type RidgeOptions = z.input<typeof schema>;

/**
 * Ridge regression of one-hot classes on standardised features, all penalties in closed form from one decomposition
 * (Hastie et al., The Elements of Statistical Learning, 3.4.1). The penalty, and the one temperature that makes a softmax of
 * the scores into probabilities, are those with the lowest log loss in stratified k-fold cross-validation of the training
 * images; the validation images play no part in it.
 *
 * @throws INVALID_TYPE, INVALID_VALUE, SHAPE_MISMATCH, MODEL_FAILED, ABORTED
 */
export async function ridgeProbe(features: Features, options: RidgeOptions = {}): Promise<ProbeResult> {
  const { lambdas, ...folding } = checkOptions(schema, options, 'ridgeProbe');
  checkFeatures(features, 'ridgeProbe');
  const classes = features.classes.length;
  const { lambda, scale } = await choose(features, lambdas, folding);
  const train = matrixOf(features.train);
  const measured = measureColumns(train);
  const learn = { features: standardise(train, measured), labels: features.train.labels };
  const [plain] = (await fit(learn, classes, [lambda])) as [LinearMap];
  const map = { weight: plain.weight.map((w) => w * scale), bias: plain.bias.map((b) => b * scale) };
  const scores = await scoresOf(map, standardise(matrixOf(features.val), measured));
  const linear = unstandardise(map, measured);
  return probeResult(`ridge, lambda ${lambda}`, features, softmaxRows(scores, classes), linear);
}

/** The penalty with the lowest held-out log loss, each judged with its own best temperature. */
async function choose(
  features: Features,
  lambdas: readonly number[],
  folding: Parameters<typeof crossValidate>[1],
): Promise<{ lambda: number; scale: number }> {
  const classes = features.classes.length;
  const { labels, scores } = await crossValidate(features, folding, async ({ learn, held }) => {
    const all: Float32Array[] = [];
    for (const map of await fit(learn, classes, lambdas)) all.push(await scoresOf(map, held.features));
    return all;
  });
  const scales = scores.map((held) => bestScale(held, labels, classes));
  const losses = scores.map((held, at) => logLoss(softmaxRows(held, classes, scales[at]), labels, classes));
  const best = Math.max(0, indexOfSmallest(losses));
  // A single training image leaves nothing to hold out.
  return { lambda: lambdas[best] as number, scale: scales[best] ?? 1 };
}

async function fit(
  { features: { data, rows, columns }, labels }: LabelledRows,
  classes: number,
  lambdas: readonly number[],
): Promise<LinearMap[]> {
  const targets = new Float32Array(rows * classes);
  for (const [row, label] of labels.entries()) targets[row * classes + label] = 1;
  const float32 = (values: Float32Array, width: number): Tensor => {
    return { data: values, shape: [rows, width], dtype: 'float32' };
  };
  const fits = await callNative(() =>
    loadAddon().ridge(float32(data, columns), float32(targets, classes), [...lambdas]),
  );
  return fits.map(({ weight, bias }) => ({
    weight: Float32Array.from(weight.data as Float32Array),
    bias: Float32Array.from(bias.data as Float32Array),
  }));
}
