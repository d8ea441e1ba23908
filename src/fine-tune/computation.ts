import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { mixesImages } from '../augment-option.js';
import { leastTrained } from '../data/batches.js';
import type { ImageDataset, Sample } from '../data/dataset.js';
import type { DecodedImages } from '../data/decoded-images.js';
import { BatchLoader } from '../data/loader.js';
import { orderOf } from '../data/sampler.js';
import { targetsOf } from '../data/task.js';
import { invalidValue, TorchgraftError } from '../errors.js';
import type { Model } from '../model.js';
import type { NativeAugment, NativePlanRequest, Plan } from '../native.js';
import { callNative } from '../native-call.js';
import { planPath, type RememberedPlan, recallPlan, rememberPlan } from '../plan-cache.js';
import type { Stopwatch } from '../stopwatch.js';
import type { Reading } from './epoch.js';
import { CachedFeatures, type FeatureReport, featureRowBytes } from './features.js';
import { groupWeighing } from './group-training.js';
import type { CheckedOptions } from './options.js';
import { type BatchSource, imageSource, targeted, targetOf, weighed } from './source.js';
import type { Stage } from './strategies/stage.js';

/** Images of the batch on which the plan is proven and tried. */
const planBatch = 8;

/** How a stage of a run was computed. */
export interface ComputationReport {
  plan: Plan;
  /** Fixed views of a training image; `live` for new augmentation in each epoch; 1 without augmentation. */
  views: number | 'live';
  /** What was kept of the frozen part's outputs; undefined when nothing was. */
  features?: FeatureReport;
  /** What a person should know of it, one sentence each. */
  notices: string[];
}

/** What a plan depends on. */
export interface PlanSettings {
  model: Model;
  data: ImageDataset;
  options: Pick<CheckedOptions, 'precision' | 'split' | 'cache' | 'augment' | 'seed'> &
    Partial<Pick<CheckedOptions, 'loss'>>;
  reading: Reading;
  /** Of the stage that is resumed: proven on the weights it began with, which are gone. */
  resumed?: Plan | undefined;
  watch?: Stopwatch | undefined;
}

export interface ComputationSettings extends PlanSettings {
  options: CheckedOptions;
  stage: Stage;
  /** Decoded pixels, shared by the stages; undefined where no image is read twice. */
  decoded: (() => DecodedImages) | undefined;
}

/**
 * How a stage computes: the model split into a compiled frozen prefix and the rest, the prefix's outputs kept where each
 * image looks the same in every epoch, and decoded pixels kept where it does not.
 */
export class Computation {
  readonly report: ComputationReport;
  /** Why an optimizer that needs all training images at once cannot have them; undefined when it can. */
  readonly unfit: Error | undefined;
  readonly #settings: ComputationSettings;
  readonly #features: CachedFeatures | undefined;
  readonly #decoded: DecodedImages | undefined;

  private constructor(
    settings: ComputationSettings,
    report: ComputationReport,
    unfit: Error | undefined,
    features: CachedFeatures | undefined,
    decoded: DecodedImages | undefined,
  ) {
    this.#settings = settings;
    this.report = report;
    this.unfit = unfit;
    this.#features = features;
    this.#decoded = decoded;
  }

  /** Plans on the first training images. The stage must be configured. */
  static async begin(settings: ComputationSettings): Promise<Computation> {
    const { model, data, options, stage, reading } = settings;
    const plan = await makePlan(settings);
    const { train, val } = data.splits;
    const wanted = options.augment
      ? (stage.views ?? defaultViews(stage, plan, train.length, options.augment))
      : 1;
    const views = wanted === 'live' ? 0 : Math.min(wanted, stage.epochs);
    const opened = await CachedFeatures.open(
      {
        model,
        plan,
        reading,
        augment: options.augment,
        views: Math.max(1, views),
        // L-BFGS learns from all images at once: their features are its batch.
        place: options.cache === 'none' && stage.optimizer.kind === 'lbfgs' ? 'memory' : options.cache,
        signal: options.signal,
        watch: settings.watch,
      },
      train.length * views + val.length,
    );
    const isTrainKept = opened.features !== undefined && views > 0;
    const unfit = isTrainKept ? undefined : nothingKept(plan, opened.notice);
    const decoded = isTrainKept ? undefined : settings.decoded?.();
    const report: ComputationReport = {
      plan,
      views: options.augment && !isTrainKept ? 'live' : Math.max(1, views),
      ...(opened.features && options.cache !== 'none' ? { features: opened.features.report } : {}),
      notices: [...planNotices(plan, options), ...(opened.notice ? [opened.notice] : [])],
    };
    return new Computation(settings, report, unfit, opened.features, decoded);
  }

  /** The training pass of an epoch, from a batch on. */
  trainSource(epoch: number, firstBatch: number): BatchSource {
    const { data, options } = this.#settings;
    const source = targeted(this.#trainSource(epoch, firstBatch), data.splits.train);
    return weighed(source, groupWeighing(options.groups, data));
  }

  #trainSource(epoch: number, firstBatch: number): BatchSource {
    const { data, options, stage, reading } = this.#settings;
    const { train } = data.splits;
    const { seed, sampler } = options;
    if (this.#features && stage.optimizer.kind === 'lbfgs') {
      return this.#features.wholeSource(train, firstBatch);
    }
    if (this.#features && this.report.views !== 'live') {
      return this.#features.trainSource(train, { sampler, seed, epoch, firstBatch });
    }
    const view = options.augment ? 'canvas' : 'eval';
    return this.#images(train, {
      ...{ ...reading, view, seed, epoch, firstBatch },
      ...{ shuffle: true, balanced: sampler === 'balanced', least: leastTrained },
    });
  }

  /** The validation pass. */
  valSource(): BatchSource {
    return targeted(this.#valSource(), this.#settings.data.splits.val);
  }

  #valSource(): BatchSource {
    const { data, reading, options } = this.#settings;
    if (this.#features) return this.#features.evalSource(data.splits.val);
    return this.#images(data.splits.val, {
      ...reading,
      view: 'eval',
      ...(options.signal ? { signal: options.signal } : {}),
    });
  }

  #images(samples: readonly Sample[], options: ConstructorParameters<typeof BatchLoader>[1]): BatchSource {
    return imageSource(
      new BatchLoader(samples, { ...options, ...(this.#decoded ? { decoded: this.#decoded } : {}) }),
    );
  }
}

/**
 * The plan, proven on the first training images, now or in an earlier run of the same; of a resumed stage the one that it
 * had. The model must be configured.
 */
export async function makePlan(settings: PlanSettings): Promise<Plan> {
  const { model, options, resumed } = settings;
  if (resumed) {
    const { variant, precision } = resumed;
    if (variant !== 'unsplit') return usePlan(model, { ...resumed, variant });
    return { ...(await planOn(settings, { precision, split: false })), ...resumed };
  }
  const path = await pathOfPlan(settings);
  const known = path ? await recallPlan(path) : undefined;
  if (known) return usePlan(model, known);
  const plan = await planOn(settings, options);
  if (path) await rememberPlan(path, plan);
  return plan;
}

async function usePlan(model: Model, known: RememberedPlan): Promise<Plan> {
  const { variant, precision, crossings, cacheable } = known;
  const plan = await callNative(() => model.native.usePlan({ variant, precision, crossings, cacheable }));
  return { ...plan, ...known, cacheable: plan.cacheable };
}

/**
 * Where an earlier run keeps a plan that was proven on the same: weights, operations and images. On others it may have come
 * out otherwise, and what a run computes must not depend on which runs were before it. Undefined where none can be kept.
 */
async function pathOfPlan({ model, data, options, reading }: PlanSettings): Promise<string | undefined> {
  if (!options.split || options.cache !== 'disk') return undefined;
  const key = await callNative(() => model.native.planKey());
  if (!key) return undefined;
  const { train } = data.splits;
  const first = orderOf(train, 'shuffle', options.seed, 0).subarray(0, planBatch);
  const images = createHash('sha256');
  for (const index of first) {
    const { path, label, targets } = train[index] as Sample;
    // An image that cannot be read is left out, or refused, where it is decoded.
    images.update(await readFile(path).catch(() => path)).update(JSON.stringify([label, ...(targets ?? [])]));
  }
  const { precision, augment, seed, loss } = options;
  const { preprocessing } = reading;
  return planPath(key, { precision, augment, seed, loss, preprocessing, images: images.digest('hex') });
}

async function planOn(
  { model, data, options, reading }: PlanSettings,
  { precision, split }: NativePlanRequest,
): Promise<Plan> {
  const loader = new BatchLoader(data.splits.train, {
    ...reading,
    batchSize: planBatch,
    view: options.augment ? 'canvas' : 'eval',
    shuffle: true,
    seed: options.seed,
  });
  for await (const { data: pixels, shape, labels, indices, sizes } of loader) {
    // Awaited here: the loader ends before a promise that is only returned would be looked at.
    return await callNative(() =>
      model.native.plan(
        {
          inputs: [{ data: pixels, shape, dtype: 'uint8' }],
          target: targetOf({ labels, targets: targetsOf(data.splits.train, indices) }),
          indices,
          sizes,
        },
        { precision, split },
      ),
    );
  }
  throw new TorchgraftError('DATA_INVALID', 'fineTune: none of the training images can be decoded.');
}

function nothingKept(plan: Plan, notice: string | undefined): Error {
  const why =
    notice ?? (plan.reason ? `the model runs unsplit: ${plan.reason}.` : 'they depend on the whole batch.');
  return invalidValue(
    'fineTune: optimizer `lbfgs` needs the outputs of what is frozen kept, and they cannot be: ' +
      `${why} Use another optimizer, for example \`adamw\`.`,
  );
}

/** Most bytes of features that a run keeps unless it is told how many views there shall be. */
const mostUnasked = 2 ** 30;

/**
 * A head learns as well from one unaugmented view as from new random crops in each epoch, and so do a few layers from
 * four views: docs/benchmarks.md has the measurements. What is not frozen at all, or too large to keep, is augmented live,
 * and so are images that are mixed with others.
 */
function defaultViews(
  { extent }: Stage,
  plan: Plan,
  images: number,
  augment: NativeAugment,
): number | 'live' {
  if (mixesImages(augment) || !plan.cacheable || extent === 'all') return 'live';
  const views = extent === 'head' ? 1 : 4;
  return featureRowBytes(plan) * images * views <= mostUnasked ? views : 'live';
}

function planNotices(plan: Plan, options: CheckedOptions): string[] {
  const notices: string[] = [];
  if (options.split && plan.variant === 'unsplit') notices.push(`The model runs unsplit: ${plan.reason}.`);
  const asked = options.precision;
  if (asked !== 'auto' && plan.precision !== asked) {
    notices.push(`The model runs in ${plan.precision}, not ${asked}: ${plan.precisionReason}.`);
  }
  if (options.views !== undefined && options.views !== 'live' && options.augment && !plan.cacheable) {
    notices.push(
      '`views` has no effect: the frozen part has no outputs that can be kept. Augmentation is live.',
    );
  }
  return notices;
}
