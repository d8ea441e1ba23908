import { existsSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { openPromise } from 'yauzl';
import { writeAtomically } from '../atomic-file.js';
import { cardFile } from '../card.js';
import type { Task } from '../data/task.js';
import type { EarlyStoppingState } from '../early-stopping.js';
import { TorchgraftError } from '../errors.js';
import type { Model } from '../model.js';
import type { Precision } from '../native.js';
import { callNative } from '../native-call.js';
import { type CheckpointModel, differenceOf } from './checkpoint-model.js';
import type { TrainSums } from './epoch.js';
import type { CheckedOptions } from './options.js';
import type { EpochReport } from './report.js';
import type { StageReport } from './stage-run.js';
import type { Evidence } from './strategies/stage.js';

/** What a checkpoint keeps beside what the addon keeps (weights, optimizer, steps, best weights). */
export interface CheckpointState {
  /** Epochs that are finished. */
  epoch: number;
  /** The unfinished epoch after them. */
  sums: TrainSums;
  /** The last is under way. */
  stages: StageReport[];
  /** Of a strategy that decides by it. */
  evidence?: Evidence;
  baseline: EpochReport<Task>;
  history: EpochReport<Task>[];
  stopping: EarlyStoppingState;
  /** What `auto` came to; a resumed run takes the same. */
  precision: Precision;
  /** Options that decide the weights; a resumed run must have the same, but for more `epochs`. */
  recipe: Record<string, unknown>;
  /** Where a resumed run was given more epochs; left out where none was. */
  extensions?: Extension[];
  /** The model that the run began with; a resumed run must begin with the same. Older checkpoints lack it. */
  model?: CheckpointModel;
}

/** A run that was resumed with more epochs. */
export interface Extension {
  /** Epochs that were finished. */
  after: number;
  from: number;
  to: number;
}

/** More epochs than the checkpoint's run had; undefined where they are as many. */
export function extensionOf(state: CheckpointState, epochs: number): Extension | undefined {
  const from = Number(state.recipe.epochs);
  return epochs > from ? { after: state.history.length, from, to: epochs } : undefined;
}

/** What that means for the weights, as a sentence. */
export function describeExtension({ after, from, to }: Extension): string {
  return (
    `resumed after ${after} epochs with ${to} in place of ${from}: what was trained stays, and from there on learning rates ` +
    `are those of a run of ${to} epochs, so that a schedule that had fallen rises again. A run of ${to} epochs from the ` +
    'beginning would have come to other weights.'
  );
}

/** Writes a checkpoint atomically: whatever happens, the file is a whole one, this or the one before. */
export async function writeCheckpoint(path: string, model: Model, state: CheckpointState): Promise<void> {
  const extra = { [cardFile]: JSON.stringify({ checkpoint: state, card: model.card }) };
  await writeAtomically(path, (temporary) => callNative(() => model.native.saveCheckpoint(temporary, extra)));
}

/**
 * What a checkpoint says of its run. Its weights and optimizer can be put back when the model is configured for the stage
 * that it was in.
 *
 * @returns undefined when there is no such file: the run starts from the beginning
 * @throws CHECKPOINT_INVALID when the file is damaged
 */
export async function readCheckpoint(path: string): Promise<CheckpointState | undefined> {
  return existsSync(path) ? parse(path, await readCardFile(path)) : undefined;
}

/** @throws CHECKPOINT_INVALID where the run began with another model */
export function checkSameModel(path: string, state: CheckpointState, model: CheckpointModel): void {
  const difference = state.model && differenceOf(state.model, model);
  if (difference) throw ofAnotherRun(path, `began with ${difference}. Resume with the same model`);
}

/** @throws CHECKPOINT_INVALID where one of these options was another, or there are fewer `epochs` */
export function checkSameRecipe(path: string, state: CheckpointState, recipe: Record<string, unknown>): void {
  const changed = Object.keys({ ...state.recipe, ...recipe }).find(
    (name) =>
      JSON.stringify(recipe[name]) !== JSON.stringify(state.recipe[name]) &&
      !(name === 'epochs' && extensionOf(state, Number(recipe.epochs))),
  );
  if (changed === 'data') {
    throw ofAnotherRun(
      path,
      'had another `data`: other images, classes or splits. Resume with the same data',
    );
  }
  if (changed === undefined) return;
  throw ofAnotherRun(
    path,
    `had another \`${changed}\` (${JSON.stringify(state.recipe[changed])}, now ${JSON.stringify(recipe[changed])}). ` +
      `Resume with the same options${changed === 'epochs' ? ' (more epochs are allowed)' : ''}`,
  );
}

function ofAnotherRun(path: string, what: string): TorchgraftError {
  return new TorchgraftError(
    'CHECKPOINT_INVALID',
    `${path} is of another run: it ${what}, or start again in another folder.`,
  );
}

export function strangeStage(path: string): TorchgraftError {
  return new TorchgraftError('CHECKPOINT_INVALID', `${path} is in a stage that this run does not have.`);
}

/** Puts a checkpoint's weights, optimizer, random state and best weights back. @throws CHECKPOINT_INVALID */
export async function loadCheckpoint(path: string, model: Model): Promise<void> {
  await callNative(() => model.native.loadCheckpoint(path));
}

/** The extra file with our JSON, without the weights: a TorchScript file is a zip archive. */
async function readCardFile(path: string): Promise<string | undefined> {
  try {
    const zip = await openPromise(path, { autoClose: false });
    try {
      for await (const entry of zip.eachEntry()) {
        if (!entry.fileName.endsWith(`/extra/${cardFile}`)) continue;
        return await text(await zip.openReadStreamPromise(entry));
      }
      return undefined;
    } finally {
      zip.close();
    }
  } catch (cause) {
    throw new TorchgraftError('CHECKPOINT_INVALID', `${path} is damaged or not a checkpoint.`, { cause });
  }
}

function parse(path: string, json: string | undefined): CheckpointState {
  try {
    const state =
      json === undefined ? undefined : (JSON.parse(json) as { checkpoint?: CheckpointState }).checkpoint;
    if (
      state &&
      Array.isArray(state.history) &&
      Array.isArray(state.stages) &&
      Number.isInteger(state.epoch)
    ) {
      return state;
    }
  } catch (cause) {
    throw new TorchgraftError('CHECKPOINT_INVALID', `${path}: its state cannot be read.`, { cause });
  }
  throw new TorchgraftError('CHECKPOINT_INVALID', `${path} is a model, not a checkpoint.`);
}

/** The options that decide what a run computes, as JSON. */
export function recipeOf(options: CheckedOptions, fingerprint: string): Record<string, unknown> {
  const {
    threads,
    decodedBytes,
    cache,
    checkpoint,
    resume,
    signal,
    onBatch,
    unreadable,
    baselines,
    retain,
    licences,
    ...recipe
  } = options;
  return JSON.parse(JSON.stringify({ ...recipe, data: fingerprint }));
}
