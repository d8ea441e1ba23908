import { randomIntegers, shuffle } from '../data/random.js';
import { type Matrix, pickRows } from './linear.js';

/** Some rows of labelled features. */
export interface LabelledRows {
  features: Matrix;
  labels: Int32Array;
}

/** Rows that are learnt from, and those held out. */
export interface Fold {
  learn: LabelledRows;
  held: LabelledRows;
  /** Which rows are held out, [held]. */
  heldRows: Int32Array;
}

/**
 * Stratified k-fold: each class's images, in a random order, are dealt to the folds in turn, so that every fold has each
 * class's share of them. Empty folds are left out, and a class of one image is held out once, learnt in the other folds.
 */
export function stratifiedFolds(all: LabelledRows, folds: number, seed: number): Fold[] {
  const order = shuffle(
    Int32Array.from(all.labels, (_, index) => index),
    randomIntegers(seed, 0),
  );
  const seen = new Map<number, number>();
  const foldOf = new Int32Array(all.labels.length);
  for (const index of order) {
    const label = all.labels[index] as number;
    // Classes begin at different folds, so that small ones do not all land in the first.
    const count = seen.get(label) ?? label;
    foldOf[index] = count % folds;
    seen.set(label, count + 1);
  }
  return Array.from({ length: folds }, (_, fold) => ({
    learn: pickLabelled(all, (index) => foldOf[index] !== fold),
    held: pickLabelled(all, (index) => foldOf[index] === fold),
    heldRows: Int32Array.from(all.labels, (_, index) => index).filter((index) => foldOf[index] === fold),
  })).filter(({ learn, held }) => learn.labels.length > 0 && held.labels.length > 0);
}

function pickLabelled(
  { features, labels }: LabelledRows,
  isPicked: (index: number) => boolean,
): LabelledRows {
  const indices = Int32Array.from(labels, (_, index) => index).filter(isPicked);
  return { features: pickRows(features, indices), labels: indices.map((index) => labels[index] as number) };
}
