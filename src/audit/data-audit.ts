import { sep } from 'node:path';
import type { ImageDataset } from '../data/dataset.js';
import { subsetOf } from '../data/subset.js';
import type { Model } from '../model.js';
import { type ExtractOptions, extractFeatures } from '../probe/features.js';
import { findLabelIssues, type LabelIssue } from './label-issues.js';
import { findNearDuplicates, type NearDuplicate } from './near-duplicates.js';

/** What may be wrong with a data set, found before training. Plain JSON. */
export interface DataAudit {
  /** Images of different splits that look the same, the most alike first; at most 100 of `found`, among `images` images. */
  duplicates: { found: number; pairs: NearDuplicate[]; images: number };
  /**
   * Training images whose label may be wrong: a probe takes them for another class with a probability of 0.9 or more. The
   * likeliest first, at most 100 of `found`, among `images` images; null where the model has no features for a probe.
   */
  labels: { found: number; issues: LabelIssue[]; images: number } | null;
}

/** Some seconds of decoding. Beyond it the data set is looked at in part, which `images` tells. */
const mostDecoded = 4000;
const mostListed = 100;
/** Of the suggested class. A weak probe contradicts many good labels, but few of them so surely. */
const leastProbability = 0.9;

/**
 * Labels that a probe contradicts, of findLabelIssues the surest.
 *
 * @param subset the images whose labels are looked at
 * @throws IMAGE_UNREADABLE, OUT_OF_MEMORY, ABORTED, and NO_HEAD or MODEL_FAILED where there are no features
 */
export async function auditLabels(
  model: Model,
  subset: ImageDataset,
  reading: ExtractOptions,
  seed: number,
): Promise<NonNullable<DataAudit['labels']>> {
  const features = await extractFeatures(model, subset, reading);
  const { signal } = reading;
  const candidates = await findLabelIssues(features, { seed, ...(signal ? { signal } : {}) });
  const issues = candidates.filter(({ probability }) => probability.suggested >= leastProbability);
  return { found: issues.length, issues: issues.slice(0, mostListed), images: features.train.paths.length };
}

/** Near-duplicates between splits, by findNearDuplicates. @throws ABORTED */
export async function auditSplits(
  data: ImageDataset,
  { threads, signal }: { threads: number; signal?: AbortSignal },
): Promise<DataAudit['duplicates']> {
  const looked = subsetOf(data, { train: mostDecoded, val: mostDecoded });
  const { pairs, images } = await findNearDuplicates(looked, { threads, ...(signal ? { signal } : {}) });
  return { found: pairs.length, pairs: pairs.slice(0, mostListed), images };
}

/** One sentence for each doubt, for people; none where there is no doubt. */
export function tellAudit({ duplicates, labels }: DataAudit): string[] {
  const [pair] = duplicates.pairs;
  const [issue] = labels?.issues ?? [];
  return [
    ...(pair
      ? [
          `${count(duplicates.found, 'pair')} of images in different splits look the same, for example ${shortened(pair.first.path)} ` +
            `(${pair.first.split}) and ${shortened(pair.second.path)} (${pair.second.split}): metrics on them flatter. Keep one of each.`,
        ]
      : []),
    ...(labels && issue
      ? [
          `${count(labels.found, 'training label')} of ${labels.images} looked at may be wrong, for example ${shortened(issue.path)}, ` +
            `labelled ${issue.given}, which a probe takes for ${issue.suggested}. Look at them before you look for a better model.`,
        ]
      : []),
  ];
}

// Enough to find it by, and a report that is passed on tells no folders of its writer.
const shortened = (path: string) => path.split(sep).slice(-3).join('/');

const count = (found: number, thing: string) => `${found} ${thing}${found === 1 ? '' : 's'}`;
