import { auditLabels, auditSplits, type DataAudit } from '../audit/data-audit.js';
import type { ImageDataset } from '../data/dataset.js';
import type { Preprocessing } from '../data/preprocessing.js';
import { subsetOf } from '../data/subset.js';
import { isTorchgraftError, TorchgraftError } from '../errors.js';
import type { Model } from '../model.js';
import { checkWithFeatures, type TransferCheck, type TransferCheckOptions } from '../probe/transfer-check.js';
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

/** Enough for an interval of a few points, and few enough for seconds. */
const mostImages = { train: 400, val: 400 };

/** @throws IMAGE_UNREADABLE, OUT_OF_MEMORY, ABORTED */
export async function measureBaselines(
  model: Model,
  data: ImageDataset,
  preprocessing: Preprocessing,
  options: CheckedOptions,
): Promise<Baselines> {
  const majority = majorityOf(data);
  const reading = { ...readingOf(options), preprocessing };
  const duplicates = await auditSplits(data, reading);
  const without = { majority, transfer: null, audit: { duplicates, labels: null } };
  if (!options.split) return without;
  const subset = subsetOf(data, mostImages);
  try {
    const { check: transfer, features } = await checkTransfer(model, subset, {
      ...reading,
      metric: options.earlyStopping.metric === 'valAccuracy' ? 'accuracy' : 'macroF1',
      seed: options.seed,
    });
    const labels = await auditLabels(features, options);
    return { majority, transfer, audit: { duplicates, labels } };
  } catch (error) {
    // Of the part alone: the whole is checked before.
    const isSpoiled = options.unreadable === 'skip' && (error as TorchgraftError).code === 'DATA_INVALID';
    if (isWithoutFeatures(error) || isSpoiled) return without;
    throw error;
  }
}

/** One untrained network tells where the difference is plain; else it may be a lucky one, and more are asked. */
async function checkTransfer(model: Model, data: ImageDataset, options: TransferCheckOptions) {
  const first = await checkWithFeatures(model, data, { ...options, untrained: 1 });
  return first.check.verdict === 'help' ? first : checkWithFeatures(model, data, options, first.features);
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
