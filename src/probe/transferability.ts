import { loadAddon } from '../addon.js';
import type { Tensor } from '../native.js';
import { callNative } from '../native-call.js';
import type { Features } from './features.js';
import { checkFeatures } from './result.js';

/**
 * LogME of the training features: the logarithm of the maximum evidence of Bayesian linear regression of the classes,
 * per image and averaged over the classes (You et al., LogME: Practical Assessment of Pre-trained Models for Transfer
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
 * H-score of the training features: trace of the inverse covariance of the features times the covariance of the class
 * means (Bao et al., An Information-Theoretic Approach to Transferability in Task Transfer Learning, 2019), with the
 * covariance shrunk towards a multiple of the identity (Ibrahim et al., Newer is not always better, 2022), without
 * which it says nothing where features outnumber images. From 0 to at most classes - 1; the higher, the better.
 *
 * @param shrinkage share of the identity, 0 to 1; default 0.1
 * @throws INVALID_TYPE, INVALID_VALUE, SHAPE_MISMATCH, MODEL_FAILED
 */
export async function hScore(features: Features, shrinkage = 0.1): Promise<number> {
  checkFeatures(features, 'hScore');
  const { classes, train } = features;
  return callNative(() => loadAddon().hScore(trainTensor(features), train.labels, classes.length, shrinkage));
}

function trainTensor({ train: { features, shape } }: Features): Tensor {
  return { data: features, shape: [...shape], dtype: 'float32' };
}
