import { existsSync } from 'node:fs';
import { loadAddon } from '../addon.js';
import { openingFile, wrongFile } from '../archive/wrong-file.js';
import { writeAtomically } from '../atomic-file.js';
import { cardFile } from '../card.js';
import type { Task } from '../data/task.js';
import type { EarlyStoppingState } from '../early-stopping.js';
import { TorchgraftError } from '../errors.js';
import type { Model } from '../model.js';
import type { Plan } from '../native.js';
import { callNative } from '../native-call.js';
import { type CheckpointModel, differenceOf } from './checkpoint-model.js';
import { parseState } from './checkpoint-state.js';
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
  /** Of the stage under way; a resumed run computes by the same. */
  plan: Plan;
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
  await openingFile(path, () => model.native.loadCheckpoint(path));
}

/** The extra file with our JSON, without the weights; checksums and sizes of all the file are checked on the way. */
async function readCardFile(path: string): Promise<string> {
  const { facts, damage, card } = await openingFile(path, () => loadAddon().inspectFile(path)).catch(
    (cause) => {
      throw new TorchgraftError('CHECKPOINT_INVALID', (cause as Error).message, { cause });
    },
  );
  if (facts.kind !== 'checkpoint') throw wrongFile('CHECKPOINT_INVALID', facts, path);
  if (damage) throw new TorchgraftError('CHECKPOINT_INVALID', `${path} ${damage}`);
  return card;
}

function parse(path: string, json: string): CheckpointState {
  try {
    return parseState((JSON.parse(json) as { checkpoint?: unknown } | null)?.checkpoint);
  } catch (cause) {
    throw new TorchgraftError('CHECKPOINT_INVALID', `${path}: its state cannot be read${whyOf(cause)}.`, {
      cause,
    });
  }
}

function whyOf(cause: unknown): string {
  const issue = (cause as { issues?: { path: PropertyKey[]; message: string }[] }).issues?.[0];
  return issue ? `: ${issue.path.join('.')}: ${issue.message}` : '';
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
