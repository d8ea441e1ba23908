import { z } from 'zod';
import type { ImageDataset } from './data/dataset.js';
import { completePreprocessing } from './data/preprocessing.js';
import { requireSingleLabel } from './data/task.js';
import { invalidType } from './errors.js';
import { isWithoutFeatures, readingOf } from './fine-tune/baselines.js';
import { FineTuning } from './fine-tune/fine-tuning.js';
import { type CheckedOptions, checkFineTuneOptions, type FineTuneOptions } from './fine-tune/options.js';
import type { FineTuneResult } from './fine-tune/result.js';
import type { Model } from './model.js';
import { copyModel } from './model-copy.js';
import { checkOptions } from './options.js';
import { extractFeatures } from './probe/features.js';
import { type Difference, pairedDifference } from './probe/interval.js';
import { quickProbe } from './probe/quick.js';
import type { ProbeResult } from './probe/result.js';
import type { Verdict } from './probe/verdict.js';

const schema = z.strictObject({
  target: z.custom<ImageDataset>((value) => typeof value === 'object').optional(),
  metric: z.enum(['accuracy', 'macroF1']).default('macroF1'),
  fineTune: z
    .looseObject({})
    .transform((options) => options as FineTuneOptions)
    .prefault({}),
});

/**
 * - `target`: the data that the model is to be fine-tuned on afterwards; with it, a probe on its images tells whether the
 *   first step helped. Default: not judged
 * - `metric`: that the probes are compared by, `macroF1` (default) or `accuracy`
 * - `fineTune`: options of the first step, as of fineTune; default strategy `llrd`, which moves the layers below the head from the first epoch
 */
export interface AdaptOptions {
  target?: ImageDataset;
  metric?: 'accuracy' | 'macroF1';
  fineTune?: FineTuneOptions;
}

/** What the first step did to the features, measured on the target's validation images. Plain JSON. */
export interface AdaptationCheck {
  verdict: Verdict;
  /** The verdict with its figures, for people. */
  text: string;
  metric: 'accuracy' | 'macroF1';
  /** Of a linear probe on the trunk before and after. */
  before: number;
  after: number;
  difference: Difference;
}

/** A model that was adapted. */
export interface Adaptation {
  /** A new model with the related data's head; the caller disposes it. fineTune gives it the target's head. */
  model: Model;
  /** The first step. */
  result: FineTuneResult;
  /** Undefined without `target`, and where the head's inputs cannot be kept. */
  check: AdaptationCheck | undefined;
}

/**
 * The first of two steps: fine-tunes a copy of a model on a larger labelled data set that is related to the target, so that
 * the second step, `fineTune` on the target, begins nearer to it (intermediate-task transfer, Phang et al. 2018; in-domain
 * pretraining of medical images, Azizi et al. 2021). The model given stays as it is, so that it can be taken where the
 * verdict is `harm`. The card keeps the lineage: `provenance.before` of the second step is the first.
 *
 * @example
 * const { model: adapted, check } = await adapt(model, await imageFolder('related'), { target });
 * console.log(check?.text);
 * for await (const epoch of fineTune(check?.verdict === 'harm' ? model : adapted, target)) console.log(epoch.metrics);
 *
 * @throws INVALID_TYPE, INVALID_VALUE (options), and those of fineTune and extractFeatures
 */
export async function adapt(
  model: Model,
  related: ImageDataset,
  options: AdaptOptions = {},
): Promise<Adaptation> {
  if (typeof model?.replaceHead !== 'function') throw invalidType('adapt: expected a Model from loadModel.');
  if (!related?.splits?.train) throw invalidType('adapt: expected data from imageFolder or imageManifest.');
  const { target, metric, fineTune } = checkOptions(schema, options, 'adapt');
  for (const data of [related, target]) requireSingleLabel(data, 'adapt');
  const checked = checkFineTuneOptions({ strategy: 'llrd', baselines: 'none', ...fineTune });
  const before = target && (await probeTarget(model, target, checked));
  const adapted = await copyModel(model);
  try {
    const result = (await new FineTuning(adapted, related, checked)) as FineTuneResult;
    const after = before && target && (await probeTarget(adapted, target, checked));
    const check = before && after && compare(before, after, metric, checked.seed);
    return { model: adapted, result, check };
  } catch (error) {
    await adapted.dispose();
    throw error;
  }
}

interface Probed {
  probe: ProbeResult;
  labels: Int32Array;
}

async function probeTarget(
  model: Model,
  target: ImageDataset,
  options: CheckedOptions,
): Promise<Probed | undefined> {
  const { seed, signal } = options;
  const preprocessing = completePreprocessing({ ...model.card?.preprocessing, ...options.preprocessing });
  try {
    const features = await extractFeatures(model, target, { ...readingOf(options), preprocessing });
    return { probe: await quickProbe(features, { seed, signal }), labels: features.val.labels };
  } catch (error) {
    if (isWithoutFeatures(error)) return undefined;
    throw error;
  }
}

function compare(
  before: Probed,
  after: Probed,
  metric: 'accuracy' | 'macroF1',
  seed: number,
): AdaptationCheck {
  const { labels, probe } = after;
  const classes = probe.classes.length;
  const pair = { first: probe, second: before.probe, labels, classes };
  const difference = pairedDifference(pair, metric, seed);
  const verdict = difference.low > 0 ? 'help' : difference.high < 0 ? 'harm' : 'neutral';
  const [first, second] = [before, after].map(({ probe: { metrics } }) =>
    metric === 'accuracy' ? metrics.accuracy : metrics.macro.f1,
  ) as [number, number];
  const words = { help: 'helps', neutral: 'makes no clear difference', harm: 'harms' }[verdict];
  const name = metric === 'accuracy' ? 'accuracy' : 'macro F1';
  const show = (value: number) => `${value < 0 ? '' : '+'}${value.toFixed(3)}`;
  const text =
    `Adapting first ${words}: a linear probe on the target's ${labels.length} validation images goes from ` +
    `${first.toFixed(3)} to ${second.toFixed(3)} in ${name} (difference ${show(difference.value)}, 95 % interval ` +
    `${show(difference.low)} to ${show(difference.high)}).`;
  return { verdict, text, metric, before: first, after: second, difference };
}
