import { existsSync } from 'node:fs';
import { writeAtomically } from '../atomic-file.js';
import { cardFile } from '../card.js';
import type { EarlyStopping, EarlyStoppingState } from '../early-stopping.js';
import { TorchgraftError } from '../errors.js';
import type { Model } from '../model.js';
import type { Precision } from '../native.js';
import { callNative } from '../native-call.js';
import type { TrainSums } from './epoch.js';
import type { CheckedOptions } from './options.js';
import type { EpochReport } from './report.js';

/** What a checkpoint keeps beside what the addon keeps (weights, optimizer, steps, best weights). */
export interface CheckpointState {
  /** Epochs that are finished. */
  epoch: number;
  /** The unfinished epoch after them. */
  sums: TrainSums;
  baseline: EpochReport;
  history: EpochReport[];
  stopping: EarlyStoppingState;
  /** What `auto` came to; a resumed run takes the same. */
  precision: Precision;
  /** Options that decide the weights; a resumed run must have the same. */
  recipe: Record<string, unknown>;
}

/** Writes a checkpoint atomically: whatever happens, the file is a whole one, this or the one before. */
export async function writeCheckpoint(path: string, model: Model, state: CheckpointState): Promise<void> {
  const extra = { [cardFile]: JSON.stringify({ checkpoint: state, card: model.card }) };
  await writeAtomically(path, (temporary) => callNative(() => model.native.saveCheckpoint(temporary, extra)));
}

/**
 * Puts a checkpoint's weights, optimizer, random state and best weights back.
 *
 * @returns undefined when there is no such file: the run starts from the beginning
 * @throws CHECKPOINT_INVALID when the file is damaged, of another model, or of a run with other options
 */
export async function readCheckpoint(
  path: string,
  model: Model,
  recipe: Record<string, unknown>,
  stopping: EarlyStopping,
): Promise<CheckpointState | undefined> {
  if (!existsSync(path)) return undefined;
  const extra = await callNative(() => model.native.loadCheckpoint(path));
  const state = parse(path, extra[cardFile]);
  const changed = Object.keys(recipe).find(
    (name) => JSON.stringify(recipe[name]) !== JSON.stringify(state.recipe[name]),
  );
  if (changed) {
    throw new TorchgraftError(
      'CHECKPOINT_INVALID',
      `${path} was written by a run with another \`${changed}\` (${JSON.stringify(state.recipe[changed])}, now ` +
        `${JSON.stringify(recipe[changed])}). Resume with the same options, or start again in another folder.`,
    );
  }
  stopping.restore(state.stopping);
  return state;
}

function parse(path: string, text: string | undefined): CheckpointState {
  try {
    const state = (JSON.parse(text ?? '') as { checkpoint?: CheckpointState }).checkpoint;
    if (state && Array.isArray(state.history) && Number.isInteger(state.epoch)) return state;
  } catch (cause) {
    throw new TorchgraftError('CHECKPOINT_INVALID', `${path}: its state cannot be read.`, { cause });
  }
  throw new TorchgraftError('CHECKPOINT_INVALID', `${path} is a model, not a checkpoint.`);
}

/** The options that decide what a run computes, as JSON. */
export function recipeOf(options: CheckedOptions, fingerprint: string): Record<string, unknown> {
  const { threads, decodedBytes, cache, checkpoint, resume, signal, onBatch, unreadable, ...recipe } =
    options;
  return JSON.parse(JSON.stringify({ ...recipe, data: fingerprint }));
}
