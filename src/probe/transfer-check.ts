import { z } from 'zod';
import type { ImageDataset } from '../data/dataset.js';
import { requireSingleLabel } from '../data/task.js';
import { invalidType } from '../errors.js';
import type { Model } from '../model.js';
import { copyModel } from '../model-copy.js';
import { checkOptions } from '../options.js';
import { type ExtractOptions, extractFeatures, extractSchema, type Features } from './features.js';
import { type Difference, type ProbeMetric, pairedDifference } from './interval.js';
import { quickProbe } from './quick.js';
import type { ProbeResult } from './result.js';
import { shuffleWeights } from './shuffle-weights.js';
import { logME } from './transferability.js';
import { judge, type Verdict } from './verdict.js';

const schema = extractSchema.extend({
  metric: z.enum(['accuracy', 'macroF1']).default('macroF1'),
  shuffled: z.boolean().default(false),
  precision: z.enum(['auto', 'float32', 'bfloat16', 'float16']).default('float32'),
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
});

/**
 * Those of extractFeatures, except that `precision` is float32 by default (the signal of untrained weights is small), and
 * - `metric`: what is compared, `macroF1` (default) or `accuracy`
 * - `shuffled`: compare with the model's own weights in a random order too; default false
 * - `seed`: of untrained and shuffled weights, folds and resampling; default 0
 */
export type TransferCheckOptions = ExtractOptions & {
  metric?: ProbeMetric;
  shuffled?: boolean;
  seed?: number;
};

/** What a trunk's features are worth here. */
export interface TrunkScore {
  /** Of the quick probe, on the validation images. */
  accuracy: number;
  macroF1: number;
  logME: number;
}

/** The same network with weights that have learnt nothing. */
export interface ControlScore extends TrunkScore {
  weights: 'untrained' | 'shuffled';
  /** Of the metric, pretrained minus control, with its 95 % interval. */
  difference: Difference;
}

/** Whether a pretrained model helps on a data set. */
export interface TransferCheck {
  verdict: Verdict;
  /** The verdict with its figures, for people. */
  text: string;
  metric: ProbeMetric;
  pretrained: TrunkScore;
  controls: ControlScore[];
  /** Validation images that were compared. */
  images: number;
  skipped: Features['skipped'];
}

/**
 * Whether what a model has learnt before helps on these images: a quick linear probe on its frozen trunk beside the same
 * probe on the same network with untrained weights (PyTorch's initialisation, BatchNorm's too). `help` where the 95 %
 * interval of the difference, by a paired bootstrap of the validation images, is above 0 for every control, `harm` where
 * it is below 0 for one, else `neutral`. It judges features of frozen layers: fine-tuning all layers may find more in both.
 * The model stays as it is; copies of it are loaded one at a time.
 *
 * @example
 * const { verdict, text } = await transferCheck(model, await imageFolder('flowers'));
 *
 * @throws those of extractFeatures
 */
export async function transferCheck(
  model: Model,
  data: ImageDataset,
  options: TransferCheckOptions = {},
): Promise<TransferCheck> {
  return (await checkTransfer(model, data, options)).check;
}

/** transferCheck, with the features of the model as it is. */
export async function checkTransfer(
  model: Model,
  data: ImageDataset,
  options: TransferCheckOptions,
): Promise<{ check: TransferCheck; features: Features }> {
  if (typeof model?.replaceHead !== 'function')
    throw invalidType('transferCheck: expected a Model from loadModel.');
  requireSingleLabel(data, 'transferCheck');
  const { metric, shuffled, seed, ...rest } = checkOptions(schema, options, 'transferCheck');
  const extracting = rest as ExtractOptions;
  const own = await scoreTrunk(model, data, extracting, seed);
  const controls: ControlScore[] = [];
  for (const weights of shuffled ? (['untrained', 'shuffled'] as const) : (['untrained'] as const)) {
    await using copy = await copyModel(model);
    if (weights === 'untrained') await copy.reinitialise(seed);
    else await shuffleWeights(copy, seed);
    const control = await scoreTrunk(copy, data, extracting, seed);
    const pair = {
      first: own.probe.predicted,
      second: control.probe.predicted,
      labels: own.features.val.labels,
      classes: data.classes.length,
    };
    controls.push({ weights, ...control.score, difference: pairedDifference(pair, metric, seed) });
  }
  const images = own.features.val.labels.length;
  const judged = judge({ metric, pretrained: own.score, controls, images });
  const { features, score: pretrained } = own;
  return { check: { ...judged, metric, pretrained, controls, images, skipped: features.skipped }, features };
}

async function scoreTrunk(
  model: Model,
  data: ImageDataset,
  options: ExtractOptions,
  seed: number,
): Promise<{ features: Features; probe: ProbeResult; score: TrunkScore }> {
  const features = await extractFeatures(model, data, options);
  const probe = await quickProbe(features, { seed, signal: options.signal });
  const { accuracy, macro } = probe.metrics;
  return { features, probe, score: { accuracy, macroF1: macro.f1, logME: await logME(features) } };
}
