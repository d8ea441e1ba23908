import { invalidType, invalidValue, TorchgraftError } from '../errors.js';
import { isFloat32Array, isUint8Array } from '../value-kinds.js';

/** What a classifier said of each sample; curves, calibration, bootstrap intervals and thresholds are made of it. */
export interface ClassificationScores {
  /** [n], true class of each sample. */
  labels: Int32Array;
  /** [n], class of the largest logit; of equal ones the first. */
  predicted: Int32Array;
  /**
   * [n, classes], row-major: softmax of the logits, computed in double precision and kept as float32. Where one logit
   * leads by more than 17, its probability is 1 and ranks equal to others that do.
   */
  probabilities: Float32Array;
  /** [n], negative log-likelihood of the true class, from the logits. */
  nll: Float64Array;
}

/**
 * One class against all others, as binary curves and thresholds take it.
 *
 * @param index of the class, 0 to classes - 1
 * @returns `scores` [n], probability of the class; `positives` [n], 1 where it is the true class
 * @throws INVALID_VALUE when there is no such class
 *
 * @example
 * const { scores, positives } = oneVersusRest(evaluation.scores, classifier.classes.indexOf('bees'));
 */
export function oneVersusRest(
  { labels, probabilities }: ClassificationScores,
  index: number,
): { scores: Float32Array; positives: Uint8Array } {
  const classes = probabilities.length / labels.length;
  if (!Number.isInteger(index) || index < 0 || index >= classes) {
    throw invalidValue(`oneVersusRest: class ${index} does not exist; expected 0 to ${classes - 1}.`);
  }
  const scores = new Float32Array(labels.length);
  const positives = new Uint8Array(labels.length);
  for (let sample = 0; sample < labels.length; sample++) {
    scores[sample] = probabilities[sample * classes + index] as number;
    positives[sample] = Number(labels[sample] === index);
  }
  return { scores, positives };
}

/** Softmax of one row of logits into `target`. Returns the negative log-likelihood of the class `label`. */
export function softmax(logits: Float32Array, label: number, target: Float32Array): number {
  let largest = Number.NEGATIVE_INFINITY;
  for (const logit of logits) largest = Math.max(largest, logit);
  let total = 0;
  for (const logit of logits) total += Math.exp(logit - largest);
  for (let index = 0; index < logits.length; index++) {
    target[index] = Math.exp((logits[index] as number) - largest) / total;
  }
  return Math.log(total) - ((logits[label] as number) - largest);
}

/** @throws INVALID_TYPE, SHAPE_MISMATCH, INVALID_VALUE unless there is a finite score and a 0 or 1 for each sample */
export function checkBinary(scores: Float32Array, positives: Uint8Array, where: string): void {
  if (!isFloat32Array(scores)) throw invalidType(`${where}: \`scores\` must be a Float32Array.`);
  if (!isUint8Array(positives)) throw invalidType(`${where}: \`positives\` must be a Uint8Array.`);
  if (scores.length !== positives.length) {
    throw new TorchgraftError(
      'SHAPE_MISMATCH',
      `${where}: there are ${scores.length} scores and ${positives.length} truths. Give one of each for a sample.`,
    );
  }
  if (scores.length === 0) throw invalidValue(`${where}: there are no samples.`);
  const score = scores.findIndex((value) => !Number.isFinite(value));
  if (score >= 0) {
    throw invalidValue(
      `${where}: the score of sample ${score} is ${scores[score]}; expected finite numbers.`,
    );
  }
  const truth = positives.findIndex((value) => value > 1);
  if (truth >= 0) {
    throw invalidValue(`${where}: the truth of sample ${truth} is ${positives[truth]}; expected 0 or 1.`);
  }
}
