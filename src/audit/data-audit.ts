import type { ImageDataset } from '../data/dataset.js';
import { subsetOf } from '../data/subset.js';
import type { Features } from '../probe/features.js';
import { findIssues, type LabelIssue, weaknessOf } from './label-issues.js';
import { findNearDuplicates, type NearDuplicate, type NearDuplicateOptions } from './near-duplicates.js';
import { count, shortened } from './words.js';

/** What may be wrong with a data set, found before training. Plain JSON. */
export interface DataAudit {
  /**
   * Images of different splits that look the same, the most alike first; at most 100 of `found`, among `images` images.
   * `text` tells it to people.
   */
  duplicates: { found: number; pairs: NearDuplicate[]; images: number; text: string };
  /**
   * Training images whose label may be wrong: a probe takes them for another class with a probability of 0.9 or more. The
   * likeliest first, at most 100 of `found`, among `images` images; null where the model has no features for a probe. `accuracy`
   * is the probe's on images that it has not seen.
   */
  labels: { found: number; issues: LabelIssue[]; images: number; accuracy?: number } | null;
}

/** Some seconds of decoding. Beyond it the data set is looked at in part, which `images` tells. */
const mostDecoded = 4000;
const mostListed = 100;
const folds = 5;
/** Of the suggested class. A weak probe contradicts many good labels, but few of them so surely. */
const leastProbability = 0.9;

/**
 * Labels that a probe contradicts, of findLabelIssues the surest.
 *
 * @param features of the images whose labels are looked at
 * @param options `C` of a quick probe on them, where it is known
 * @throws ABORTED
 */
export async function auditLabels(
  features: Features,
  { C, seed, signal }: { C?: number | undefined; seed: number; signal?: AbortSignal | undefined },
): Promise<NonNullable<DataAudit['labels']>> {
  const { issues: likely, images, accuracy } = await findIssues(features, { C, seed, signal, folds });
  const issues = likely.filter(({ probability }) => probability.suggested >= leastProbability);
  return { found: issues.length, issues: issues.slice(0, mostListed), images, accuracy };
}

/**
 * Near-duplicates between splits, by findNearDuplicates. An unreadable image is none: it may be a test image, which training
 * does not read, and those that it does read it tells of itself.
 *
 * @throws ABORTED
 */
export async function auditSplits(
  data: ImageDataset,
  { threads, signal }: Pick<NearDuplicateOptions, 'threads' | 'signal'>,
): Promise<DataAudit['duplicates']> {
  const looked = subsetOf(data, { train: mostDecoded, val: mostDecoded });
  const { pairs, images, text } = await findNearDuplicates(looked, { threads, unreadable: 'skip', signal });
  return { found: pairs.length, pairs: pairs.slice(0, mostListed), images, text };
}

const told = (more: string | undefined) => (more ? ` ${more}` : '');

/** One sentence for each doubt, for people; none where there is no doubt. */
export function tellAudit({ duplicates, labels }: DataAudit): string[] {
  const [issue] = labels?.issues ?? [];
  return [
    ...(duplicates.found > 0 ? [duplicates.text] : []),
    ...(labels && issue
      ? [
          `${count(labels.found, 'training label')} of ${labels.images} looked at may be wrong, for example ${shortened(issue.path)}, ` +
            `labelled ${issue.given}, which a probe takes for ${issue.suggested}. Look at them before you look for a better model.${told(weaknessOf(labels.accuracy ?? 1))}`,
        ]
      : []),
  ];
}
