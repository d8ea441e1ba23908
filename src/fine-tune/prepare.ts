import type { ImageDataset } from '../data/dataset.js';
import { completePreprocessing, nativePreprocess, type Preprocessing } from '../data/preprocessing.js';
import { TorchgraftError } from '../errors.js';
import { checkLbfgsModel } from '../lbfgs.js';
import type { Model } from '../model.js';
import type { NativeGroup } from '../native.js';
import { callNative } from '../native-call.js';
import { buildGroups } from './groups.js';
import type { CheckedOptions } from './options.js';

/** What the loop needs to know of a prepared model. */
export interface Prepared {
  preprocessing: Preprocessing;
  groups: NativeGroup[];
  /** Names of the head's parameters. */
  head: string[];
}

/** Gives the model its head, freezes what the strategy freezes, and configures native training. */
export async function prepareModel(
  model: Model,
  data: ImageDataset,
  options: CheckedOptions,
): Promise<Prepared> {
  checkLbfgsModel(options, await model.summary(), 'fineTune');
  const preprocessing = completePreprocessing({ ...model.card?.preprocessing, ...options.preprocessing });
  const head = await prepareHead(model, data.classes, preprocessing.size, options);
  await model.setTrainable(chooseTrainable(model, head, options), { trainBatchNorm: options.trainBatchNorm });
  const groups = buildGroups(await model.summary(), head, options);
  await callNative(() =>
    model.native.configure({
      optimizer: options.optimizer,
      groups,
      loss: options.loss,
      clipNorm: options.clipNorm ?? 0,
      accumulate: options.accumulate,
      auxiliaryWeight: 0.4,
      seed: options.seed,
      preprocess: nativePreprocess(preprocessing),
      augment: options.augment,
    }),
  );
  return { preprocessing, groups, head };
}

// A model fine-tuned before on the same classes goes on with the head it has.
async function prepareHead(
  model: Model,
  classes: string[],
  imageSize: number,
  { head, seed }: CheckedOptions,
): Promise<string[]> {
  const isSame = model.card?.classes.join('\0') === classes.join('\0');
  const asksForHead = head.hidden.length > 0 || head.layer !== '';
  if (isSame && !asksForHead) {
    const { heads, parameters } = await model.summary();
    const modules = new Set(heads.map(({ module }) => module));
    return parameters.map(({ name }) => name).filter((name) => modules.has(name.replace(/\.?[^.]+$/, '')));
  }
  const made = await model.replaceHead({ ...head, classes: classes.length, seed, imageSize });
  return made.parameters;
}

/** Names of the parameters that a strategy lets learn. @throws NOT_TRAINABLE when `freeze` leaves none */
export function chooseTrainable(
  model: Model,
  head: string[],
  { strategy, freeze }: Pick<CheckedOptions, 'strategy' | 'freeze'>,
): string[] {
  const layers = Number(strategy.split(':')[1]);
  const everything = () => model.select(/(?:)/);
  const chosen =
    strategy === 'head' ? head : strategy === 'full' ? everything() : model.select({ last: layers });
  const frozen = new Set(freeze.length > 0 ? model.select(freeze) : []);
  const names = [...new Set([...chosen, ...head])].filter((name) => !frozen.has(name));
  if (names.length > 0) return names;
  throw new TorchgraftError(
    'NOT_TRAINABLE',
    'fineTune: with this strategy and `freeze`, nothing is left to learn. Leave `freeze` out or name less.',
  );
}
