import type { Task } from '../data/task.js';
import { isClassified, isMultiLabel, type Validation } from '../metrics/tasks.js';
import type { EpochReport } from './report.js';

/** Of more classes, labels or targets than this, a run keeps the figures of each for its best and its last epoch alone. */
export const mostNames = 100;

/**
 * An epoch with the figures over all classes alone: thousands of classes times hundreds of epochs are too much for memory,
 * checkpoints and run.json.
 *
 * @param metrics names of figures of single classes that are needed nevertheless
 */
export function slimReport<T extends Task>(
  report: EpochReport<T>,
  metrics: readonly string[],
): EpochReport<T> {
  const kept = Object.entries(report.metrics).filter(
    ([name]) => !name.includes(':') || metrics.includes(name),
  );
  return {
    ...report,
    validation: slimValidation(report.validation) as Validation<T>,
    metrics: Object.fromEntries(kept),
  };
}

function slimValidation(validation: Validation): Validation {
  if (isMultiLabel(validation)) return { ...validation, perLabel: [] };
  if (!isClassified(validation)) return { ...validation, perTarget: [] };
  // A matrix that is made when it is asked for is not copied.
  const { confusions, ...rest } = validation;
  return { ...rest, perClass: [] };
}
