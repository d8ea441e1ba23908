import type { Task } from '../../data/task.js';
import { isTorchgraftError } from '../../errors.js';
import type { EpochReport } from '../report.js';
import type { StageReport } from '../stage-run.js';
import type { Decision, Evidence, Stage, Strategy } from './stage.js';

/** Where a run is after an epoch, or when it was resumed. All of it is in checkpoints. */
export interface Position {
  strategy: Strategy;
  /** The stage under way, and which of the strategy's it is. */
  stage: Stage;
  index: number;
  report: StageReport;
  /** Epochs 1, 2, ... of the run. */
  history: readonly EpochReport<Task>[];
  /** Early stopping has run out of patience: that ends a stage, and the run where no other follows. */
  isSpent: boolean;
  evidence: Evidence | undefined;
}

/** What follows. */
export interface Step {
  /** The stage of the next epoch: the one under way, or the next; undefined when the run is over. */
  stage: Stage | undefined;
  /** What the strategy decided about the next stage, if it was asked. */
  decision?: Decision;
  /** How the run ended, when it is over. */
  ended?: 'finished' | 'early';
}

/** Whether the stage goes on, another follows, or the run is over. */
export function nextStep(position: Position): Step {
  const { strategy, stage, index, report, history, isSpent, evidence } = position;
  const isRunOver = history.length >= strategy.epochs;
  const reports = history.slice(report.firstEpoch - 1);
  const isFull = report.epochs >= stage.epochs;
  const isOver = isRunOver || isFull || isSpent || (report.epochs > 0 && stage.isOver?.(reports));
  if (!isOver) return { stage };
  const next = isRunOver ? undefined : strategy.stages[index + 1];
  const decision = next && evidence ? strategy.decide?.(index, evidence) : undefined;
  const told = decision ? { decision } : {};
  if (next && decision?.goesOn !== false) return { stage: next, ...told };
  return { stage: undefined, ...told, ended: isSpent && !isFull ? 'early' : 'finished' };
}

/**
 * Why a strategy that decides by itself ends when a stage behind its first one has diverged: it keeps the best weights.
 *
 * @throws the error itself, where it is another one or there is nothing to fall back to
 */
export function endOf(strategy: Strategy, stages: readonly StageReport[], error: unknown): string {
  const hasDiverged = isTorchgraftError(error, 'LOSS_NOT_FINITE');
  if (!hasDiverged || !strategy.decide || stages.length < 2) throw error;
  return `auto: stopped at the best weights so far, since the ${stages.at(-1)?.name} diverged: ${error.message}`;
}
