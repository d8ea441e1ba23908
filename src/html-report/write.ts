import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { z } from 'zod';
import { writeAtomically } from '../atomic-file.js';
import type { ModelCard } from '../card.js';
import type { ImageDataset, Sample } from '../data/dataset.js';
import { BatchLoader } from '../data/loader.js';
import { nativePreprocess } from '../data/preprocessing.js';
import type { Task } from '../data/task.js';
import { taskOf } from '../data/task.js';
import { invalidType } from '../errors.js';
import { evaluateSplit } from '../fine-tune/epoch.js';
import type { FineTuneResult } from '../fine-tune/result.js';
import { imageSource } from '../fine-tune/source.js';
import type { Model } from '../model.js';
import { checkOptions } from '../options.js';
import { OutcomeCollector, type Outcomes } from '../outcomes.js';
import { makeRunRecord, type RunRecord, withSlices } from '../run-record.js';
import { requireWritableFile } from '../writable.js';
import type { ReportContent, SavedModel } from './content.js';
import { drawDoubted } from './doubts.js';
import { showMistakes } from './mistakes.js';
import { affordableMaps } from './occlusion.js';

const reportOptions = z.strictObject({
  mistakes: z.int().min(0).max(200).default(24),
  maps: z.int().min(0).max(200).optional(),
  threads: z.int().min(1).default(2),
});

/**
 * - `mistakes`: how many of the most confident wrong answers are shown as pictures; default 24
 * - `maps`: how many of them get a map of what the answer came from; default: all by Grad-CAM; of occlusion maps (50
 *   forwards each), where the network has no map of features before its head, as many as take some seconds, by the model's
 *   arithmetic
 * - `threads`: images decoded at a time; default 2
 */
export type ReportOptions = z.input<typeof reportOptions>;

/** A fine-tuning to report on, while its model is there. */
export interface ReportedRun {
  /** With the card that fineTune gave it. */
  model: Model;
  data: ImageDataset;
  result: FineTuneResult<Task>;
  /** What is told of the run beside what model, data and result say; default: nothing more. */
  record?: RunRecord;
  /** What `FineTuning.validationOutcomes` gave; default: the validation images are classified now. */
  outcomes?: Outcomes | undefined;
  /** The saved model, to be named with its SHA-256. */
  modelFile?: string;
}

/**
 * Writes a report of a fine-tuning as one HTML file, atomically: figures beside baselines, curves, confusions,
 * calibration, the worst mistakes with maps of what the answers came from, how it was computed, and a model card.
 *
 * @param path the file; its folder must exist
 * @example
 * const run = fineTune(model, data, { epochs: 5 });
 * await writeReport('report.html', { model, data, result: await run, outcomes: run.validationOutcomes });
 *
 * @throws INVALID_TYPE, INVALID_VALUE, FILE_NOT_FOUND (no such folder), FILE_UNWRITABLE, IMAGE_UNREADABLE, BUSY, DISPOSED
 */
export async function writeReport(
  path: string,
  run: ReportedRun,
  options: ReportOptions = {},
): Promise<void> {
  const { model, data, result } = run;
  if (!model?.card || !data?.splits?.val || !result?.best) {
    throw invalidType('writeReport: expected { model, data, result } of a fine-tuning that has ended.');
  }
  const limits = checkOptions(reportOptions, options, 'writeReport');
  await requireWritableFile(path);
  const labelled = { model, card: model.card };
  // Without one class an image there are no confusions, and no single worst mistake.
  const isClassed = taskOf(data) === 'single-label';
  const outcomes = isClassed
    ? (run.outcomes ?? (await classifySamples(labelled, data.splits.val, limits.threads)))
    : undefined;
  const made = run.record ?? makeRunRecord(model, data, result);
  const { threads } = limits;
  const record = await withSlices(made, { model: labelled, data, outcomes }, { threads });
  const content = {
    record,
    card: model.card,
    ...(outcomes ? { outcomes, mistakes: await pictures(labelled, outcomes, record, limits) } : {}),
    doubted: await drawDoubted(record.baselines?.audit),
  };
  await saveReport(path, {
    ...content,
    ...(run.modelFile === undefined ? {} : { model: await describeFile(run.modelFile) }),
  });
}

/** Writes a report's file from what is known. */
export async function saveReport(path: string, content: ReportContent): Promise<void> {
  // With the charts' library, which takes longer to load than all else here.
  const { renderReport } = await import('./page.js');
  const text = await renderReport(content);
  await writeAtomically(path, (temporary) => writeFile(temporary, text));
}

/** What a model says of samples whose labels are indices into its own classes. */
export async function classifySamples(
  { model, card }: { model: Model; card: ModelCard },
  samples: Sample[],
  threads: number,
): Promise<Outcomes> {
  const { preprocessing, classes } = card;
  const reading = {
    preprocessing,
    batchSize: 32,
    threads,
    unreadable: 'skip' as const,
    view: 'eval' as const,
  };
  const collected = new OutcomeCollector(classes);
  const { skipped } = await evaluateSplit({
    model,
    source: imageSource(new BatchLoader(samples, reading)),
    total: samples.length,
    classes,
    preprocess: nativePreprocess(preprocessing),
    onLogits: (batch, logits) => collected.add(batch, logits),
  });
  return collected.outcomes(skipped) as Outcomes;
}

/** The worst mistakes, as many with maps as the model's size allows. */
export async function pictures(
  labelled: { model: Model; card: ModelCard },
  outcomes: Outcomes,
  { plan }: RunRecord,
  { mistakes, maps }: { mistakes: number; maps?: number | undefined } = { mistakes: 24 },
) {
  const occlusionMaps = maps ?? affordableMaps(plan, mistakes);
  return showMistakes(labelled, outcomes, { mistakes, maps: maps ?? mistakes, occlusionMaps });
}

/** A model's file as a report names it. */
export async function describeFile(path: string): Promise<SavedModel> {
  const bytes = await readFile(path);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return { file: basename(path), bytes: bytes.length, sha256 };
}
