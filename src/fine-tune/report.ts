import type { SkippedImage } from '../data/loader.js';
import { type Task, taskOf } from '../data/task.js';
import { reviveMatrix } from '../metrics/confusions.js';
import type { NamedMetrics } from '../metrics/names.js';
import { isClassified, nameValidation, type Validation, validationNames } from '../metrics/tasks.js';
import type { TrainSums } from './epoch.js';
import { type CheckedGroups, groupMetricNames } from './group-training.js';

/**
 * What is known after an epoch; epoch 0 is the model before the first step. Plain JSON.
 *
 * @typeParam T of the data: `EpochReport<Task>` where it is not known
 */
export interface EpochReport<T extends Task = 'single-label'> {
  epoch: number;
  /** Name of the stage that it was part of; null for epoch 0. */
  stage: string | null;
  /**
   * Mean over the training images, in train mode, while weights change; with L-BFGS in eval mode, at the epoch's end.
   * Null for epoch 0.
   */
  trainLoss: number | null;
  /** Share of training images classified rightly, likewise; null for epoch 0, and where images have no one class. */
  trainAccuracy: number | null;
  /** Largest learning rate of what learns, at the end of the epoch. */
  learningRate: number;
  /** Validation, in eval mode; where the task is not known, `isClassified`, `isMultiLabel` and `isRegression` tell. */
  validation: Validation<T>;
  /** All figures by name, as early stopping knows them: `trainLoss`, `valLoss`, `valMacroF1`, `valF1:<class>`. */
  metrics: NamedMetrics;
  /** The best epoch so far by the chosen metric. */
  isBest: boolean;
  /** Training images a second; 0 for epoch 0. */
  imagesPerSecond: number;
  /** Training and validation, seconds. */
  seconds: number;
  /** Training alone, seconds. */
  trainSeconds: number;
  /** Share of those in which training waited for images to be decoded, 0 to 1; 0 for epoch 0. */
  waitShare: number;
  /** Images that could not be decoded and were left out. */
  skipped: SkippedImage[];
}

/** A report that went through JSON. */
export function reviveReport<T extends Task>(report: EpochReport<T>): EpochReport<T> {
  const { validation } = report;
  if (!isClassified(validation)) return report;
  return { ...report, validation: reviveMatrix(validation) as Validation<T> };
}

/** Names of all figures that the reports of a run carry. */
export function knownMetrics(
  { classes, task }: { classes: readonly string[]; task?: Task | undefined },
  groups: CheckedGroups | undefined,
): string[] {
  const kind = taskOf({ task });
  const training = kind === 'single-label' ? ['trainLoss', 'trainAccuracy'] : ['trainLoss'];
  return [...training, ...validationNames('val', classes, kind), ...groupMetricNames(groups)];
}

export function makeReport<T extends Task>(
  epoch: number,
  sums: TrainSums,
  validation: Validation<T>,
  {
    more,
    ...rest
  }: Pick<EpochReport, 'stage' | 'learningRate' | 'seconds' | 'skipped'> & { more: NamedMetrics },
): EpochReport<T> {
  const trained = sums.count > 0;
  const trainLoss = trained ? sums.loss / sums.count : null;
  const trainAccuracy = trained && isClassified(validation) ? sums.correct / sums.count : null;
  return {
    epoch,
    trainLoss,
    trainAccuracy,
    validation,
    metrics: {
      ...(trainLoss === null ? {} : { trainLoss }),
      ...(trainAccuracy === null ? {} : { trainAccuracy }),
      ...nameValidation('val', validation),
      ...more,
    },
    isBest: false,
    imagesPerSecond: sums.seconds > 0 ? sums.count / sums.seconds : 0,
    trainSeconds: sums.seconds,
    waitShare: sums.seconds > 0 ? sums.waitedSeconds / sums.seconds : 0,
    ...rest,
  };
}
