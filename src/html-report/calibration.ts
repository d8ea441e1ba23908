import { calibrationErrors, confidences, type ReliabilityBin, reliability } from '../metrics/calibration.js';
import type { Outcomes } from '../outcomes.js';
import { argmax } from '../ranking.js';

/** How far a classifier's probabilities can be believed. */
export interface Calibration {
  bins: ReliabilityBin[];
  /** Expected calibration error, 0 to 1; 0 without images. */
  expectedError: number;
  /** Mean probability of the predicted classes, and share of them that is right, 0 to 1. */
  confidence: number;
  accuracy: number;
}

/** Calibration of the predicted class (Guo et al. 2017). */
export function calibrate({
  probabilities,
  labels,
  classes,
}: Pick<Outcomes, 'probabilities' | 'labels' | 'classes'>): Calibration {
  const size = classes.length;
  const predicted = Int32Array.from(labels, (_, row) =>
    argmax(probabilities.subarray(row * size, (row + 1) * size)),
  );
  const confidence = confidences({ labels, predicted, probabilities });
  const hits = Uint8Array.from(labels, (label, row) => Number(label === predicted[row]));
  const bins = reliability(confidence, hits);
  const mean = (values: Iterable<number>) =>
    labels.length === 0 ? 0 : [...values].reduce((sum, value) => sum + value, 0) / labels.length;
  const expectedError = labels.length === 0 ? 0 : calibrationErrors(bins).ece;
  return { bins, expectedError, confidence: mean(confidence), accuracy: mean(hits) };
}
