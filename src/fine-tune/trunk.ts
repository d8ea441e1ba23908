import type { ImageDataset } from '../data/dataset.js';
import type { Preprocessing } from '../data/preprocessing.js';
import { taskOf } from '../data/task.js';
import type { Model } from '../model.js';
import type { ReplaceHeadResult } from '../native.js';
import { callNative } from '../native-call.js';
import { extractWith } from '../probe/features.js';
import { quickProbe } from '../probe/quick.js';
import { matrixOf } from '../probe/result.js';
import { measureColumns } from '../probe/standardise.js';
import type { Stopwatch } from '../stopwatch.js';
import { isWithoutFeatures, readingOf } from './baselines.js';
import { labelStrength } from './label-strength.js';
import type { CheckedOptions } from './options.js';
import { ridgeStrength } from './ridge-strength.js';

/**
 * Readies a new head for a probe: its standardising layer gets the mean and standard deviation of the trunk's features over
 * the training images, and C of logistic regression is chosen on them by cross-validation.
 *
 * @returns C of the whole loss: of a multi-label set that of logistic regression for each label, of a regression that of a
 * ridge; undefined where there are no features that can be kept, and the layer stays as it is
 */
export async function readyProbe(
  model: Model,
  data: ImageDataset,
  preprocessing: Preprocessing,
  options: CheckedOptions,
  standardiser: ReplaceHeadResult['standardiser'],
  watch: Stopwatch,
): Promise<number | undefined> {
  if (!options.split) return undefined;
  try {
    const { precision, seed, signal } = options;
    const asked = { ...readingOf(options), preprocessing, precision };
    const features = await extractWith(model, data, asked, { watch });
    if (standardiser) {
      const { mean, std } = measureColumns(matrixOf(features.train));
      const vector = (data: Float64Array) => ({ data, shape: [data.length], dtype: 'float64' as const });
      await callNative(() =>
        model.native.setValues([standardiser.mean, standardiser.std], [vector(mean), vector(std)]),
      );
    }
    const task = taskOf(data);
    const outputs = data.classes.length;
    const choosing = { seed, signal };
    // The loss is a mean over the outputs, C of each label alone.
    if (task === 'multi-label') return outputs * (await labelStrength({ features, data }, choosing));
    // weightDecay / 2 |w|^2 beside the mean of squared errors is a ridge with lambda = weightDecay x images x outputs / 2.
    if (task === 'regression') return outputs / (2 * (await ridgeStrength({ features, data }, choosing)));
    const { C } = await quickProbe(features, choosing);
    return C;
  } catch (error) {
    if (isWithoutFeatures(error)) return undefined;
    throw error;
  }
}
