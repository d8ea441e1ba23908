import type { ModelCard } from '../card.js';
import { nativePreprocess } from '../data/preprocessing.js';
import { requireSingleLabel } from '../data/task.js';
import { classify, type LabelledModel, loadLabelledModel } from '../labelled-model.js';
import type { NativeModel, OptimiseResult, Tensor } from '../native.js';
import { callNative } from '../native-call.js';
import { threadBudget } from '../thread-budget.js';
import { type Int8Report, Int8Trial } from './int8.js';
import type { PredictorSettings } from './options.js';

/** A model that is ready to serve: loaded, optimised and warm. */
export class Serving {
  readonly card: ModelCard;
  readonly optimised: OptimiseResult;
  /** What int8 costs; undefined where it was not asked for. */
  readonly int8: Int8Report | undefined;
  /** Threads a forward takes of the budget. */
  readonly threads: number;
  /** What a forward costs beside its images, milliseconds: what two batches would cost more than one. */
  readonly fixedCostMs: number;
  readonly #labelled: LabelledModel;

  /** Use {@link prepareServing}. */
  constructor(
    labelled: LabelledModel,
    optimised: OptimiseResult,
    int8: Int8Report | undefined,
    threads: number,
    fixedCostMs: number,
  ) {
    this.card = labelled.card;
    this.optimised = optimised;
    this.int8 = int8;
    this.threads = threads;
    this.fixedCostMs = fixedCostMs;
    this.#labelled = labelled;
  }

  get model() {
    return this.#labelled.model;
  }

  /** Logits [n, classes]. The pixels are copied before this returns its promise. */
  classify(pixels: Uint8Array, count: number): Promise<Float32Array> {
    return classify(this.#labelled, pixels, count);
  }

  /** Waits for the running batch, then frees the weights. */
  async dispose(): Promise<void> {
    await this.model.dispose();
  }
}

/**
 * Loads, optimises and warms up a model, beside whatever serves meanwhile. When anything fails nothing is left of it.
 *
 * @throws NOT_A_CLASSIFIER, MODEL_FAILED, INVALID_VALUE for a precision there is not, ACCURACY_LOST, and everything `loadModel` throws
 */
export async function prepareServing(
  source: string | Uint8Array,
  { device, threads, precision, maxBatch, calibration, maxAccuracyLoss }: PredictorSettings,
): Promise<Serving> {
  const labelled = await loadLabelledModel(source, { device, threads });
  const { model, card } = labelled;
  try {
    const images = patterned(maxBatch, card.preprocessing.size);
    if (precision === 'int8') requireSingleLabel(card, 'createPredictor: precision `int8`');
    const trial = precision === 'int8' ? await Int8Trial.begin(labelled, calibration, threads) : undefined;
    const optimised = await optimise(model.native, card, precision, images, trial?.samples);
    const int8 = await trial?.finish(optimised, maxAccuracyLoss);
    // A GPU computes on no thread of ours but the model's own.
    const team = model.device === 'cpu' ? threads : 1;
    const time = (count: number) => timeBatch(labelled, team, images, count);
    await time(1);
    const one = await time(1);
    const fixedCostMs =
      maxBatch > 1 ? Math.max(0, (maxBatch * one - (await time(maxBatch))) / (maxBatch - 1)) : 0;
    return new Serving(labelled, optimised, int8, team, fixedCostMs);
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

/** Most images for which the optimiser tries the precisions and layouts. */
const trialBatch = 8;

/**
 * Makes a frozen, compiled copy of the model, in the precision asked for or the one that a trial finds fastest.
 *
 * @param samples for int8: images [n, size, size, 3] that give the ranges
 */
export async function optimise(
  native: NativeModel,
  { preprocessing }: ModelCard,
  precision: PredictorSettings['precision'],
  images: Uint8Array,
  samples?: Tensor,
): Promise<OptimiseResult> {
  const { size } = preprocessing;
  const count = Math.min(trialBatch, images.length / (size * size * 3));
  const data = images.subarray(0, count * size * size * 3);
  const example = { data, shape: [count, size, size, 3], dtype: 'uint8' as const };
  const preprocess = nativePreprocess(preprocessing);
  return callNative(() =>
    native.optimise({
      // What 8-bit convolutions compete with, and what is left around them.
      precision: precision === 'int8' ? 'float32' : precision,
      example,
      preprocess,
      ...(samples ? { samples } : {}),
    }),
  );
}

/** Runs one batch within the thread budget. Milliseconds. */
async function timeBatch(
  labelled: LabelledModel,
  threads: number,
  images: Uint8Array,
  count: number,
): Promise<number> {
  const { preprocessing } = labelled.card;
  const pixels = images.subarray(0, count * preprocessing.size ** 2 * 3);
  return threadBudget.compute(threads, async () => {
    const began = performance.now();
    await classify(labelled, pixels, count);
    return performance.now() - began;
  });
}

/** Images [count, size, size, 3] whose pixels differ, so that a trial on them means something. */
function patterned(count: number, size: number): Uint8Array {
  const bytes = size * size * 3;
  const images = new Uint8Array(count * bytes);
  for (let i = 0; i < bytes; i++) images[i] = (i * 37) % 251;
  for (let filled = bytes; filled < images.length; filled *= 2) images.copyWithin(filled, 0, filled);
  return images;
}
