import { tellAudit } from '../audit/data-audit.js';
import { cleanUp } from '../clean-up.js';
import type { ImageDataset } from '../data/dataset.js';
import { completePreprocessing, type Preprocessing } from '../data/preprocessing.js';
import { requireReadable, requireSplits } from '../data/require-readable.js';
import { taskOf } from '../data/task.js';
import { TorchgraftError } from '../errors.js';
import { Forgetting, type Graft } from '../forgetting/forgetting.js';
import { isShaped } from '../head-options.js';
import { checkLbfgsModel } from '../lbfgs.js';
import { adaptLayers } from '../lora/adapt.js';
import type { Model } from '../model.js';
import type { ModelDescription, ReplaceHeadResult } from '../native.js';
import { cutNotice, squashOf, whyChanging } from '../notices.js';
import { ownerOf } from '../patterns.js';
import { Stopwatch } from '../stopwatch.js';
import { type Baselines, measureBaselines } from './baselines.js';
import type { CheckedOptions } from './options.js';
import { compileStrategy } from './strategies/compile.js';
import type { Strategy } from './strategies/stage.js';
import { beginAtMean, targetNotices } from './task-targets.js';
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
  watch = new Stopwatch(),
): Promise<Prepared> {
  const task = taskOf(data);
  requireSplits(data, 'fineTune');
  checkLbfgsModel(options, await model.summary(), 'fineTune');
  const preprocessing = completePreprocessing({ ...model.card?.preprocessing, ...options.preprocessing });
  await checkModel(model);
  const spoiled =
    options.unreadable === 'skip'
      ? await requireReadable(data, { ...options, preprocessing }, 'fineTune')
      : [];
  if (options.strategy !== 'lora') await mergeAny(model);
  const forgetting = await model.withHead(options.head.layer, () =>
    Forgetting.begin(model, options, preprocessing),
  );
  try {
    const beginsWithProbe = /^(auto|lp-ft)/.test(options.strategy);
    const head = await prepareHead(model, data, preprocessing.size, {
      ...options,
      // The source's head, joined for distillation, takes the features as they are; a cosine head has a scale of its own.
      standardise: beginsWithProbe && !options.distillation && isPlain(options.head),
    });
    if (options.strategy === 'lora')
      await adaptLayers(model, head.parameters, options.lora ?? {}, options.seed);
    await beginAtMean(model, data, head, options.head.hidden);
    const probeC = beginsWithProbe
      ? await watch.spend('probe', () =>
          readyProbe(model, data, preprocessing, options, head.standardiser, watch),
        )
      : undefined;
    const baselines =
      options.baselines === 'none' || task !== 'single-label'
        ? undefined
        : await measureBaselines(model, data, preprocessing, options, { watch, C: probeC });
    const summary = await model.summary();
    const images = data.splits.train.length;
    const strategy = compileStrategy({
      model,
      summary,
      head: head.parameters,
      options,
      task,
      images,
      probeC,
    });
    if (head.cut.length > 0) strategy.notices.push(cutNotice(head.cut));
    strategy.notices.push(...spoiled, ...(options.baselines === 'none' ? [] : targetNotices(data)));
    const { transfer, audit } = baselines ?? {};
    if (audit) strategy.notices.push(...tellAudit(audit));
    if (transfer && (transfer.verdict === 'harm' || options.strategy === 'auto')) {
      strategy.notices.push(transfer.text);
    }
    await forgetting?.grafted(head);
    return { preprocessing, strategy, baselines, forgetting };
  } catch (error) {
    await cleanUp(() => forgetting?.finish(), true);
    throw error;
  }
}

/** The head that a model got; `standardiser` where a standardising layer was made before it. */
interface Head extends Graft {
  /** Names of its parameters. */
  parameters: string[];
  standardiser: ReplaceHeadResult['standardiser'];
  cut: ReplaceHeadResult['cut'];
}

// A model fine-tuned before on the same classes goes on with the head it has.
async function prepareHead(
  model: Model,
  data: ImageDataset,
  imageSize: number,
  { head, seed, standardise }: CheckedOptions & { standardise: boolean },
): Promise<Head> {
  const { classes } = data;
  const isSame = model.card?.classes.join('\0') === classes.join('\0') && taskOf(model.card) === taskOf(data);
  const description = await model.summary();
  const main = description.heads.find(({ role }) => role === 'main');
  // A card may be another model's.
  const fits = main === undefined || main.outFeatures === classes.length;
  if (isSame && fits && !isShaped(head) && !squashOf(description)) {
    const own = headParameters(description);
    return {
      ...{ parameters: own, layers: mainLayers(description), classes: classes.length, fresh: [] },
      standardiser: null,
      cut: [],
    };
  }
  const made = await model.replaceHead({
    ...head,
    ...{ classes: classes.length, seed, imageSize, standardise },
  });
  const { parameters, standardiser, cut } = made;
  const layers = head.hidden.length > 0 ? made.layers.slice(0, 1) : mainLayers(await model.summary());
  return { parameters, layers, classes: classes.length, fresh: parameters, standardiser, cut };
}

function mainLayers({ heads }: ModelDescription): string[] {
  return heads.filter(({ role }) => role === 'main').map(({ module }) => module);
}

function isPlain({ kind, pooling }: CheckedOptions['head']): boolean {
  return kind === 'linear' && pooling === undefined;
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

/** Images are decoded to three channels, and a model that no predictor would serve is not worth a training. @throws SHAPE_MISMATCH, MODEL_FAILED */
async function checkModel(model: Model): Promise<void> {
  const summary = await model.summary();
  const changing = whyChanging(summary);
  if (changing) throw new TorchgraftError('MODEL_FAILED', `fineTune: ${changing}`);
  const { inputChannels } = summary;
  if (inputChannels === null || inputChannels === 3) return;
  throw new TorchgraftError(
    'SHAPE_MISMATCH',
    `fineTune: the model takes ${inputChannels} input channel(s), and images are decoded to 3: red, green and blue, equal ` +
      'for grey ones. Fine-tune it with 3 (`adaptInput(3)`), or train on tensors of your own with createTrainer.',
  );
}
