import { z } from 'zod';
import type { ImageDataset } from '../data/dataset.js';
import { requireSingleLabel } from '../data/task.js';
import { invalidType } from '../errors.js';
import type { Model } from '../model.js';
import { copyModel } from '../model-copy.js';
import { checkOptions } from '../options.js';
import { type ExtractOptions, extractFeatures, extractSchema, type Features } from './features.js';
import { type Difference, type ProbeMetric, pairedDifference, pairedLossDifference } from './interval.js';
import { quickProbe } from './quick.js';
import type { ProbeResult } from './result.js';
import { shuffleWeights } from './shuffle-weights.js';
import { logME } from './transferability.js';
import { judge, type Verdict } from './verdict.js';

const schema = extractSchema.extend({
  metric: z.enum(['accuracy', 'macroF1']).default('macroF1'),
  untrained: z.int().min(1).max(20).default(3),
  shuffled: z.boolean().default(false),
  precision: z.enum(['auto', 'float32', 'bfloat16', 'float16']).default('float32'),
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
});

/**
 * Those of extractFeatures, except that `precision` is float32 by default (the signal of untrained weights is small), and
 * - `metric`: what is compared, `macroF1` (default) or `accuracy`
 * - `untrained`: untrained networks to compare with, each of other random weights; default 3. One alone may be lucky
 * - `shuffled`: compare with the model's own weights in a random order too; default false
 * - `seed`: of untrained and shuffled weights, folds and resampling; default 0
 */
export type TransferCheckOptions = ExtractOptions & {
  metric?: ProbeMetric;
  untrained?: number;
  shuffled?: boolean;
  seed?: number;
};

/** What a trunk's features are worth here. */
export interface TrunkScore {
  /** Of the quick probe, on the validation images. */
  accuracy: number;
  macroF1: number;
  /** Of its probabilities, nats. */
  logLoss: number;
  logME: number;
}

/** The same network with weights that have learnt nothing. */
export interface ControlScore extends TrunkScore {
  weights: 'untrained' | 'shuffled';
  /** Of those weights. */
  seed: number;
  /** Of the metric, pretrained minus control, with its 95 % interval. */
  difference: Difference;
  /** Of the log loss, likewise: below 0 the pretrained weights are better. */
  lossDifference: Difference;
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
 * probe on the same network with untrained weights (PyTorch's initialisation, BatchNorm's too). A control is surely worse where
 * the 95 % interval of the difference in the metric, by a paired bootstrap of the validation images, lies above 0; or, of
 * classes so easy that the metric has no room, where that of the log loss lies below 0 and the metric is no lower. `help` where
 * every control is surely worse, `harm` where every untrained one is surely better, else `neutral`. It judges features of
 * frozen layers, and random ones tell some data apart too, by colour or size for example; what fine-tuning makes of the
 * weights, `trainFromScratch` tells.
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
  return (await checkWithFeatures(model, data, options)).check;
}

/** transferCheck, and the features of the model as it is, which may be known already. */
export async function checkWithFeatures(
  model: Model,
  data: ImageDataset,
  options: TransferCheckOptions,
  known?: Features,
): Promise<{ check: TransferCheck; features: Features }> {
  if (typeof model?.replaceHead !== 'function')
    throw invalidType('transferCheck: expected a Model from loadModel.');
  requireSingleLabel(data, 'transferCheck');
  const { metric, untrained, shuffled, seed, ...rest } = checkOptions(schema, options, 'transferCheck');
  const extracting = rest as ExtractOptions;
  const pretrained = await scoreTrunk(model, data, extracting, seed, known);
  const controls: ControlScore[] = [];
  for (const { weights, seed: own } of controlsOf(untrained, shuffled, seed)) {
    await using copy = await copyModel(model);
    if (weights === 'untrained') await copy.reinitialise(own);
    else await shuffleWeights(copy, own);
    const control = await scoreTrunk(copy, data, extracting, seed);
    const { labels } = pretrained.features.val;
    const classes = data.classes.length;
    const pair = { first: pretrained.probe, second: control.probe, labels, classes };
    controls.push({
      ...{ weights, seed: own, ...control.score },
      difference: pairedDifference(pair, metric, seed),
      lossDifference: pairedLossDifference(pair, seed),
    });
  }
  const images = pretrained.features.val.labels.length;
  const judged = judge({ metric, pretrained: pretrained.score, controls, images });
  const { features, score } = pretrained;
  const { skipped } = features;
  return { check: { ...judged, metric, pretrained: score, controls, images, skipped }, features };
}

function controlsOf(
  untrained: number,
  shuffled: boolean,
  seed: number,
): Pick<ControlScore, 'weights' | 'seed'>[] {
  const random = Array.from({ length: untrained }, (_, at) => ({
    weights: 'untrained' as const,
    seed: (seed + at) % Number.MAX_SAFE_INTEGER,
  }));
  return shuffled ? [...random, { weights: 'shuffled', seed }] : random;
}

async function scoreTrunk(
  model: Model,
  data: ImageDataset,
  options: ExtractOptions,
  seed: number,
  known?: Features,
): Promise<{ features: Features; probe: ProbeResult; score: TrunkScore }> {
  const features = known ?? (await extractFeatures(model, data, options));
  const probe = await quickProbe(features, { seed, signal: options.signal });
  const { accuracy, macro, loss: logLoss } = probe.metrics;
  return { features, probe, score: { accuracy, macroF1: macro.f1, logLoss, logME: await logME(features) } };
}
