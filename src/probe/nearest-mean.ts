import { z } from 'zod';
import { checkOptions } from '../options.js';
import type { Features } from './features.js';
import { type Matrix, scoresOf } from './linear.js';
import type { LinearMap } from './linear-file.js';
import { bestScale, softmaxRows } from './probabilities.js';
import { checkFeatures, matrixOf, type ProbeResult, probeResult } from './result.js';
import { unitRows } from './unit-rows.js';

const schema = z.strictObject({ metric: z.enum(['euclidean', 'cosine']).default('euclidean') });

/** - `metric`: `euclidean` (default) to the mean of each class, or `cosine`, of features brought to length 1 first */
export type NearestMeanOptions = z.input<typeof schema>;

/**
 * Nearest class mean: an image is of the class whose mean of the training features is nearest (Mensink et al.,
 * Distance-Based Image Classification, 2013). Probabilities are a softmax of minus the squared distances, with one
 * temperature that gives the training images the lowest log loss. Nothing is chosen, so it is quick and hard to overfit.
 * With `euclidean` it is linear. A class without training images is never predicted.
 *
 * @throws INVALID_TYPE, INVALID_VALUE, SHAPE_MISMATCH, MODEL_FAILED
 */
export async function nearestMeanProbe(
  features: Features,
  options: NearestMeanOptions = {},
): Promise<ProbeResult> {
  const { metric } = checkOptions(schema, options, 'nearestMeanProbe');
  checkFeatures(features, 'nearestMeanProbe');
  const prepare = metric === 'cosine' ? unitRows : (rows: Matrix) => rows;
  const train = prepare(matrixOf(features.train));
  const { labels } = features.train;
  const classes = features.classes.length;
  const map = meansAsMap(train, labels, classes, metric === 'cosine');
  const scale = bestScale(await scoresOf(map, train), labels, classes);
  const scaled = { weight: map.weight.map((w) => w * scale), bias: map.bias.map((b) => b * scale) };
  const scores = await scoresOf(scaled, prepare(matrixOf(features.val)));
  const linear = metric === 'euclidean' ? scaled : undefined;
  return probeResult(`nearest class mean, ${metric}`, features, softmaxRows(scores, classes), linear);
}

/** What no class without images may reach: softmax makes 0 of it, and it stays finite when scaled. */
const never = -1e30;

/** Scores 2 x m - |m|^2: minus the squared distance to each mean m, without |x|^2, which all classes share. */
function meansAsMap(train: Matrix, labels: Int32Array, classes: number, toUnit: boolean): LinearMap {
  const { columns } = train;
  const counts = new Int32Array(classes);
  for (const label of labels) counts[label] = (counts[label] as number) + 1;
  const sums = new Float64Array(classes * columns);
  for (const [row, label] of labels.entries()) {
    for (let i = 0; i < columns; i++) {
      const at = label * columns + i;
      sums[at] = (sums[at] as number) + (train.data[row * columns + i] as number);
    }
  }
  const counted = sums.map((sum, at) => sum / Math.max(1, counts[Math.floor(at / columns)] as number));
  const means = { data: Float32Array.from(counted), rows: classes, columns };
  const { data } = toUnit ? unitRows(means) : means;
  const bias = Float32Array.from({ length: classes }, (_, label) => {
    if (counts[label] === 0) return never;
    const mean = data.subarray(label * columns, (label + 1) * columns);
    return -mean.reduce((sum, value) => sum + value * value, 0);
  });
  return { weight: data.map((value) => 2 * value), bias };
}
