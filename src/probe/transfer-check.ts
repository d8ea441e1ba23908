import { z } from 'zod';
import type { ImageDataset } from '../data/dataset.js';
import { requireSingleLabel } from '../data/task.js';
import { invalidType } from '../errors.js';
import type { Model } from '../model.js';
import { copyModel } from '../model-copy.js';
import type { Precision } from '../native.js';
import { checkOptions } from '../options.js';
import type { Stopwatch } from '../stopwatch.js';
import { type ExtractOptions, extractSchema, extractWith, type Features } from './features.js';
import { firstLookOf } from './first-look.js';
import {
  type Difference,
  hasRoom,
  type ProbeMetric,
  pairedDifference,
  pairedLossDifference,
} from './interval.js';
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
  /** Whether the metric had room to show a difference: the worse of the two is wrong on more than a few images. */
  hasRoom: boolean;
  /** Images that it was probed and compared on, the pretrained weights too, where these are fewer than all. */
  part?: { train: number; val: number };
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
 * the 95 % interval of the difference in the metric, by a paired bootstrap of the validation images, lies above 0; or, where the
 * metric has no room, because even a perfect classifier could not be told from the control by it, where that of the log loss
 * lies below 0 and the metric is no lower. `help` where
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
  const { metric, untrained, shuffled, seed, ...rest } = checkRequest(model, data, options);
  const comparison = await Comparison.begin(model, data, {
    metric,
    seed,
    extracting: rest,
    precision: rest.precision,
  });
  const controls: ControlScore[] = [];
  for (const control of controlsOf(untrained, shuffled, seed)) controls.push(await comparison.with(control));
  return comparison.judge(controls);
}

/**
 * transferCheck beside a training, at a fraction of its cost: with one untrained network on a part of the images where that
 * is plainly worse there; else with one on all, and with three where one does not tell.
 *
 * @param options `precision`: of the pretrained network's features, so that the training finds them again
 * @param known C of a probe on more of these images; who counts what the training has to do too
 */
export async function checkInLooks(
  model: Model,
  data: ImageDataset,
  { precision, ...options }: TransferCheckOptions & { precision: Precision | 'auto' },
  known: { C?: number | undefined; watch?: Stopwatch },
): Promise<{ check: TransferCheck; pretrained: ScoredTrunk }> {
  const { metric, untrained, shuffled: _, seed, ...rest } = checkRequest(model, data, options);
  const about = { metric, seed, extracting: rest, precision, ...known };
  const comparison = await Comparison.begin(model, data, about);
  const { pretrained } = comparison;
  const [first, ...others] = controlsOf(untrained, false, seed) as [Control, ...Control[]];
  const seen = await comparison.look(first);
  if (seen) return { check: comparison.judge([seen]), pretrained };
  const controls = [await comparison.with(first)];
  if (comparison.judge(controls).verdict === 'help') return { check: comparison.judge(controls), pretrained };
  for (const control of others) controls.push(await comparison.with(control));
  return { check: comparison.judge(controls), pretrained };
}

function checkRequest(model: Model, data: ImageDataset, options: TransferCheckOptions) {
  if (typeof model?.replaceHead !== 'function')
    throw invalidType('transferCheck: expected a Model from loadModel.');
  requireSingleLabel(data, 'transferCheck');
  return checkOptions(schema, options, 'transferCheck');
}

type Control = Pick<ControlScore, 'weights' | 'seed'>;

/** A trunk's features, a probe on them, and what it is worth. */
export interface ScoredTrunk {
  features: Features;
  probe: ProbeResult;
  score: TrunkScore;
}

interface About {
  metric: ProbeMetric;
  seed: number;
  /** Of the controls. */
  extracting: Omit<z.output<typeof schema>, 'metric' | 'untrained' | 'shuffled' | 'seed'>;
  precision: Precision | 'auto';
  /** Counts what the pretrained network's features take apart, where they are the training's too. */
  watch?: Stopwatch | undefined;
  /** Of the pretrained network's probe, where it is known. */
  C?: number | undefined;
}

/** A model beside the same network with other weights, one at a time. */
class Comparison {
  readonly #model: Model;
  readonly #data: ImageDataset;
  readonly #about: About;
  readonly pretrained: ScoredTrunk;

  private constructor(model: Model, data: ImageDataset, about: About, pretrained: ScoredTrunk) {
    this.#model = model;
    this.#data = data;
    this.#about = about;
    this.pretrained = pretrained;
  }

  static async begin(model: Model, data: ImageDataset, about: About): Promise<Comparison> {
    const { extracting, precision, watch } = about;
    const features = await extractWith(model, data, { ...extracting, precision }, watch ? { watch } : {});
    return new Comparison(model, data, about, await scoreTrunk(features, about, about.C));
  }

  /** On all images. */
  async with(control: Control): Promise<ControlScore> {
    return this.#compare(control, this.#data, this.pretrained);
  }

  /** On a part of the images; undefined where there are few, or it does not tell plainly. */
  async look(control: Control): Promise<ControlScore | undefined> {
    const look = firstLookOf(this.#data, this.pretrained.features);
    if (!look) return undefined;
    const { data, features } = look;
    const { seed, extracting } = this.#about;
    // Both with the C that was chosen on all images: no choice from few.
    const { C } = this.pretrained.probe;
    const probe = await quickProbe(features, { seed, signal: extracting.signal, C });
    const scored = await this.#compare(control, data, { features, probe }, C);
    const part = { train: features.train.labels.length, val: features.val.labels.length };
    return isPlainlyWorse(scored) ? { ...scored, part } : undefined;
  }

  judge(controls: ControlScore[]): TransferCheck {
    const { metric } = this.#about;
    const { features, score: pretrained } = this.pretrained;
    const images = features.val.labels.length;
    const judged = judge({ metric, pretrained, controls, images });
    return { ...judged, metric, pretrained, controls, images, skipped: features.skipped };
  }

  async #compare(
    control: Control,
    data: ImageDataset,
    pretrained: Pick<ScoredTrunk, 'features' | 'probe'>,
    C?: number,
  ): Promise<ControlScore> {
    const { metric, seed, extracting } = this.#about;
    await using copy = await copyModel(this.#model);
    if (control.weights === 'untrained') await copy.reinitialise(control.seed);
    else await shuffleWeights(copy, control.seed);
    // The same network: what was proven of it holds for other weights.
    const { plan } = this.pretrained.features.computation;
    const known = { ...plan, precision: 'float32' as const };
    const options = extracting as ExtractOptions;
    const features = await extractWith(
      copy,
      data,
      options,
      extracting.precision === 'float32' ? { plan: known } : {},
    );
    const { probe, score } = await scoreTrunk(features, this.#about, C);
    const { labels } = pretrained.features.val;
    const classes = data.classes.length;
    const pair = { first: pretrained.probe, second: probe, labels, classes };
    const difference = pairedDifference(pair, metric, seed);
    const worse = difference.value < 0 ? pretrained.probe : probe;
    return {
      ...{ ...control, ...score, difference },
      hasRoom: hasRoom(worse, labels, classes, metric, seed),
      lossDifference: pairedLossDifference(pair, seed),
    };
  }
}

/**
 * One look more must not be one chance more to be wrong: the 95 % interval has to lie above this, and the loss has to agree.
 * docs/benchmarks.md has how often it is right.
 */
const plainDifference = 0.05;

function isPlainlyWorse({ difference, lossDifference }: ControlScore): boolean {
  return difference.low > plainDifference && lossDifference.high < 0;
}

function controlsOf(untrained: number, shuffled: boolean, seed: number): Control[] {
  const random = Array.from({ length: untrained }, (_, at) => ({
    weights: 'untrained' as const,
    seed: (seed + at) % Number.MAX_SAFE_INTEGER,
  }));
  return shuffled ? [...random, { weights: 'shuffled', seed }] : random;
}

async function scoreTrunk(features: Features, { seed, extracting }: About, C?: number): Promise<ScoredTrunk> {
  const probe = await quickProbe(features, { seed, signal: extracting.signal, C });
  const { accuracy, macro, loss: logLoss } = probe.metrics;
  return { features, probe, score: { accuracy, macroF1: macro.f1, logLoss, logME: await logME(features) } };
}
