import { invalidType, invalidValue, TorchgraftError } from '../errors.js';
import type { ClassificationMetrics } from '../metrics/classification.js';
import { classificationMetrics } from '../metrics/meter.js';
import { isFloat32Array, isInt32Array } from '../value-kinds.js';
import type { FeatureSplit, Features } from './features.js';
import type { Matrix } from './linear.js';
import type { LinearMap } from './linear-file.js';
import { logitsOf, logLoss } from './probabilities.js';

/** What a classifier that was fitted on the training images' features says of the validation images. */
export interface ProbeResult {
  /** Which classifier, and what was chosen for it, for example `logistic regression, C 0.1`. */
  name: string;
  /** Of logistic regression: the inverse strength of the penalty, on standardised features. */
  C?: number;
  classes: string[];
  /** [n, classes], row-major; each row sums to 1. */
  probabilities: Float32Array;
  /** The most probable class of each validation image, [n]; of equal ones the first. */
  predicted: Int32Array;
  /** On the validation images; `loss` is the log loss of the probabilities. */
  metrics: ClassificationMetrics;
  /** The classifier as weights [classes, d] and bias [classes] of a Linear on the features, where it is linear. */
  linear?: LinearMap;
}

/** The result of probabilities of the validation images. */
export function probeResult(
  name: string,
  features: Features,
  probabilities: Float32Array,
  linear?: LinearMap,
): ProbeResult {
  const { classes, val } = features;
  const size = classes.length;
  const predicted = Int32Array.from({ length: val.labels.length }, (_, row) => {
    const own = probabilities.subarray(row * size, (row + 1) * size);
    return own.indexOf(Math.max(...own));
  });
  const loss = logLoss(probabilities, val.labels, size);
  const metrics = classificationMetrics(logitsOf(probabilities), val.labels, loss, { classes });
  return { name, classes: [...classes], probabilities, predicted, metrics, ...(linear ? { linear } : {}) };
}

/** A split's features as a matrix. */
export function matrixOf({
  features,
  shape: [rows, columns],
}: Pick<FeatureSplit, 'features' | 'shape'>): Matrix {
  return { data: features, rows, columns };
}

/**
 * Refuses what is no result of extractFeatures, and features without images to learn from or to judge by.
 *
 * @throws INVALID_TYPE, INVALID_VALUE, SHAPE_MISMATCH, MODEL_FAILED
 */
export function checkFeatures(features: Features, where: string): void {
  if (!Array.isArray(features?.classes)) {
    throw invalidType(`${where}: expected features from extractFeatures.`);
  }
  for (const [name, split] of [
    ['train', features.train],
    ['val', features.val],
  ] as const) {
    if (!isFloat32Array(split?.features) || !isInt32Array(split.labels)) {
      throw invalidType(
        `${where}: \`${name}\` needs a Float32Array of features and an Int32Array of labels.`,
      );
    }
    const [rows, columns] = split.shape;
    if (rows === 0) throw invalidValue(`${where}: there are no \`${name}\` images. Give some of each class.`);
    const isFit = split.features.length === rows * columns && split.labels.length === rows;
    if (!isFit || columns !== features.train.shape[1]) {
      throw new TorchgraftError(
        'SHAPE_MISMATCH',
        `${where}: \`${name}\` has ${split.features.length} values and ${split.labels.length} labels, which do not ` +
          `fit shape [${split.shape}] beside train's [${features.train.shape}].`,
      );
    }
    if (split.labels.some((label) => !(label >= 0 && label < features.classes.length))) {
      throw invalidValue(
        `${where}: a label of \`${name}\` is no class; expected 0 to ${features.classes.length - 1}. Multi-label data and ` +
          'regressions have none.',
      );
    }
    if (!split.features.every(Number.isFinite)) {
      throw new TorchgraftError(
        'MODEL_FAILED',
        `${where}: features of \`${name}\` are not finite. The model's input may not be normalised as it expects: ` +
          'give `preprocessing` its mean and std.',
      );
    }
  }
}
