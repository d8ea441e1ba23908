import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageDataset } from '../data/dataset.js';
import type { Task } from '../data/task.js';
import { FineTuning } from '../fine-tune/fine-tuning.js';
import { type BatchProgress, checkFineTuneOptions, type FineTuneOptions } from '../fine-tune/options.js';
import type { FineTuneResult } from '../fine-tune/result.js';
import { type LoadOptions, loadModel, type Model } from '../model.js';
import type { JournalEntry } from './journal.js';
import type { TrialConfig } from './space.js';

/** A trial as far as it has come; plain JSON. */
export interface SearchTrial {
  /** From 0, in the order in which they were drawn. */
  trial: number;
  /** The options that are searched. */
  config: TrialConfig;
  /** The rung it has reached, from 0. */
  rung: number;
  /** Epochs trained. */
  epochs: number;
  /** Best value of the metric; null where it failed before there was one. */
  value: number | null;
  /** The epoch of that value; 0 is the model before the first step. */
  bestEpoch: number | null;
  /** Validation loss at that epoch, which breaks ties; null where it is not known. */
  loss: number | null;
  /** Seconds of training and validation. */
  seconds: number;
  /** Why it ended early. */
  failure?: { code: string; message: string };
}

/** Errors that are the configuration's fault. All others end the search: they would befall every trial. */
const trialFailures = [
  ...['LOSS_NOT_FINITE', 'INVALID_VALUE', 'INVALID_TYPE', 'MODEL_FAILED', 'NOT_TRAINABLE', 'OUT_OF_MEMORY'],
  ...['NO_HEAD', 'PATTERN_UNMATCHED', 'SOURCE_INVALID'],
];

export interface TrialSettings {
  modelFile: string;
  data: ImageDataset;
  shared: FineTuneOptions;
  loading: LoadOptions;
  /** What trials are compared by. */
  metric: string;
  folder: string;
  signal: AbortSignal | undefined;
  onBatch: ((progress: BatchProgress & { trial: number }) => unknown) | undefined;
}

/** A trial's checkpoint. */
export function checkpointPath({ folder }: Pick<TrialSettings, 'folder'>, trial: number): string {
  return join(folder, 'trials', `${trial}.pt`);
}

/**
 * Trains a trial up to a number of epochs, going on from its checkpoint where there is one, and in any case with the same
 * result.
 *
 * @param keep called with the model when the trial has not failed; it has the best weights then
 * @throws what is not the configuration's fault, ABORTED among it
 */
export async function runTrial(
  settings: TrialSettings,
  job: { trial: number; rung: number; until: number; config: TrialConfig },
  keep: (entry: JournalEntry, model: Model) => Promise<void>,
): Promise<JournalEntry> {
  const { modelFile, data, shared, loading, signal, onBatch } = settings;
  const { trial, rung, until, config } = job;
  const start = performance.now();
  const checkpoint = checkpointPath(settings, trial);
  await using model = await loadModel(modelFile, loading);
  const about = () => ({ trial, rung, config: { ...config }, seconds: (performance.now() - start) / 1000 });
  let result: FineTuneResult<Task>;
  try {
    const options = checkFineTuneOptions(
      {
        // `auto` decides by itself how many epochs it has; rungs are counted in them.
        strategy: 'head',
        ...shared,
        ...config,
        // Equal for all trials.
        baselines: 'none',
        ...{ checkpoint, resume: true },
        ...(signal ? { signal } : {}),
        ...(onBatch ? { onBatch: (progress) => onBatch({ ...progress, trial }) } : {}),
      },
      data.task,
    );
    result = await new FineTuning<Task>(model, data, options, until);
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (code === undefined || !trialFailures.includes(code)) throw error;
    await rm(checkpoint, { force: true });
    const failed = { epochs: 0, value: null, bestEpoch: null, loss: null, isOver: true };
    return { ...about(), ...failed, failure: { code, message } };
  }
  const entry = { ...about(), ...outcomeOf(result, settings.metric) };
  await keep(entry, model);
  return entry;
}

function outcomeOf(
  { best, history, ended }: FineTuneResult<Task>,
  metric: string,
): Pick<JournalEntry, 'epochs' | 'value' | 'bestEpoch' | 'loss' | 'isOver'> {
  const value = best.metrics[metric];
  const isKnown = value !== undefined && Number.isFinite(value);
  return {
    epochs: history.length,
    value: isKnown ? value : null,
    bestEpoch: isKnown ? best.epoch : null,
    loss: isKnown && Number.isFinite(best.validation.loss) ? best.validation.loss : null,
    isOver: ended !== 'left',
  };
}
