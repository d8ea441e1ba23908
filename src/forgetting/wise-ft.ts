import { availableParallelism } from 'node:os';
import { z } from 'zod';
import { cleanUp } from '../clean-up.js';
import type { ImageDataset } from '../data/dataset.js';
import { BatchLoader, type SkippedImage } from '../data/loader.js';
import { completePreprocessing, nativePreprocess, type Preprocessing } from '../data/preprocessing.js';
import { requireSingleLabel } from '../data/task.js';
import { invalidType, invalidValue, throwIfAborted } from '../errors.js';
import { evaluateSplit, type Reading } from '../fine-tune/epoch.js';
import { imageSource } from '../fine-tune/source.js';
import type { ClassificationMetrics } from '../metrics/classification.js';
import type { Model } from '../model.js';
import type { Tensor } from '../native.js';
import { callNative } from '../native-call.js';
import { checkOptions } from '../options.js';
import { compareStandings } from '../standing.js';
import { signalOption } from '../value-kinds.js';
import { type RetainOption, retainOption } from './options.js';
import { readRetainSet } from './retain-set.js';
import type { RetentionPoint } from './retention.js';
import { headOf, SourceModel, trunkNames } from './source-model.js';

const schema = z.strictObject({
  start: z
    .custom<Model>((value) => typeof (value as Model)?.replaceHead === 'function', 'expected a Model')
    .optional(),
  retain: retainOption.optional(),
  alphas: z
    .array(z.number().min(0).max(1))
    .min(2)
    .default(Array.from({ length: 11 }, (_, i) => i / 10)),
  choose: z.enum(['accuracy', 'retention']).default('accuracy'),
  tolerance: z.number().min(0).max(1).default(0.01),
  preprocessing: z
    .looseObject({})
    .transform((parts) => parts as Partial<Preprocessing>)
    .optional(),
  batchSize: z.int().min(1).max(65_536).default(32),
  threads: z.int().min(1).max(1024).default(availableParallelism()),
  unreadable: z.enum(['fail', 'skip']).default('fail'),
  signal: signalOption,
  onPoint: z.custom<(point: WiseFtPoint) => void>((value) => typeof value === 'function').optional(),
});

/** Options of wiseFt; all may be left out. */
export interface WiseFtOptions {
  /**
   * Where fine-tuning began: a model with the same head, for example as a linear probe left it. Then the head is
   * interpolated too. Default: the source model, and the head stays that of the fine-tuned one.
   */
  start?: Model;
  /** Images of the source task; see `retain` of fineTune. Default: none, and retention is not measured. */
  retain?: string | RetainOption;
  /** Shares of the fine-tuned weights, 0 to 1. Default 0, 0.1, ... 1. */
  alphas?: number[];
  /**
   * `accuracy`: the best on the validation images, `retention`: the highest agreement of those within `tolerance`
   * of the best accuracy. Of equal ones the lowest validation loss, then the nearest to the start. Default `accuracy`.
   */
  choose?: 'accuracy' | 'retention';
  /** Of accuracy, with `choose: 'retention'`. Default 0.01. */
  tolerance?: number;
  /** Parts that differ from the fine-tuned model's own. */
  preprocessing?: Partial<Preprocessing>;
  /** Images a forward. Default 32. */
  batchSize?: number;
  /** Images decoded at a time. Default: processors. */
  threads?: number;
  /** What to do with an image that cannot be decoded. Default `fail`. */
  unreadable?: 'fail' | 'skip';
  /** Stops between two alphas with ABORTED; the model is as it was. */
  signal?: AbortSignal;
  /** Called with each alpha that was judged. */
  onPoint?: (point: WiseFtPoint) => void;
}

/** A model between the two. */
export interface WiseFtPoint {
  /** Share of the fine-tuned weights. */
  alpha: number;
  /** Of the validation images. */
  validation: ClassificationMetrics;
  /** Undefined without `retain`. */
  retention?: RetentionPoint;
}

/** A sweep from the start to the fine-tuned model; plain JSON. */
export interface WiseFtResult {
  /** By rising alpha. */
  points: WiseFtPoint[];
  /** What the model has now. */
  chosen: WiseFtPoint;
  /** Whether the head was interpolated too. */
  isHeadInterpolated: boolean;
  /** Images that could not be decoded, with `unreadable: 'skip'`: retained ones, then those of the validation. */
  skipped: SkippedImage[];
}

/**
 * Robust fine-tuning by interpolation (WiSE-FT, Wortsman et al. 2022): weights (1 - alpha) start + alpha fine-tuned, for
 * several alphas, each judged on the validation images and, with `retain`, on the source task. BatchNorm statistics are
 * interpolated likewise. The model gets the weights of the alpha that is chosen; with alpha 1 it stays as it is.
 *
 * @param model fine-tuned, with its card
 * @param source the pretrained model that it was made of, with its own head; it is only read
 * @example
 * const source = await loadModel('mobilenet.pt');
 * const { points, chosen } = await wiseFt(model, source, data, { retain: 'photographs', choose: 'retention' });
 *
 * @throws INVALID_TYPE, INVALID_VALUE where the models share no weights or the data has other classes, IMAGE_UNREADABLE,
 * FILE_NOT_FOUND, ABORTED, BUSY, DISPOSED
 */
export async function wiseFt(
  model: Model,
  source: Model,
  data: ImageDataset,
  options: WiseFtOptions = {},
): Promise<WiseFtResult> {
  for (const given of [model, source]) {
    if (typeof given?.replaceHead !== 'function')
      throw invalidType('wiseFt: expected Models from loadModel.');
  }
  if (!data?.splits?.val) throw invalidType('wiseFt: expected data from imageFolder or imageManifest.');
  requireSingleLabel(data, 'wiseFt');
  requireSingleLabel(model.card, 'wiseFt');
  const checked = checkOptions(schema, options, 'wiseFt');
  if (model.card?.classes.join('\0') !== data.classes.join('\0')) {
    throw invalidValue(
      'wiseFt: the model is not fine-tuned to the classes of these data. Fine-tune it first.',
    );
  }
  if (checked.choose === 'retention' && !checked.retain) throw nothingRetained();
  const { batchSize, threads, unreadable, retain, signal } = checked;
  const preprocessing = completePreprocessing({ ...model.card.preprocessing, ...checked.preprocessing });
  const reading: Reading = { preprocessing, batchSize, threads, unreadable };
  const path = await WeightPath.between(checked.start ?? source, model, checked.start !== undefined);
  const set = retain && (await readRetainSet(retain, source.card?.classes));
  await using keeper = set && (await SourceModel.of(source, set, reading));
  const points: WiseFtPoint[] = [];
  let unread: SkippedImage[] = [];
  try {
    for (const alpha of [...new Set(checked.alphas)].sort((a, b) => a - b)) {
      throwIfAborted(signal);
      await path.go(alpha);
      const { metrics: validation, skipped } = await validate(model, data, reading);
      const point = { alpha, validation, ...(keeper ? { retention: await keeper.measure(model) } : {}) };
      points.push(point);
      unread = skipped;
      checked.onPoint?.(point);
    }
  } catch (error) {
    await cleanUp(() => path.go(1), true);
    throw error;
  }
  const chosen = choosePoint(points, checked);
  await path.go(chosen.alpha);
  if (model.card)
    model.card = { ...model.card, metrics: { ...model.card.metrics, wiseFt: summaryOf(chosen) } };
  const skipped = [...(keeper?.skipped ?? []), ...unread];
  return { points, chosen, isHeadInterpolated: path.hasHead, skipped };
}

/** @throws INVALID_VALUE for retention that was not measured */
export function choosePoint(
  points: readonly WiseFtPoint[],
  { choose, tolerance }: { choose: 'accuracy' | 'retention'; tolerance: number },
): WiseFtPoint {
  const accuracy = ({ validation }: WiseFtPoint) => validation.accuracy;
  if (choose === 'accuracy') return bestPoint(points, accuracy);
  if (points.some(({ retention }) => !retention)) throw nothingRetained();
  const least = Math.max(...points.map(accuracy)) - tolerance;
  const near = points.filter((point) => accuracy(point) >= least);
  return bestPoint(near, ({ retention }) => (retention as RetentionPoint).agreement);
}

/** The point with the largest value, of equal ones that with the lowest validation loss, of those the nearest to the source. */
function bestPoint(points: readonly WiseFtPoint[], valueOf: (point: WiseFtPoint) => number): WiseFtPoint {
  const standing = (point: WiseFtPoint) => ({ value: valueOf(point), loss: point.validation.loss });
  return points.reduce((most, point) =>
    compareStandings(standing(point), standing(most), 'max') < 0 ? point : most,
  );
}

function nothingRetained(): RangeError {
  return invalidValue('wiseFt: `choose: retention` needs images of the source task. Give them as `retain`.');
}

function summaryOf({ alpha, validation, retention }: WiseFtPoint) {
  return { alpha, validation, ...(retention ? { retention } : {}) };
}

function validate(model: Model, data: ImageDataset, reading: Reading) {
  const source = imageSource(new BatchLoader(data.splits.val, { ...reading, view: 'eval' }));
  const preprocess = nativePreprocess(reading.preprocessing);
  const { val } = data.splits;
  return evaluateSplit({ model, source, preprocess, total: val.length, classes: data.classes });
}

/** The straight line between two models' weights and statistics. */
class WeightPath {
  readonly #model: Model;
  readonly #names: string[];
  readonly #from: Tensor[];
  readonly #to: Tensor[];
  readonly hasHead: boolean;

  private constructor(model: Model, names: string[], from: Tensor[], to: Tensor[], hasHead: boolean) {
    this.#model = model;
    this.#names = names;
    this.#from = from;
    this.#to = to;
    this.hasHead = hasHead;
  }

  static async between(start: Model, model: Model, withHead: boolean): Promise<WeightPath> {
    const head = headOf(await model.summary());
    const names = await trunkNames(start, model, withHead ? new Set() : head);
    if (names.length === 0) throw invalidValue('wiseFt: the two models have no weights in common.');
    if (withHead && [...head].some((name) => !names.includes(name))) {
      throw invalidValue('wiseFt: `start` has another head than the fine-tuned model. Leave it out.');
    }
    const from = await callNative(() => start.native.values(names));
    const to = await callNative(() => model.native.values(names));
    return new WeightPath(model, names, from, to, withHead);
  }

  async go(alpha: number): Promise<void> {
    const values = this.#to.map(({ data, shape, dtype }, i) => {
      const from = this.#from[i]?.data as Float32Array;
      // Exactly the one or the other at the ends.
      const mixed = (data as Float32Array).map((value, at) =>
        alpha === 1 ? value : (1 - alpha) * (from[at] as number) + alpha * value,
      );
      return { data: mixed, shape, dtype };
    });
    await callNative(() => this.#model.native.setValues(this.#names, values));
  }
}
