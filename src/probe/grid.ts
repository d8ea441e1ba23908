import { z } from 'zod';
import { concatenate } from '../concatenate.js';
import { throwIfAborted } from '../errors.js';
import { signalOption } from '../value-kinds.js';
import type { Features } from './features.js';
import { type Fold, type LabelledRows, stratifiedFolds } from './folds.js';
import { matrixOf } from './result.js';
import { measureColumns, standardise } from './standardise.js';

/** Options of the probes that choose a penalty. */
export const gridOptions = {
  folds: z.int().min(2).max(100).default(5),
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
  signal: signalOption,
};

/** A list of penalties to choose from, each once, in ascending order. */
export const ascending = z
  .array(z.number().gt(0).lt(1e12))
  .min(1)
  .max(100)
  .transform((values) => [...new Set(values)].sort((a, b) => a - b));

/** Scores [n, classes] of the held-out images, for each candidate. */
export type FitFold = (fold: Pick<Fold, 'learn' | 'held'>) => Promise<Float32Array[]>;

/** What fits on the other folds say of each training image. */
export interface HeldOut {
  /** [n], in the order of the scores. */
  labels: Int32Array;
  /** Which training image each is, [n]. */
  rows: Int32Array;
  /** [n, classes] for each candidate. */
  scores: Float32Array[];
}

/**
 * Stratified k-fold cross-validation of the training images, each fold standardised by what it learns from. Validation
 * images are not looked at, so that what they say of the choice stays an estimate.
 */
export async function crossValidate(
  features: Pick<Features, 'train'>,
  { folds, seed, signal }: { folds: number; seed: number; signal?: AbortSignal | undefined },
  fit: FitFold,
): Promise<HeldOut> {
  const all = { features: matrixOf(features.train), labels: features.train.labels };
  const labels: Int32Array[] = [];
  const rows: Int32Array[] = [];
  const scores: Float32Array[][] = [];
  for (const fold of stratifiedFolds(all, folds, seed)) {
    throwIfAborted(signal);
    const scaled = standardiseFold(fold);
    scores.push(await fit(scaled));
    labels.push(scaled.held.labels);
    rows.push(fold.heldRows);
  }
  throwIfAborted(signal);
  const candidates = scores[0]?.length ?? 0;
  return {
    labels: Int32Array.from(labels.flatMap((part) => Array.from(part))),
    rows: Int32Array.from(rows.flatMap((part) => Array.from(part))),
    scores: Array.from({ length: candidates }, (_, at) =>
      concatenate(scores.map((fold) => fold[at] as Float32Array)),
    ),
  };
}

/** Where the smallest is, of equal ones the first. */
export function indexOfSmallest(values: readonly number[]): number {
  return values.indexOf(Math.min(...values));
}

function standardiseFold({ learn, held }: Fold): Pick<Fold, 'learn' | 'held'> {
  const measured = measureColumns(learn.features);
  const apply = ({ features, labels }: LabelledRows) => ({
    features: standardise(features, measured),
    labels,
  });
  return { learn: apply(learn), held: apply(held) };
}
