import './async-dispose.js';
import { availableParallelism } from 'node:os';
import { z } from 'zod';
import type { ModelCard } from './card.js';
import type { ImageDataset, Sample, SplitName } from './data/dataset.js';
import type { ImageSource } from './data/decode.js';
import { loadImages, loadReadable } from './data/images.js';
import { BatchLoader, type SkippedImage } from './data/loader.js';
import { nativePreprocess } from './data/preprocessing.js';
import { requireSingleLabel } from './data/task.js';
import { invalidType, invalidValue, TorchgraftError, throwIfAborted } from './errors.js';
import { evaluateTargets, retarget, samplesOf, type TargetEvaluation } from './evaluate-targets.js';
import { evaluateSplit } from './fine-tune/epoch.js';
import { imageSource } from './fine-tune/source.js';
import { checkGradCam, explain, type GradCamMap, type GradCamOptions } from './grad-cam.js';
import { classify, loadLabelledModel } from './labelled-model.js';
import type { ClassificationMetrics } from './metrics/classification.js';
import type { ClassificationScores } from './metrics/scores.js';
import type { LoadOptions, Model } from './model.js';
import { listNames } from './name-list.js';
import { checkOptions, nearest } from './options.js';
import { valuesBySlice } from './outcome-slices.js';
import { decode, type Prediction, rank, type ScoredClass } from './ranking.js';
import { imagesAtOnce, testTimeOption, testViews } from './test-time.js';
import { signalOption } from './value-kinds.js';

const predictOptions = z.strictObject({
  top: z.int().min(1).default(5),
  threshold: z.number().min(0).max(1).default(0.5),
  batchSize: z.int().min(1).default(32),
  tta: testTimeOption,
  signal: signalOption,
});

/**
 * - `top`: how many classes to give for each image, at most all; default 5
 * - `threshold`: of a multi-label model, the probability from which on a label is among `labels`; default 0.5
 * - `batchSize`: images, or with `tta` views of them, a forward; default 32
 * - `tta`: test-time augmentation, the mean of the probabilities of several views: `flip` (2), `five-crop` (5) or `ten-crop`
 *   (10), for as many times the computation; logits are then the logarithms of the mean. Default: the image alone
 * - `signal`: stops between batches with ABORTED
 */
export type PredictOptions = z.input<typeof predictOptions>;

const evaluateOptions = z.strictObject({
  split: z.enum(['train', 'val', 'test']).optional(),
  batchSize: z.int().min(1).default(32),
  unreadable: z.enum(['fail', 'skip']).default('fail'),
  tta: testTimeOption,
  signal: signalOption,
});

/**
 * - `split`: `train`, `val` or `test`; default: `val`, or where it has no images `test`, or `train`
 * - `batchSize`: default 32
 * - `unreadable`: `fail` (default) or `skip` images that cannot be decoded
 * - `tta`: test-time augmentation, as in {@link PredictOptions}
 */
export type EvaluateOptions = z.input<typeof evaluateOptions>;

/** What the model says of one image of a data set. */
export interface EvaluatedImage {
  path: string;
  /** Its class in the data set. */
  truth: string;
  /** The most probable class. */
  predicted: string;
  /** Of the predicted class, 0 to 1. */
  probability: number;
}

/** What the model says of a split of a data set. */
export interface Evaluation {
  /** What was measured on. */
  split: SplitName;
  metrics: ClassificationMetrics;
  /** Truth and probabilities of each image, in the data set's order: for bootstrap intervals and thresholds. */
  scores: ClassificationScores;
  /** One for each image, in the data set's order. */
  predictions: EvaluatedImage[];
  /** The value of each image in each slice of the data, [n] by name, for `sliceMetrics`; empty where it has none. */
  slices: Record<string, string[]>;
  /** Images that could not be decoded and were left out. */
  skipped: SkippedImage[];
}

/**
 * Loads a model saved by torchgraft, with its classes and preprocessing.
 *
 * @throws NOT_A_CLASSIFIER when the file carries none, and everything `loadModel` throws
 */
export async function loadClassifier(
  source: string | Uint8Array,
  options: LoadOptions = {},
): Promise<Classifier> {
  const { model, card } = await loadLabelledModel(source, options);
  return new Classifier(model, card, options.threads ?? availableParallelism());
}

/** A fine-tuned model that predicts classes of images. Calls made while one runs wait for their turn. */
export class Classifier {
  readonly model: Model;
  readonly card: ModelCard;
  readonly #threads: number;
  #queue: Promise<unknown> = Promise.resolve();

  /** Use {@link loadClassifier}. @internal */
  constructor(model: Model, card: ModelCard, threads: number) {
    this.model = model;
    this.card = card;
    this.#threads = threads;
  }

  /** Class names in the order of the outputs. */
  get classes(): string[] {
    return [...this.card.classes];
  }

  /**
   * Classifies images: paths, bytes of image files, or raw pixels `{ data, width, height, channels }`.
   *
   * @returns one prediction for each image, in order
   * @throws IMAGE_UNREADABLE or FILE_NOT_FOUND naming the image, ABORTED, DISPOSED
   */
  async predict(images: readonly ImageSource[], options: PredictOptions = {}): Promise<Prediction[]> {
    const predictions: Prediction[] = [];
    for await (const { failures, found } of this.#predictBatches(images, options, 'predict')) {
      if (failures.size > 0) throw failures.get(Math.min(...failures.keys()));
      predictions.push(...found);
    }
    return predictions;
  }

  /**
   * The same where one image shall not cost the answers for the others: as `Promise.allSettled` gives it, for each image its
   * prediction as `value`, or its error as `reason`.
   *
   * @example
   * const results = await classifier.predictSettled(paths);
   * const failed = paths.filter((_, i) => results[i]?.status === 'rejected');
   *
   * @throws what is not of one image: ABORTED, DISPOSED, TOO_MANY_FILES
   */
  async predictSettled(
    images: readonly ImageSource[],
    options: PredictOptions = {},
  ): Promise<PromiseSettledResult<Prediction>[]> {
    const results: PromiseSettledResult<Prediction>[] = [];
    for await (const { failures, found } of this.#predictBatches(images, options, 'predictSettled')) {
      const values = found.values();
      for (let row = 0, count = failures.size + found.length; row < count; row++) {
        results.push(
          failures.has(row)
            ? { status: 'rejected', reason: failures.get(row) }
            : { status: 'fulfilled', value: values.next().value as Prediction },
        );
      }
    }
    return results;
  }

  /** Batch by batch, the predictions of images that could be decoded, and the errors of the others by their places in it. */
  async *#predictBatches(
    images: readonly ImageSource[],
    options: PredictOptions,
    where: string,
  ): AsyncGenerator<{ found: Prediction[]; failures: Map<number, unknown> }> {
    const { top, threshold, batchSize, tta, signal } = checkOptions(predictOptions, options, where);
    if (!Array.isArray(images)) throw invalidType(`${where}: expected a list of images, for example [path].`);
    if (tta) requireSingleLabel(this.card, `${where}: \`tta\``);
    const views = testViews(tta, this.card.preprocessing, where);
    const atOnce = imagesAtOnce(batchSize, views);
    for (let from = 0; from < images.length; from += atOnce) {
      throwIfAborted(signal);
      const some = images.slice(from, from + atOnce);
      const loading = { threads: this.#threads, corners: views?.crops === 5, ...(signal ? { signal } : {}) };
      const { data, rows, failures } = await loadReadable(some, this.card.preprocessing, loading);
      const logits =
        rows.length > 0
          ? await this.#turn(() => classify(this, data, rows.length, views))
          : new Float32Array();
      yield { found: this.#decodeAll(logits, { top, threshold }), failures };
    }
  }

  /**
   * Grad-CAM (Selvaraju et al. 2017): which places of images speak for a class, by default the predicted one. Images are
   * prepared as for `predict`; a map lies over the model's view of an image. See `Model.gradCam` for how it is computed.
   *
   * @returns one map for each image, in order
   * @throws NO_HEAD where no map of features is pooled before the head, INVALID_VALUE for an unknown class, IMAGE_UNREADABLE or
   * FILE_NOT_FOUND naming the image, MODEL_FAILED, ABORTED, DISPOSED
   */
  async gradCam(images: readonly ImageSource[], options: GradCamOptions = {}): Promise<GradCamMap[]> {
    if (!Array.isArray(images)) throw invalidType('gradCam: expected a list of images, for example [path].');
    const { batchSize, signal, indices } = checkGradCam(options, this.card.classes, images.length);
    const maps: GradCamMap[] = [];
    for (let from = 0; from < images.length; from += batchSize) {
      throwIfAborted(signal);
      const some = images.slice(from, from + batchSize);
      const loading = { threads: this.#threads, ...(signal ? { signal } : {}) };
      const { data } = await loadImages(some, this.card.preprocessing, loading);
      const classes = indices?.slice(from, from + batchSize);
      maps.push(...(await this.#turn(() => explain(this, data, some.length, classes))));
    }
    return maps;
  }

  /**
   * Metrics and predictions on a split of a data set with one class an image; {@link Classifier.evaluateTargets} is of others.
   * Classes are matched by their names, and the data may have fewer than the model.
   *
   * @example
   * const { metrics } = await classifier.evaluate(await imageFolder('heldout', { purpose: 'evaluation' }));
   *
   * @throws DATA_INVALID for classes that the model does not know, another task, and where no image can be read; INVALID_VALUE
   * for a split without images
   */
  async evaluate(data: ImageDataset, options: EvaluateOptions = {}): Promise<Evaluation> {
    const { batchSize, unreadable, tta, signal, ...rest } = checkOptions(
      evaluateOptions,
      options,
      'evaluate',
    );
    requireSingleLabel(this.card, 'evaluate');
    requireSingleLabel(data, 'evaluate');
    const views = testViews(tta, this.card.preprocessing, 'evaluate');
    const { split, samples: given } = samplesOf(data, rest.split, 'evaluate');
    const samples = this.#relabel(data, given);
    const predictions: EvaluatedImage[] = [];
    const readable: Sample[] = [];
    const evaluated = await this.#turn(() =>
      evaluateSplit({
        model: this.model,
        source: imageSource(
          new BatchLoader(samples, {
            ...{ preprocessing: this.card.preprocessing, threads: this.#threads, unreadable },
            ...{ view: 'eval', corners: views?.crops === 5, batchSize: imagesAtOnce(batchSize, views) },
            ...(signal ? { signal } : {}),
          }),
        ),
        total: samples.length,
        classes: this.card.classes,
        preprocess: nativePreprocess(this.card.preprocessing),
        ...(views ? { views } : {}),
        onLogits: ({ paths, labels, indices }, logits) => {
          for (const index of indices) readable.push(samples[index] as Sample);
          for (const [i, { top }] of this.#rankAll(logits, 1).entries()) {
            const [best] = top as [ScoredClass];
            predictions.push({
              path: paths[i] as string,
              truth: this.card.classes[labels[i] as number] as string,
              predicted: best.class,
              probability: best.probability,
            });
          }
        },
      }),
    );
    return { split, ...evaluated, predictions, slices: valuesBySlice(readable, 'evaluate') };
  }

  /**
   * Metrics and outputs of a multi-label model, or of a regression, on a split of data of the same task; its loss is binary
   * cross entropy of the logits, or the mean squared error, whatever the training's.
   *
   * @throws DATA_INVALID for another task, and labels or targets that the model does not know; INVALID_VALUE for `tta`
   */
  async evaluateTargets(data: ImageDataset, options: EvaluateOptions = {}): Promise<TargetEvaluation> {
    const checked = checkOptions(evaluateOptions, options, 'evaluateTargets');
    const { tta } = checked;
    if (tta)
      throw invalidValue('evaluateTargets: `tta` averages the probabilities of classes. Leave it out.');
    const { split, samples: given } = samplesOf(data, checked.split, 'evaluateTargets');
    const samples = retarget(this.card, data, given);
    const reading = { ...checked, preprocessing: this.card.preprocessing, threads: this.#threads };
    return this.#turn(async () => ({ split, ...(await evaluateTargets(this, samples, reading)) }));
  }

  /** Waits for running work, then frees the weights. */
  async dispose(): Promise<void> {
    await this.model.dispose();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  // The data's labels count its own classes; the model may know more, in another order.
  #relabel({ classes }: ImageDataset, samples: readonly Sample[]): Sample[] {
    const labels = classes.map((name) => this.card.classes.indexOf(name));
    const measured = new Set(samples.map(({ label }) => label));
    const unknown = classes.filter((_, label) => measured.has(label) && labels[label] === -1);
    const [first] = unknown;
    if (first !== undefined) {
      const known = this.card.classes;
      const guess = known.find((name) => alike(name, first)) ?? nearest(first, known);
      throw new TorchgraftError(
        'DATA_INVALID',
        `evaluate: the model does not know the class${unknown.length > 1 ? 'es' : ''} ${listNames(unknown)}. ` +
          `${guess ? `Did you mean \`${guess}\`? ` : ''}It knows ${listNames(known)}.`,
      );
    }
    return samples.map((sample) => ({ ...sample, label: labels[sample.label] as number }));
  }

  #turn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#queue.then(work);
    this.#queue = turn.catch(() => {});
    return turn;
  }

  #decodeAll(logits: Float32Array, options: { top: number; threshold: number }): Prediction[] {
    const size = this.card.classes.length;
    return Array.from({ length: logits.length / size }, (_, i) =>
      decode(logits.slice(i * size, (i + 1) * size), this.card, options),
    );
  }

  #rankAll(logits: Float32Array, top: number): Prediction[] {
    const size = this.card.classes.length;
    return Array.from({ length: logits.length / size }, (_, i) =>
      rank(logits.slice(i * size, (i + 1) * size), this.card.classes, top),
    );
  }
}

function alike(a: string, b: string): boolean {
  return a.trim().toLowerCase() === b.trim().toLowerCase();
}
