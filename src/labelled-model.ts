import type { ModelCard } from './card.js';
import { nativePreprocess } from './data/preprocessing.js';
import { TorchgraftError } from './errors.js';
import { type LoadOptions, loadModel, type Model } from './model.js';
import type { Tensor } from './native.js';
import { callNative } from './native-call.js';
import { whyChanging } from './notices.js';

/** A model with the classes and the preprocessing it was fine-tuned with. */
export interface LabelledModel {
  model: Model;
  card: ModelCard;
}

/**
 * Loads a model saved by torchgraft, to predict.
 *
 * @throws NOT_A_CLASSIFIER, MODEL_FAILED when it gives the same image another answer each time, and everything `loadModel`
 * throws
 */
export async function loadLabelledModel(
  source: string | Uint8Array,
  options: LoadOptions,
): Promise<LabelledModel> {
  const model = await loadModel(source, options);
  try {
    const name = typeof source === 'string' ? source : 'The given model';
    const changing = whyChanging(await model.summary());
    if (changing) throw new TorchgraftError('MODEL_FAILED', `${name}: ${changing}`);
    if (model.card) return { model, card: model.card };
    throw new TorchgraftError(
      'NOT_A_CLASSIFIER',
      `${name} carries no classes and preprocessing: it was not saved by torchgraft. Fine-tune it first, or use ` +
        'loadModel() and forward().',
    );
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

/**
 * Logits [n, classes] of n images, RGB bytes [n * crops, size, size, 3]: of several views (`crops`, and each `mirrored` too) the
 * logarithms of their mean probabilities. The bytes are copied before this returns its promise.
 *
 * @throws BUSY, DISPOSED, MODEL_FAILED, OUT_OF_MEMORY
 */
export async function classify(
  { model, card: { preprocessing, classes } }: LabelledModel,
  pixels: Uint8Array,
  count: number,
  views: { crops: number; mirrored: boolean } = { crops: 1, mirrored: false },
): Promise<Float32Array> {
  const shape = [count * views.crops, preprocessing.size, preprocessing.size, 3];
  const { logits } = await callNative(() =>
    model.native.evaluate({
      inputs: [{ data: pixels, shape, dtype: 'uint8' }],
      preprocess: nativePreprocess(preprocessing),
      ...views,
    }),
  );
  checkOutputs(logits, count, classes, model.origin.name);
  return logits.data as Float32Array;
}

/**
 * Outputs are one for each class of each image, or they would be taken for those of other images.
 *
 * @param classes names, as the model's card has them
 * @throws MODEL_FAILED
 */
export function checkOutputs(
  { data, shape }: Pick<Tensor, 'data' | 'shape'>,
  count: number,
  classes: readonly string[],
  name: string,
): void {
  if (shape[0] === count && data.length === count * classes.length) return;
  throw new TorchgraftError(
    'MODEL_FAILED',
    `${name} gives outputs [${shape.join(', ')}] for ${count} image${count === 1 ? '' : 's'}, and its card names ` +
      `${classes.length} class${classes.length === 1 ? '' : 'es'}: expected [${count}, ${classes.length}]. Fine-tune it again, or save it with ` +
      'the classes that it was made for.',
  );
}
