import type { ImageDataset } from '../data/dataset.js';
import { EarlyStopping } from '../early-stopping.js';
import { invalidValue } from '../errors.js';
import type { CheckedOptions } from './options.js';
import { knownMetrics } from './report.js';

/** What picks the best epoch and ends a run. @throws INVALID_VALUE for a metric that reports do not have */
export function stoppingOf(
  { earlyStopping, schedule, groups }: Pick<CheckedOptions, 'earlyStopping' | 'schedule' | 'groups'>,
  data: Pick<ImageDataset, 'classes' | 'task'>,
): EarlyStopping {
  const known = knownMetrics(data, groups);
  if (schedule.kind === 'plateau' && !known.includes(schedule.metric)) {
    throw invalidValue(`fineTune: schedule: unknown metric \`${schedule.metric}\`.`);
  }
  return new EarlyStopping(earlyStopping, known);
}
