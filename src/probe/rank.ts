import { basename } from 'node:path';
import { z } from 'zod';
import type { ImageDataset } from '../data/dataset.js';
import type { SkippedImage } from '../data/loader.js';
import { completePreprocessing, type Preprocessing } from '../data/preprocessing.js';
import { requireSingleLabel } from '../data/task.js';
import { invalidType } from '../errors.js';
import { type AppendedFeatures, appendedFeatures } from '../head-options.js';
import { type MetricInterval, predictionIntervals } from '../metrics/intervals.js';
import { loadModel, type Model } from '../model.js';
import { checkOptions } from '../options.js';
import { type ExtractOptions, extractFeatures, extractSchema } from './features.js';
import type { ProbeMetric, Said } from './interval.js';
import { measureLatency } from './latency.js';
import { placesOf } from './places.js';
import { quickProbe } from './quick.js';
import { hScore, logME } from './transferability.js';

/** What a ranking is sorted by. */
export type RankBy = 'logME' | 'hScore' | 'accuracy' | 'macroF1';

const schema = extractSchema.omit({ preprocessing: true }).extend({
  by: z.enum(['logME', 'hScore', 'accuracy', 'macroF1']).default('macroF1'),
  device: z.string().default('auto'),
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
  onModel: z.custom<(file: string) => void>((value) => typeof value === 'function').optional(),
});

/**
 * Those of extractFeatures except `preprocessing`, which belongs to each model, as a `layer` of its own does, and
 * - `by`: what is sorted by, the largest first: `macroF1` (default) or `accuracy` of the probe, `logME`, `hScore`
 * - `device`: as in loadModel; default `auto`
 * - `seed`: of the probe's folds; default 0
 * - `onModel`: called with a model's file before it is measured
 */
export type RankOptions = Omit<ExtractOptions, 'preprocessing'> & {
  by?: RankBy;
  device?: string;
  seed?: number;
  onModel?: (file: string) => void;
};

/**
 * A candidate: its file, the path of its classifying layer where that is not found, or the features of a network without one
 * (`append` of `replaceHead`), and the parts of its preprocessing that differ from its own or the default.
 */
export interface Candidate {
  file: string;
  layer?: string;
  append?: AppendedFeatures;
  preprocessing?: Partial<Preprocessing>;
}

/** A model and what its features are worth on the data. */
export interface RankedModel {
  /**
   * 1 more than how many models are surely better by the probe: by a paired bootstrap of the validation images, within the
   * classes, the 95 % interval of the difference in macro F1 (with `by: 'accuracy'` in accuracy) lies above 0. Models that these
   * images cannot tell apart share a place.
   */
  place: number;
  file: string;
  /** The file's name. */
  name: string;
  /** Of the frozen trunk's features; see {@link logME} and {@link hScore}. */
  logME: number;
  hScore: number;
  /** Of a quick linear probe, on the validation images. */
  accuracy: number;
  macroF1: number;
  /** 95 % intervals of both; see {@link classificationInterval}. */
  intervals: Record<ProbeMetric, MetricInterval>;
  /** Which probe, with the penalty that was chosen. */
  probe: string;
  /** d. */
  features: number;
  /** Number of parameters, the present head included. */
  parameters: number;
  /** Of parameters and buffers, in memory. */
  megabytes: number;
  /** Of a forward of one image without decoding, compiled as for serving; milliseconds. */
  latencyMs: number;
  preprocessing: Preprocessing;
  skipped: SkippedImage[];
}

/** A model that could not be measured, and why. */
export interface FailedModel {
  file: string;
  code: string;
  reason: string;
}

export interface Ranking {
  /** By the figure that was asked for, the largest first; the order within a place says nothing. */
  models: RankedModel[];
  failed: FailedModel[];
  by: RankBy;
}

/**
 * Which of several pretrained models suits a data set, before any of them is fine-tuned: each one's frozen trunk is run
 * once over the images, and its features are judged by LogME, H-score and a quick linear probe, beside the size and the
 * measured speed of the model. Of models that share a place, take the fastest, or give more validation images. A model that
 * fails is listed with the reason and does not end the ranking. Models are loaded one at a time.
 *
 * @param models files, or files with their preprocessing
 * @example
 * const { models } = await rankModels(['small.pt', { file: 'big.pt', preprocessing: normalisation('signed') }], data);
 *
 * @throws INVALID_TYPE, INVALID_VALUE for options; ABORTED
 */
export async function rankModels(
  models: readonly (string | Candidate)[],
  data: ImageDataset,
  options: RankOptions = {},
): Promise<Ranking> {
  if (!Array.isArray(models) || models.length === 0) {
    throw invalidType('rankModels: expected a list of at least one model file.');
  }
  if (!data?.splits?.train) throw invalidType('rankModels: expected data from imageFolder or imageManifest.');
  requireSingleLabel(data, 'rankModels');
  const checked = checkOptions(schema, options, 'rankModels');
  const candidates = models.map(readCandidate);
  const ranked: Measured[] = [];
  const failed: FailedModel[] = [];
  for (const candidate of candidates) {
    checked.onModel?.(candidate.file);
    try {
      ranked.push(await measure(candidate, data, checked));
    } catch (error) {
      const { code = 'NATIVE', message } = error as { code?: string; message: string };
      if (code === 'ABORTED') throw error;
      failed.push({ file: candidate.file, code, reason: message });
    }
  }
  const { by, seed } = checked;
  return { models: placed(ranked, data.classes.length, { by, seed }), failed, by };
}

/** A model with what its probe says of the validation images. */
interface Measured {
  model: Omit<RankedModel, 'place'>;
  said: Said;
  labels: Int32Array;
}

function placed(
  ranked: readonly Measured[],
  classes: number,
  { by, seed }: { by: RankBy; seed: number },
): RankedModel[] {
  const metric = by === 'accuracy' ? 'accuracy' : 'macroF1';
  // Every model is shown the same images: what cannot be read, none can.
  const labels = ranked[0]?.labels ?? new Int32Array();
  const places = placesOf(
    ranked.map(({ said }) => said),
    labels,
    { classes, metric, seed },
  );
  return ranked
    .map(({ model }, index) => ({ place: places[index] as number, ...model }))
    .sort((a, b) => b[by] - a[by] || b.logME - a.logME || a.latencyMs - b.latencyMs);
}

const candidateSchema = z.strictObject({
  file: z.string().min(1),
  layer: z.string().optional(),
  append: z.enum(appendedFeatures).optional(),
  preprocessing: z
    .looseObject({})
    .transform((parts) => parts as Partial<Preprocessing>)
    .optional(),
});

function readCandidate(model: string | Candidate): z.output<typeof candidateSchema> {
  return checkOptions(
    candidateSchema,
    typeof model === 'string' ? { file: model } : model,
    'rankModels: a model',
  );
}

async function measure(
  { file, layer, append, preprocessing: parts }: z.output<typeof candidateSchema>,
  data: ImageDataset,
  { by: _, onModel: __, device, seed, ...extracting }: z.output<typeof schema>,
): Promise<Measured> {
  await using model = await loadModel(file, { device });
  if (append) {
    const { size: imageSize } = completePreprocessing({ ...model.card?.preprocessing, ...parts });
    await model.replaceHead({ classes: data.classes.length, append, imageSize });
  }
  const own = { ...(layer ? { layer } : {}), ...(parts ? { preprocessing: parts } : {}) };
  const given = { ...extracting, ...own } as ExtractOptions;
  const features = await extractFeatures(model, data, given);
  const probe = await quickProbe(features, { seed, signal: extracting.signal });
  const { preprocessing, skipped, train, val } = features;
  const outcomes = { predicted: probe.predicted, labels: val.labels, classes: data.classes.length };
  const measured = {
    ...{ file, name: basename(file), preprocessing, skipped },
    logME: await logME(features),
    hScore: await hScore(features),
    accuracy: probe.metrics.accuracy,
    macroF1: probe.metrics.macro.f1,
    intervals: predictionIntervals(outcomes, { seed }),
    probe: probe.name,
    features: train.shape[1],
    ...(await sizeOf(model)),
    latencyMs: await measureLatency(model, preprocessing),
  };
  return { model: measured, said: probe, labels: val.labels };
}

async function sizeOf(model: Model): Promise<Pick<RankedModel, 'parameters' | 'megabytes'>> {
  const { parameters } = await model.summary();
  const counts = parameters.map(({ shape }) => shape.reduce((a, b) => a * b, 1));
  return { parameters: counts.reduce((a, b) => a + b, 0), megabytes: model.bytes / 1e6 };
}
