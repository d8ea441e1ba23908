import { loadAddon } from '../addon.js';
import type { Tensor } from '../native.js';
import { callNative } from '../native-call.js';
import type { Features } from './features.js';
import { checkFeatures } from './result.js';

/**
 * LogME of the training features: the logarithm of the evidence of a Bayesian linear model of each class against the rest,
 * at its maximum, per image, mean over the classes (You et al., LogME: Practical Assessment of Pre-trained Models for Transfer
 * Learning, 2021). The higher, the better the features explain the labels; without fitting a classifier, and without
 * looking at the validation images. Values of one data set can be compared, also between different d.
 *
 * @throws INVALID_TYPE, INVALID_VALUE, SHAPE_MISMATCH, MODEL_FAILED
 */
export async function logME(features: Features): Promise<number> {
  checkFeatures(features, 'logME');
  const { classes, train } = features;
  return callNative(() => loadAddon().logME(trainTensor(features), train.labels, classes.length));
}

/**
 * H-score of the training features, 0 to classes - 1: how much of their variance the classes explain (Bao et al., An
 * Information-Theoretic Approach to Transferability in Task Transfer Learning, 2019), with the covariance shrunk as Ledoit and
 * Wolf do (Ibrahim et al., Newer is not always better, 2021): without it the score says nothing where there are more
 * features than images. The higher, the better; values of one data set can be compared.
 *
 * @throws INVALID_TYPE, INVALID_VALUE, SHAPE_MISMATCH, MODEL_FAILED
 */
export async function hScore(features: Features): Promise<number> {
  checkFeatures(features, 'hScore');
  const { classes, train } = features;
  return callNative(() => loadAddon().hScore(trainTensor(features), train.labels, classes.length, true));
}

function trainTensor({ train: { features, shape } }: Features): Tensor {
  return { data: features, shape: [...shape], dtype: 'float32' };
}
