import type { Preprocessing } from '../data/preprocessing.js';
import type { Task } from '../data/task.js';
import type { RetentionReport } from '../forgetting/retention.js';
import type { Baselines } from './baselines.js';
import type { ComputationReport } from './computation.js';
import type { EpochReport } from './report.js';
import type { StageReport } from './stage-run.js';

/**
 * What a finished, stopped or broken-off fine-tuning came to.
 *
 * @typeParam T of the data: `FineTuneResult<Task>` where it is not known
 */
export interface FineTuneResult<T extends Task = 'single-label'> {
  /** The model before the first step. */
  baseline: EpochReport<T>;
  /**
   * Epochs 1, 2, ... Of more than 100 classes, all but the best and the last have the figures over all classes alone:
   * `perClass` is empty, and there are no confusions.
   */
  history: EpochReport<T>[];
  /**
   * The epoch whose weights the model has now; may be the baseline. The last one where the metric was undefined in all.
   */
  best: EpochReport<T>;
  /** Why it ended: all epochs done, early stopping, or the caller left the loop or aborted. */
  ended: 'finished' | 'early' | 'left';
  /** What comes without fine-tuning; undefined with `baselines: 'none'`. */
  baselines: Baselines | undefined;
  preprocessing: Preprocessing;
  /** The cut, precision and what was kept, of the last stage. */
  computation: ComputationReport;
  /** The parts of the run, in order; most strategies have one. */
  stages: StageReport[];
  /** What was decided on the way and why, one sentence each, for example that `auto` stopped at the probe. */
  decisions: string[];
  /** With `retain`: what is left of the source task; undefined where the run was aborted. */
  retention?: RetentionReport | undefined;
}
