import { TorchgraftError } from '../errors.js';
import type { Sample } from './dataset.js';

export const tasks = ['single-label', 'multi-label', 'regression'] as const;

/** What is asked about an image: which one class it is of, which of several labels it has, or one or several numbers. */
export type Task = (typeof tasks)[number];

/** What a data set, or a model's card, is about; where it does not say, one class an image. */
export function taskOf(of: { task?: Task | undefined } | undefined): Task {
  return of?.task ?? 'single-label';
}

/** Targets of some of the samples, row-major [n, classes]; undefined where samples have one class each. */
export function targetsOf(samples: readonly Sample[], indices: Int32Array): Float32Array | undefined {
  const size = samples[0]?.targets?.length;
  if (size === undefined) return undefined;
  const targets = new Float32Array(indices.length * size);
  for (const [row, index] of indices.entries())
    targets.set((samples[index] as Sample).targets as readonly number[], row * size);
  return targets;
}

/**
 * Refuses data, or the card of a model, of which images have no one class.
 *
 * @param where what was called, for example `rankModels`
 * @throws DATA_INVALID
 */
export function requireSingleLabel(data: { task?: Task | undefined } | undefined, where: string): void {
  const task = taskOf(data);
  if (task === 'single-label') return;
  throw new TorchgraftError(
    'DATA_INVALID',
    `${where} is for one class an image, and this is ${task}. fineTune, evaluateTargets, predict and createPredictor ` +
      'take it; for this, give data with one class an image, for example a manifest with a `label` column.',
  );
}
