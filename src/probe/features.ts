import { availableParallelism } from 'node:os';
import { z } from 'zod';
import type { DatasetSummary, ImageDataset, Sample } from '../data/dataset.js';
import type { SkippedImage } from '../data/loader.js';
import { completePreprocessing, type Preprocessing } from '../data/preprocessing.js';
import { requireSplits } from '../data/require-readable.js';
import { invalidType, TorchgraftError, throwIfAborted } from '../errors.js';
import { makePlan } from '../fine-tune/computation.js';
import type { Reading } from '../fine-tune/epoch.js';
import { CachedFeatures, type FeatureReport } from '../fine-tune/features.js';
import { withBatch } from '../fine-tune/source.js';
import type { Model } from '../model.js';
import type { HeadDescription, Plan } from '../native.js';
import { callNative } from '../native-call.js';
import { checkOptions } from '../options.js';
import { withFrozenTrunk } from '../plan.js';
import { Stopwatch } from '../stopwatch.js';
import { signalOption } from '../value-kinds.js';
import { poolCrossing } from './pooling.js';

/** One for all that reads features. */
export const extractSchema = z.strictObject({
  layer: z.string().optional(),
  preprocessing: z
    .looseObject({})
    .transform((parts) => parts as Partial<Preprocessing>)
    .optional(),
  batchSize: z.int().min(1).max(65_536).default(32),
  threads: z.int().min(1).max(1024).default(availableParallelism()),
  precision: z.enum(['auto', 'float32', 'bfloat16', 'float16']).default('auto'),
  cache: z.enum(['disk', 'memory']).default('disk'),
  unreadable: z.enum(['fail', 'skip']).default('fail'),
  signal: signalOption,
});

/**
 * - `layer`: path of the classifying layer, whose inputs are the features; default: the one that is known or found
 * - `preprocessing`: parts that differ from the model's own, else from 224 px, resize 256, centre crop, ImageNet's mean
 *   and std, bilinear
 * - `batchSize`: images a forward; default 32
 * - `threads`: images decoded at a time; default: processors
 * - `precision`: of the trunk; default `auto`, as in fineTune
 * - `cache`: where features are kept, `disk` (default; shared with fineTune and later runs) or `memory`
 * - `unreadable`: `fail` (default), or `skip` images that cannot be decoded, and list them in `skipped`
 * - `signal`: stops within a batch with ABORTED
 */
export type ExtractOptions = Omit<z.input<typeof extractSchema>, 'preprocessing'> & {
  preprocessing?: Partial<Preprocessing>;
};

/** Features of one split's readable images, in the data's order. */
export interface FeatureSplit {
  /** [n, d], row-major. */
  features: Float32Array;
  /** [n, d]. */
  shape: [number, number];
  /** Class indices [n]. */
  labels: Int32Array;
  paths: string[];
}

/** What a frozen trunk makes of the images of a data set: the inputs of its head. */
export interface Features {
  classes: string[];
  /** Path of the layer that takes them in; of several that make the output together the first. */
  layer: string;
  train: FeatureSplit;
  val: FeatureSplit;
  /** Images that could not be decoded, with `unreadable: 'skip'`. */
  skipped: SkippedImage[];
  preprocessing: Preprocessing;
  /** Of the data set. */
  data: DatasetSummary;
  /** How they were computed and where they are kept. */
  computation: { plan: Plan; features: FeatureReport };
}

/**
 * The features that a model's head would learn from: all layers below it are run once over the training and validation
 * images, as an evaluation sees them, and what the head takes in is kept, by content, in the cache that fineTune uses
 * too. Feature maps are averaged over their height and width. The model stays as it is, whatever head it has.
 *
 * @example
 * const features = await extractFeatures(model, await imageFolder('flowers'));
 * const { metrics } = await logisticProbe(features);
 *
 * @throws INVALID_TYPE, INVALID_VALUE (options), NO_HEAD, MODEL_FROZEN, MODEL_FAILED where the head's inputs cannot be kept
 * (they depend on the whole batch, or are no vectors or maps), IMAGE_UNREADABLE, OUT_OF_MEMORY, ABORTED, BUSY, DISPOSED
 */
export async function extractFeatures(
  model: Model,
  data: ImageDataset,
  options: ExtractOptions = {},
): Promise<Features> {
  return extractWith(model, data, options, {});
}

/** What an extraction may be spared, and who counts its time. */
export interface Spared {
  /** A plan that holds for this network with other weights. */
  plan?: Plan;
  watch?: Stopwatch;
}

/** extractFeatures. */
export async function extractWith(
  model: Model,
  data: ImageDataset,
  options: ExtractOptions,
  spared: Spared,
): Promise<Features> {
  if (typeof model?.replaceHead !== 'function')
    throw invalidType('extractFeatures: expected a Model from loadModel.');
  if (!data?.splits?.train)
    throw invalidType('extractFeatures: expected data from imageFolder or imageManifest.');
  const checked = checkOptions(extractSchema, options, 'extractFeatures');
  requireSplits(data, 'extractFeatures', ['train']);
  throwIfAborted(checked.signal);
  return model.withHead(checked.layer, () => extract(model, data, checked, spared));
}

async function extract(
  model: Model,
  data: ImageDataset,
  checked: Checked,
  spared: Spared,
): Promise<Features> {
  await requireHead(model);
  const preprocessing = completePreprocessing({ ...model.card?.preprocessing, ...checked.preprocessing });
  const { batchSize, threads, unreadable } = checked;
  const reading: Reading = { preprocessing, batchSize, threads, unreadable };
  return withFrozenTrunk(model, { strategy: 'head', freeze: [], preprocessing }, async (heads) => {
    const { watch = new Stopwatch() } = spared;
    const plan = spared.plan
      ? await takePlan(model, spared.plan)
      : await watch.spend('planning', () => planTrunk(model, data, reading, checked));
    const kept = await openFeatures(model, plan, data, reading, { ...checked, watch: spared.watch });
    const skipped: SkippedImage[] = [];
    const read = (samples: Sample[]) => readSplit(model, kept, samples, skipped, heads);
    const train = await read(data.splits.train);
    const val = await read(data.splits.val);
    if (skipped.length > 0) requireLeft(data, { train, val, skipped });
    return {
      classes: [...data.classes],
      layer: heads[0]?.module ?? '',
      ...{ train, val, skipped, preprocessing },
      data: data.summary,
      computation: { plan, features: kept.report },
    };
  });
}

/** After images were left out: one of each class to learn from, and one to measure on, where there were any. */
function requireLeft(
  { classes, splits }: ImageDataset,
  { train, val, skipped }: Pick<Features, 'train' | 'val' | 'skipped'>,
): void {
  const left = new Set(train.labels);
  const gone = splits.train.find(({ label }) => !left.has(label));
  const isValGone = splits.val.length > 0 && val.paths.length === 0;
  if (!gone && !isValGone) return;
  const of = gone && gone.label >= 0 ? ` of \`${classes[gone.label]}\`` : '';
  throw new TorchgraftError(
    'DATA_INVALID',
    `extractFeatures: none of the ${gone ? `training images${of}` : 'validation images'} can be read. ${skipped.length} were left ` +
      `out, the first: ${skipped[0]?.reason}`,
  );
}

async function requireHead(model: Model): Promise<void> {
  const { frozen, headProblem } = await model.summary();
  if (frozen) {
    throw new TorchgraftError(
      'MODEL_FROZEN',
      `extractFeatures: ${model.origin.name} has no parameters, and so no head: torch.jit.freeze made constants of them. ` +
        'Export it again without torch.jit.freeze.',
    );
  }
  if (headProblem)
    throw new TorchgraftError('NO_HEAD', `extractFeatures: ${model.origin.name}: ${headProblem}`);
}

type Checked = z.output<typeof extractSchema>;

function planTrunk(
  model: Model,
  data: ImageDataset,
  reading: Reading,
  { precision, cache }: Checked,
): Promise<Plan> {
  // The head may have fewer outputs than there are classes, and no label matters below it.
  const train = data.splits.train.map(({ path }) => ({ path, label: 0 }));
  return makePlan({
    ...{ model, reading },
    data: { ...data, splits: { ...data.splits, train } },
    options: { precision, cache, split: true, augment: null, seed: 0 },
  });
}

function takePlan(model: Model, { variant, precision, crossings, cacheable }: Plan): Promise<Plan> {
  return callNative(() => model.native.usePlan({ variant, precision, crossings, cacheable }));
}

async function openFeatures(
  model: Model,
  plan: Plan,
  data: ImageDataset,
  reading: Reading,
  { cache: place, signal, watch }: Checked & Pick<Spared, 'watch'>,
): Promise<CachedFeatures> {
  const { train, val } = data.splits;
  const { features, notice } = await CachedFeatures.open(
    { model, plan, reading, augment: null, views: 1, place, signal, watch },
    train.length + val.length,
  );
  if (features) return features;
  const why =
    notice ?? (plan.reason ? `the model runs unsplit: ${plan.reason}.` : 'they depend on the whole batch.');
  throw new TorchgraftError(
    'MODEL_FAILED',
    `extractFeatures: what the head of ${model.origin.name} takes in cannot be kept: ${why} Fine-tune the model instead.`,
  );
}

async function readSplit(
  model: Model,
  kept: CachedFeatures,
  samples: Sample[],
  skipped: SkippedImage[],
  heads: readonly HeadDescription[],
): Promise<FeatureSplit> {
  const parts: Float32Array[] = [];
  let columns = heads[0]?.inFeatures ?? 0;
  const labels: number[] = [];
  const paths: string[] = [];
  const source = kept.evalSource(samples);
  for await (const batch of source) {
    const crossings = await withBatch(batch, (tensors) =>
      model.native.readFeatures((tensors as { rows: Int32Array }).rows),
    );
    const { data, width } = poolCrossing(crossings, heads, model.origin.name);
    parts.push(data);
    columns = width;
    labels.push(...batch.labels);
    paths.push(...batch.paths);
  }
  skipped.push(...source.skipped);
  const features = new Float32Array(paths.length * columns);
  let at = 0;
  for (const part of parts) {
    features.set(part, at);
    at += part.length;
  }
  return { features, shape: [paths.length, columns], labels: Int32Array.from(labels), paths };
}
