import type { ImageDataset } from '../data/dataset.js';
import { completePreprocessing, type Preprocessing } from '../data/preprocessing.js';
import { TorchgraftError } from '../errors.js';
import { isShaped } from '../head-options.js';
import { checkLbfgsModel } from '../lbfgs.js';
import { adaptLayers } from '../lora/adapt.js';
import type { Model } from '../model.js';
import type { ModelDescription } from '../native.js';
import { ownerOf } from '../patterns.js';
import type { CheckedOptions } from './options.js';
import { compileStrategy } from './strategies/compile.js';
import type { Strategy } from './strategies/stage.js';

/** What the loop needs to know of a prepared model. */
export interface Prepared {
  preprocessing: Preprocessing;
  strategy: Strategy;
}

/** Gives the model its head, and makes the strategy's stages for it. */
export async function prepareModel(
  model: Model,
  data: ImageDataset,
  options: CheckedOptions,
): Promise<Prepared> {
  checkLbfgsModel(options, await model.summary(), 'fineTune');
  const preprocessing = completePreprocessing({ ...model.card?.preprocessing, ...options.preprocessing });
  await checkInput(model);
  if (options.strategy !== 'lora') await mergeAny(model);
  const head = await prepareHead(model, data.classes, preprocessing.size, options);
  if (options.strategy === 'lora') await adaptLayers(model, head, options.lora ?? {}, options.seed);
  const summary = await model.summary();
  const images = data.splits.train.length;
  return { preprocessing, strategy: compileStrategy({ model, summary, head, options, images }) };
}

// A model fine-tuned before on the same classes goes on with the head it has.
async function prepareHead(
  model: Model,
  classes: string[],
  imageSize: number,
  { head, seed }: CheckedOptions,
): Promise<string[]> {
  const isSame = model.card?.classes.join('\0') === classes.join('\0');
  if (isSame && !isShaped(head)) return headParameters(await model.summary());
  try {
    const made = await model.replaceHead({ ...head, classes: classes.length, seed, imageSize });
    return made.parameters;
  } catch (error) {
    throw explainSize(error, imageSize);
  }
}

/** A network without adaptive pooling takes one size of images alone. */
function explainSize(error: unknown, imageSize: number): unknown {
  if (!(error instanceof TorchgraftError) || error.code !== 'MODEL_FAILED') return error;
  return new TorchgraftError(
    'MODEL_FAILED',
    `${error.message} The images are ${imageSize} px (\`preprocessing.size\`); a model without adaptive pooling takes ` +
      'only the size that it was made for.',
    { cause: error },
  );
}

/** Of the head that a model has: a cosine head's scale too, and not the bias that it does not use. */
function headParameters({ heads, modules, parameters }: ModelDescription): string[] {
  const owners = new Set(heads.map(({ module }) => module));
  for (const { path, type } of modules) if (type === 'CosineHead') owners.add(path);
  const unused = heads.filter(({ cosine }) => cosine).map(({ module }) => `${module}.bias`);
  return parameters
    .map(({ name }) => name)
    .filter((name) => owners.has(ownerOf(name)) && !unused.includes(name));
}

/** What adapters of an earlier run have learned stays, in the weights. */
async function mergeAny(model: Model): Promise<void> {
  const { adapters } = await model.summary();
  if (adapters.length > 0) await model.mergeAdapters();
}

/** Images are decoded to three channels. @throws SHAPE_MISMATCH */
async function checkInput(model: Model): Promise<void> {
  const { inputChannels } = await model.summary();
  if (inputChannels === null || inputChannels === 3) return;
  throw new TorchgraftError(
    'SHAPE_MISMATCH',
    `fineTune: the model takes ${inputChannels} input channel(s), and images are decoded to 3: red, green and blue, equal ` +
      'for grey ones. Fine-tune it with 3 (`adaptInput(3)`), or train on tensors of your own with createTrainer.',
  );
}
