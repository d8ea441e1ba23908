import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Task } from '../data/task.js';
import type { EpochReport } from '../fine-tune/report.js';
import { isClassified, type Validation } from '../metrics/tasks.js';
import { taskFigures } from '../report/task-tables.js';
import { EventFile, removeEventFiles } from '../tensorboard/event-file.js';
import type { TrainRequest } from './run.js';

/** The figures of each epoch, for TensorBoard. */
export interface Scalars {
  add(epoch: EpochReport<Task>): void;
}

/**
 * Begins an event file in the run folder. A resumed run goes on in a file of its own, which TensorBoard shows as the
 * same line; a new run takes the place of an older one. A file that cannot be written costs no training: it is said.
 */
export function startScalars({ out, options }: TrainRequest, say: (line: string) => void): Scalars {
  const isResumed = options.resume === true && existsSync(join(out, 'checkpoint.pt'));
  let file: EventFile | undefined;
  const attempt = (work: () => void) => {
    try {
      work();
    } catch (error) {
      file = undefined;
      say(`note   TensorBoard gets no more figures: ${(error as Error).message}`);
    }
  };
  attempt(() => {
    if (!isResumed) removeEventFiles(out);
    file = EventFile.create(out);
  });
  const isKnown = ({ epoch }: EpochReport<Task>) => isResumed && epoch === 0;
  return {
    add: (epoch) => attempt(() => (isKnown(epoch) ? undefined : file?.add(epoch.epoch, scalarsOf(epoch)))),
  };
}

function scoresOf(validation: Validation): Record<string, number> {
  if (isClassified(validation))
    return { 'accuracy/validation': validation.accuracy, 'macro_f1/validation': validation.macro.f1 };
  const known = taskFigures(validation).flatMap(({ title, value }) =>
    value === null ? [] : [[title, value] as const],
  );
  return Object.fromEntries(
    known.map(([title, value]) => [`${title.toLowerCase().replaceAll(' ', '_')}/validation`, value]),
  );
}

/** Figures by the names that TensorBoard groups by. */
function scalarsOf({
  trainLoss,
  trainAccuracy,
  validation,
  ...rest
}: EpochReport<Task>): Record<string, number> {
  return {
    ...(trainLoss === null ? {} : { 'loss/train': trainLoss }),
    'loss/validation': validation.loss,
    ...(trainAccuracy === null ? {} : { 'accuracy/train': trainAccuracy }),
    ...scoresOf(validation),
    ...(rest.epoch === 0
      ? {}
      : {
          learning_rate: rest.learningRate,
          'speed/images_per_second': rest.imagesPerSecond,
          'speed/wait_share': rest.waitShare,
          'speed/epoch_seconds': rest.seconds,
        }),
  };
}
