import type { ImageDataset } from '../data/dataset.js';
import { completePreprocessing, type Preprocessing } from '../data/preprocessing.js';
import { Forgetting, type Graft } from '../forgetting/forgetting.js';
import { checkLbfgsModel } from '../lbfgs.js';
import type { Model } from '../model.js';
import { ownerOf } from '../patterns.js';
import type { CheckedOptions } from './options.js';
import { compileStrategy } from './strategies/compile.js';
import type { Strategy } from './strategies/stage.js';

/** What the loop needs to know of a prepared model. */
export interface Prepared {
  preprocessing: Preprocessing;
  strategy: Strategy;
  /** What is done against forgetting, where something is. */
  forgetting: Forgetting | undefined;
}

/** Gives the model its head, and makes the strategy's stages for it. */
export async function prepareModel(
  model: Model,
  data: ImageDataset,
  options: CheckedOptions,
): Promise<Prepared> {
  checkLbfgsModel(options, await model.summary(), 'fineTune');
  const preprocessing = completePreprocessing({ ...model.card?.preprocessing, ...options.preprocessing });
  const forgetting = await Forgetting.begin(model, options, preprocessing);
  try {
    const head = await prepareHead(model, data.classes, preprocessing.size, options);
    const summary = await model.summary();
    const images = data.splits.train.length;
    const strategy = compileStrategy({ model, summary, head: head.parameters, options, images });
    await forgetting?.grafted(head);
    return { preprocessing, strategy, forgetting };
  } catch (error) {
    await forgetting?.finish();
    throw error;
  }
}

// A model fine-tuned before on the same classes goes on with the head it has.
async function prepareHead(
  model: Model,
  classes: string[],
  imageSize: number,
  { head, seed }: CheckedOptions,
): Promise<Graft & { parameters: string[] }> {
  const isSame = model.card?.classes.join('\0') === classes.join('\0');
  const asksForHead = head.hidden.length > 0 || head.layer !== '';
  if (isSame && !asksForHead) {
    const { heads, parameters } = await model.summary();
    const modules = new Set(heads.map(({ module }) => module));
    const names = parameters.map(({ name }) => name).filter((name) => modules.has(ownerOf(name)));
    const layer = heads.find(({ output }) => output === 0)?.module ?? '';
    return { parameters: names, layer, classes: classes.length, fresh: [] };
  }
  const { parameters, layers } = await model.replaceHead({
    ...head,
    classes: classes.length,
    seed,
    imageSize,
  });
  return { parameters, layer: layers[0] as string, classes: classes.length, fresh: parameters };
}
