import { readFile } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { z } from 'zod';
import type { DatasetSummary, ImageDataset } from './data/dataset.js';
import type { Preprocessing } from './data/preprocessing.js';
import { sliceNames } from './data/slices.js';
import { type Task, taskOf } from './data/task.js';
import { TorchgraftError } from './errors.js';
import { evaluateTargets } from './evaluate-targets.js';
import type { Baselines } from './fine-tune/baselines.js';
import type { ComputationReport } from './fine-tune/computation.js';
import { type EpochReport, reviveReport } from './fine-tune/report.js';
import type { FineTuneResult } from './fine-tune/result.js';
import type { ScratchBaseline } from './fine-tune/scratch.js';
import type { StageReport } from './fine-tune/stage-run.js';
import type { LabelledModel } from './labelled-model.js';
import type { Model, ModelOrigin } from './model.js';
import type { Plan, Precision } from './native.js';
import {
  type NamedSliceReport,
  type NamedTargetSliceReport,
  outcomeSlices,
  reportTargetSlices,
} from './outcome-slices.js';
import type { Outcomes } from './outcomes.js';
import { requireFile } from './regular-file.js';
import { versions } from './versions.js';

/** What a fine-tuning was and came to, as plain JSON: the content of run.json. Older files lack what may be undefined. */
export interface RunRecord {
  /** What the command line was asked for; undefined where a program called fineTune. */
  request?: Record<string, unknown>;
  /** Every option that decides what a run computes. */
  options?: Record<string, unknown>;
  source?: ModelOrigin;
  device?: string;
  notices?: string[];
  data: Pick<DatasetSummary, 'classes'> & Partial<DatasetSummary> & { warnings?: string[] };
  preprocessing?: Preprocessing;
  environment?: Record<string, string | number>;
  /** Names of the parameters that learned. */
  trainable?: string[];
  /** The parts of the run, and what was decided between them. */
  stages?: StageReport[];
  decisions?: string[];
  /** What comes without fine-tuning. */
  baselines?: Baselines;
  /** The same network from random weights, where it was asked for. */
  scratch?: ScratchBaseline<Task>;
  plan?: Plan;
  /** Of the last stage; `stages` has each one's. */
  precision?: Precision;
  views?: ComputationReport['views'];
  features?: ComputationReport['features'];
  computationNotices?: string[];
  ended?: FineTuneResult['ended'];
  /** What is left of the source task. */
  retention?: FineTuneResult['retention'];
  /** 0 is the model before the first step. */
  bestEpoch: number;
  baseline: EpochReport<Task>;
  epochs: EpochReport<Task>[];
  /** How the best weights do on slices of the validation images. */
  slices?: (NamedSliceReport | NamedTargetSliceReport)[];
  totalSeconds?: number;
  /** What the time went to, by name; of the command line also `data`, `model`, `saving`, `report`. */
  seconds?: Record<string, number>;
  peakRssMb?: number;
}

/** The record of a finished run; call it while the model is there. */
export function makeRunRecord(model: Model, data: ImageDataset, result: FineTuneResult<Task>): RunRecord {
  const { plan, views, features, notices } = result.computation;
  return {
    options: model.card?.provenance.options as Record<string, unknown>,
    source: model.origin,
    device: model.device,
    notices: model.notices,
    data: { ...data.summary, warnings: data.warnings },
    preprocessing: result.preprocessing,
    environment: {
      ...versions(),
      platform: `${process.platform}-${process.arch}`,
      processor: cpus()[0]?.model ?? 'unknown',
      processors: availableParallelism(),
    },
    trainable: model.trainable,
    stages: result.stages,
    decisions: result.decisions,
    ...(result.baselines ? { baselines: result.baselines } : {}),
    plan,
    precision: plan.precision,
    views,
    features,
    computationNotices: notices,
    ended: result.ended,
    ...(result.retention ? { retention: result.retention } : {}),
    bestEpoch: result.best.epoch,
    baseline: result.baseline,
    epochs: result.history,
    ...(result.seconds ? { seconds: result.seconds } : {}),
  };
}

/**
 * The record with how the model does on the slices of the validation images, where they have some: of one class an image by
 * the outcomes, where these are known; of other tasks by a pass over the images.
 */
export async function withSlices(
  record: RunRecord,
  { model, data, outcomes }: { model: LabelledModel; data: ImageDataset; outcomes: Outcomes | undefined },
  reading: { threads: number; batchSize?: number },
): Promise<RunRecord> {
  const { val } = data.splits;
  if (record.slices || sliceNames(val).length === 0) return record;
  if (taskOf(data) === 'single-label')
    return outcomes ? { ...record, slices: outcomeSlices(outcomes, val) } : record;
  const evaluation = await evaluateTargets(model, val, { batchSize: 32, ...reading, unreadable: 'skip' });
  return { ...record, slices: reportTargetSlices(evaluation, evaluation.slices, data.classes) };
}

const scores = z.looseObject({ precision: z.number(), recall: z.number(), f1: z.number() });

const measured = { count: z.number(), loss: z.number() };
const errors = z.looseObject({ target: z.string(), mae: z.number(), rmse: z.number() });

const epochSchema = z.looseObject({
  epoch: z.int().min(0),
  trainLoss: z.number().nullable(),
  trainAccuracy: z.number().nullable(),
  learningRate: z.number(),
  seconds: z.number(),
  validation: z.union([
    z.looseObject({ ...measured, task: z.literal('multi-label'), macro: scores, perLabel: z.array(scores) }),
    z.looseObject({
      ...measured,
      task: z.literal('regression'),
      mae: z.number(),
      perTarget: z.array(errors),
    }),
    z.looseObject({
      ...measured,
      task: z.undefined().optional(),
      accuracy: z.number(),
      macro: scores,
      perClass: z.array(scores.extend({ class: z.string(), support: z.number() })),
      confusionMatrix: z.array(z.array(z.number())).optional(),
      confusions: z.array(z.tuple([z.number(), z.number(), z.number()])).optional(),
    }),
  ]),
});

/** Without these there is nothing to tell of a run. */
const recordSchema = z
  .looseObject({
    data: z.looseObject({ classes: z.array(z.string()).min(1) }),
    bestEpoch: z.int().min(0),
    baseline: epochSchema,
    epochs: z.array(epochSchema),
  })
  .refine(({ bestEpoch, epochs }) => bestEpoch <= epochs.length, {
    path: ['bestEpoch'],
    message: 'is none of the epochs',
  });

/** Reads a run.json. @throws FILE_NOT_FOUND, DATA_INVALID where it is none or damaged */
export async function readRunRecord(path: string): Promise<RunRecord> {
  const read = requireFile(path, 'record of a run').then(() => readFile(path, 'utf8'));
  const text = await read.catch((cause: unknown) => {
    throw new TorchgraftError(
      'FILE_NOT_FOUND',
      `No run at ${path}: \`torchgraft train\` writes this file when it ends.`,
      { cause },
    );
  });
  const parsed = recordSchema.safeParse(parseJson(text));
  if (parsed.success) return revive(parsed.data as unknown as RunRecord);
  const issue = parsed.error.issues[0];
  throw new TorchgraftError(
    'DATA_INVALID',
    `${path} is not the record of a torchgraft run: ${issue?.path.join('.') || 'the file'}: ${issue?.message}.`,
  );
}

function revive(record: RunRecord): RunRecord {
  return { ...record, baseline: reviveReport(record.baseline), epochs: record.epochs.map(reviveReport) };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The epoch whose weights were kept. */
export function bestEpochOf({ bestEpoch, baseline, epochs }: RunRecord): EpochReport<Task> {
  return bestEpoch === 0 ? baseline : (epochs[bestEpoch - 1] as EpochReport<Task>);
}
