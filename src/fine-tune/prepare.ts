import type { ImageDataset } from '../data/dataset.js';
import { completePreprocessing, type Preprocessing } from '../data/preprocessing.js';
import { Forgetting, type Graft } from '../forgetting/forgetting.js';
import { checkLbfgsModel } from '../lbfgs.js';
import type { Model } from '../model.js';
import type { ReplaceHeadResult } from '../native.js';
import { ownerOf } from '../patterns.js';
import { type Baselines, measureBaselines } from './baselines.js';
import type { CheckedOptions } from './options.js';
import { compileStrategy } from './strategies/compile.js';
import type { Strategy } from './strategies/stage.js';
import { readyProbe } from './trunk.js';

/** What the loop needs to know of a prepared model. */
export interface Prepared {
  preprocessing: Preprocessing;
  strategy: Strategy;
  /** Undefined where they were not asked for. */
  baselines: Baselines | undefined;
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
    const beginsWithProbe = /^(auto|lp-ft)/.test(options.strategy);
    const head = await prepareHead(model, data.classes, preprocessing.size, {
      ...options,
      // The source's head, joined for distillation, takes the features as they are.
      standardise: beginsWithProbe && !options.distillation,
    });
    const probeC = beginsWithProbe
      ? await readyProbe(model, data, preprocessing, options, head.standardiser)
      : undefined;
    const baselines =
      options.baselines === 'none' ? undefined : await measureBaselines(model, data, preprocessing, options);
    const summary = await model.summary();
    const images = data.splits.train.length;
    const strategy = compileStrategy({ model, summary, head: head.parameters, options, images, probeC });
    const { transfer } = baselines ?? {};
    if (transfer && (transfer.verdict === 'harm' || options.strategy === 'auto')) {
      strategy.notices.push(transfer.text);
    }
    await forgetting?.grafted(head);
    return { preprocessing, strategy, baselines, forgetting };
  } catch (error) {
    await forgetting?.finish();
    throw error;
  }
}

/** The head that a model got; `standardiser` where a standardising layer was made before it. */
interface Head extends Graft {
  /** Names of its parameters. */
  parameters: string[];
  standardiser: ReplaceHeadResult['standardiser'];
}

// A model fine-tuned before on the same classes goes on with the head it has.
async function prepareHead(
  model: Model,
  classes: string[],
  imageSize: number,
  { head, seed, standardise }: CheckedOptions & { standardise: boolean },
): Promise<Head> {
  const isSame = model.card?.classes.join('\0') === classes.join('\0');
  const asksForHead = head.hidden.length > 0 || head.layer !== '';
  if (isSame && !asksForHead) {
    const { heads, parameters } = await model.summary();
    const modules = new Set(heads.map(({ module }) => module));
    const names = parameters.map(({ name }) => name).filter((name) => modules.has(ownerOf(name)));
    const layer = heads.find(({ output }) => output === 0)?.module ?? '';
    return { parameters: names, layer, classes: classes.length, fresh: [], standardiser: null };
  }
  const { parameters, layers, standardiser } = await model.replaceHead({
    ...head,
    ...{ classes: classes.length, seed, imageSize, standardise },
  });
  const layer = layers[0] as string;
  return { parameters, layer, classes: classes.length, fresh: parameters, standardiser };
}
