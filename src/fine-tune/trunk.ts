import type { ImageDataset } from '../data/dataset.js';
import type { Preprocessing } from '../data/preprocessing.js';
import { taskOf } from '../data/task.js';
import type { Model } from '../model.js';
import type { ReplaceHeadResult } from '../native.js';
import { callNative } from '../native-call.js';
import { extractFeatures } from '../probe/features.js';
import { quickProbe } from '../probe/quick.js';
import { matrixOf } from '../probe/result.js';
import { measureColumns } from '../probe/standardise.js';
import { isWithoutFeatures, readingOf } from './baselines.js';
import type { CheckedOptions } from './options.js';

/**
 * Readies a new head for a probe: its standardising layer gets the mean and standard deviation of the trunk's features over
 * the training images, and C of logistic regression is chosen on them by cross-validation.
 *
 * @returns C, of multi-label data and regressions 1 for each output; undefined where there are no features that can be kept, and the layer stays as it is
 */
export async function readyProbe(
  model: Model,
  data: ImageDataset,
  preprocessing: Preprocessing,
  options: CheckedOptions,
  standardiser: ReplaceHeadResult['standardiser'],
): Promise<number | undefined> {
  if (!options.split) return undefined;
  try {
    const { precision, seed, signal } = options;
    const features = await extractFeatures(model, data, { ...readingOf(options), preprocessing, precision });
    if (standardiser) {
      const { mean, std } = measureColumns(matrixOf(features.train));
      const vector = (data: Float64Array) => ({ data, shape: [data.length], dtype: 'float64' as const });
      await callNative(() =>
        model.native.setValues([standardiser.mean, standardiser.std], [vector(mean), vector(std)]),
      );
    }
    // Cross-validation is of classes. The loss is a mean over the outputs, so that this is each one's own C of 1.
    if (taskOf(data) !== 'single-label') return data.classes.length;
    const { C } = await quickProbe(features, { seed, signal });
    return C;
  } catch (error) {
    if (isWithoutFeatures(error)) return undefined;
    throw error;
  }
}
