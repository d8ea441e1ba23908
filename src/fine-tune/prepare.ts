import type { ImageDataset } from '../data/dataset.js';
import { completePreprocessing, type Preprocessing } from '../data/preprocessing.js';
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
}

/** Gives the model its head, and makes the strategy's stages for it. */
export async function prepareModel(
  model: Model,
  data: ImageDataset,
  options: CheckedOptions,
): Promise<Prepared> {
  checkLbfgsModel(options, await model.summary(), 'fineTune');
  const preprocessing = completePreprocessing({ ...model.card?.preprocessing, ...options.preprocessing });
  const beginsWithProbe = /^(auto|lp-ft)/.test(options.strategy);
  const { head, standardiser } = await prepareHead(model, data.classes, preprocessing.size, {
    ...options,
    standardise: beginsWithProbe,
  });
  const probeC = beginsWithProbe
    ? await readyProbe(model, data, preprocessing, options, standardiser)
    : undefined;
  const baselines =
    options.baselines === 'none' ? undefined : await measureBaselines(model, data, preprocessing, options);
  const summary = await model.summary();
  const images = data.splits.train.length;
  const strategy = compileStrategy({ model, summary, head, options, images, probeC });
  const { transfer } = baselines ?? {};
  if (transfer && (transfer.verdict === 'harm' || options.strategy === 'auto')) {
    strategy.notices.push(transfer.text);
  }
  return { preprocessing, strategy, baselines };
}

/** Names of the head's parameters, and of the buffers of the standardising layer before it, where one was made now. */
interface Head {
  head: string[];
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
    return { head: names, standardiser: null };
  }
  const { parameters, standardiser } = await model.replaceHead({
    ...head,
    ...{ classes: classes.length, seed, imageSize, standardise },
  });
  return { head: parameters, standardiser };
}
