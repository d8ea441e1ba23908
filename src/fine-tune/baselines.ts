import { auditLabels, auditSplits, type DataAudit } from '../audit/data-audit.js';
import { mixesImages } from '../augment-option.js';
import { cleaningUp } from '../clean-up.js';
import type { ImageDataset } from '../data/dataset.js';
import type { Preprocessing } from '../data/preprocessing.js';
import { subsetOf } from '../data/subset.js';
import { isTorchgraftError, TorchgraftError } from '../errors.js';
import type { Model } from '../model.js';
import type { ExtractOptions } from '../probe/features.js';
import { checkInLooks, type TransferCheck } from '../probe/transfer-check.js';
import type { Stopwatch } from '../stopwatch.js';
import type { CheckedOptions } from './options.js';

/** What comes without fine-tuning, to be read beside every result. Plain JSON. */
export interface Baselines {
  /** Answering every validation image with the most frequent class of the training images. */
  majority: { class: string; accuracy: number; macroF1: number };
  /**
   * A linear probe of the frozen trunk beside one of the same network untrained (of three, where one does not tell), on at
   * most 400 training and 400 validation images; null where there are no features that a probe could learn from.
   */
  transfer: TransferCheck | null;
  /** What may be wrong with the data; the labels of at most 400 training images are looked at. */
  audit: DataAudit;
}

/** What the run knows. */
interface Known {
  watch: Stopwatch;
  /** That a probe on the training images chose. */
  C: number | undefined;
}

/** Enough for an interval of a few points, and few enough for seconds. */
const mostImages = { train: 400, val: 400 };

/** @throws IMAGE_UNREADABLE, OUT_OF_MEMORY, ABORTED */
export async function measureBaselines(
  model: Model,
  data: ImageDataset,
  preprocessing: Preprocessing,
  options: CheckedOptions,
  known: Known,
): Promise<Baselines> {
  const majority = majorityOf(data);
  const reading = { ...readingOf(options), preprocessing };
  // Decoded while the model computes.
  const looking = auditSplits(data, reading);
  // Told where it is awaited.
  looking.catch(() => {});
  const compared = await cleaningUp(
    () => compareProbes(model, subsetOf(data, mostImages), reading, options, known),
    () => Promise.allSettled([looking]),
  );
  const duplicates = await known.watch.spend('audit', () => looking);
  return {
    majority,
    transfer: compared?.transfer ?? null,
    audit: { duplicates, labels: compared?.labels ?? null },
  };
}

/** Undefined where there are no features that a probe could learn from. */
async function compareProbes(
  model: Model,
  subset: ImageDataset,
  reading: ExtractOptions,
  options: CheckedOptions,
  { watch, C }: Known,
): Promise<{ transfer: TransferCheck; labels: DataAudit['labels'] } | undefined> {
  if (!options.split) return undefined;
  const asked = {
    ...reading,
    metric: options.earlyStopping.metric === 'valAccuracy' ? ('accuracy' as const) : ('macroF1' as const),
    ...{ precision: options.precision, seed: options.seed },
  };
  const known = { C, ...(areOfTraining(options) ? { watch } : {}) };
  try {
    const { check, pretrained } = await watch.spend('baselines', () =>
      checkInLooks(model, subset, asked, known),
    );
    const { features, probe } = pretrained;
    const labels = await watch.spend('audit', () => auditLabels(features, { ...options, C: probe.C }));
    return { transfer: check, labels };
  } catch (error) {
    // Of the part alone: the whole is checked before.
    const isSpoiled = options.unreadable === 'skip' && (error as TorchgraftError).code === 'DATA_INVALID';
    if (isWithoutFeatures(error) || isSpoiled) return undefined;
    throw error;
  }
}

/** Whether the training begins on the same features and finds those that are kept: they are not computed for the baselines. */
function areOfTraining({ strategy, cache, augment, views }: CheckedOptions): boolean {
  const isOfHead = strategy === 'head' || strategy === 'auto' || strategy.startsWith('lp-ft');
  const isLive = augment !== null && (views === 'live' || mixesImages(augment));
  return isOfHead && cache === 'disk' && !isLive;
}

/** Those options of a run that extractFeatures has too. */
export function readingOf({ batchSize, threads, unreadable, cache, signal }: CheckedOptions) {
  return {
    ...{ batchSize, threads, unreadable },
    cache: cache === 'disk' ? ('disk' as const) : ('memory' as const),
    ...(signal ? { signal } : {}),
  };
}

/** The model has no inputs of a head that could be kept. */
export function isWithoutFeatures(error: unknown): boolean {
  return isTorchgraftError(error) && (error.code === 'MODEL_FAILED' || error.code === 'NO_HEAD');
}

function majorityOf({ classes, splits: { train, val } }: ImageDataset): Baselines['majority'] {
  const counts = classes.map((_, label) => train.filter((sample) => sample.label === label).length);
  const most = counts.indexOf(Math.max(...counts));
  const accuracy = val.filter(({ label }) => label === most).length / val.length;
  // Recall is 1 and precision the accuracy; all other classes have F1 0.
  return {
    class: classes[most] as string,
    accuracy,
    macroF1: (2 * accuracy) / (1 + accuracy) / classes.length,
  };
}
