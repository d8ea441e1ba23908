import { z } from 'zod';
import { checkOptions } from '../options.js';
import type { Features } from '../probe/features.js';
import { crossValidate } from '../probe/grid.js';
import { scoresOf } from '../probe/linear.js';
import type { LinearMap } from '../probe/linear-file.js';
import { fitPath } from '../probe/logistic.js';
import { softmaxRows } from '../probe/probabilities.js';
import { quickProbe } from '../probe/quick.js';
import { checkFeatures } from '../probe/result.js';
import { signalOption } from '../value-kinds.js';
import { count } from './words.js';

const schema = z.strictObject({
  folds: z.int().min(2).max(100).default(5),
  seed: z.int().min(0).max(Number.MAX_SAFE_INTEGER).default(0),
  signal: signalOption,
});

/**
 * - `folds`: of the cross-validation; default 5
 * - `seed`: of the folds; default 0
 * - `signal`: stops between two fits with ABORTED
 */
export type LabelIssueOptions = z.input<typeof schema>;

/** A training image whose label may be wrong. */
export interface LabelIssue {
  path: string;
  given: string;
  suggested: string;
  /** Of both, by a probe that did not see this image. */
  probability: { given: number; suggested: number };
}

/** Training images whose label may be wrong. */
export interface LabelIssues {
  /** The likeliest first. */
  issues: LabelIssue[];
  /** How many there were before a weak probe's were cut off. */
  candidates: number;
  /** Share of the training images that the probe is right on without having seen them, by their labels. */
  accuracy: number;
  /** Training images. */
  images: number;
  /** What was found, for people. */
  text: string;
}

/** A probe that is right less often contradicts many a good label, since it cannot tell hard images from wrong labels. */
const strong = 0.9;
/**
 * Of such a probe at most this share of the training images is listed. Ten public test sets have at least 3.3 % wrong labels on
 * average (Northcutt, Athalye and Mueller 2021).
 */
const mostOfWeak = 0.05;

/**
 * Training images whose label may be wrong, the likeliest first: confident disagreements of confident learning (Northcutt,
 * Jiang and Chuang 2021). Each image's probabilities come from logistic regression on kept features of the other folds.
 * A class's threshold is the mean probability of that class over the images that are labelled so; an image is a candidate
 * where a class other than its label reaches its threshold, is the most probable of those that do, and more probable than the label. Candidates, not
 * mistakes: hard images are among them, so look at each. Where the probe is right on less than 90 % of the images that it has not
 * seen, only the likeliest are listed, 5 % of the images at most: of more, few are wrong (docs/benchmarks.md).
 *
 * @throws INVALID_TYPE, INVALID_VALUE, SHAPE_MISMATCH, MODEL_FAILED, ABORTED
 */
export async function findLabelIssues(
  features: Features,
  options: LabelIssueOptions = {},
): Promise<LabelIssues> {
  const checked = checkOptions(schema, options, 'findLabelIssues');
  checkFeatures(features, 'findLabelIssues');
  return findIssues(features, { ...checked, C: undefined });
}

/** findLabelIssues, where C of a quick probe may be known already. */
export async function findIssues(
  features: Features,
  {
    C: known,
    folds,
    seed,
    signal,
  }: { C: number | undefined; folds: number; seed: number; signal?: AbortSignal | undefined },
): Promise<LabelIssues> {
  const { classes, train } = features;
  const C = known ?? (await quickProbe(features, { seed, signal })).C ?? 1;
  const settings = { maxIterations: 100, signal };
  const { labels, rows, scores } = await crossValidate(
    features,
    { folds, seed, signal },
    async ({ learn, held }) => {
      const [map] = await fitPath(learn, classes.length, [C], settings);
      return [await scoresOf(map as LinearMap, held.features)];
    },
  );
  const probabilities = softmaxRows(scores[0] as Float32Array, classes.length);
  const candidates = confidentDisagreements(probabilities, labels, classes.length)
    .map(({ row, suggested }) => {
      const at = row * classes.length;
      const given = labels[row] as number;
      return {
        path: train.paths[rows[row] as number] as string,
        given: classes[given] as string,
        suggested: classes[suggested] as string,
        probability: {
          given: probabilities[at + given] as number,
          suggested: probabilities[at + suggested] as number,
        },
      };
    })
    .sort((a, b) => margin(b) - margin(a));
  const accuracy = accuracyOf(probabilities, labels, classes.length);
  const most = accuracy < strong ? Math.ceil(mostOfWeak * labels.length) : candidates.length;
  const found = { issues: candidates.slice(0, most), candidates: candidates.length, accuracy };
  return { ...found, images: labels.length, text: describe(found) };
}

function accuracyOf(probabilities: Float32Array, labels: Int32Array, classes: number): number {
  const right = labels.filter((label, row) => {
    const own = probabilities.subarray(row * classes, (row + 1) * classes);
    return own.indexOf(Math.max(...own)) === label;
  });
  return right.length / labels.length;
}

function describe({
  issues,
  candidates,
  accuracy,
}: Pick<LabelIssues, 'issues' | 'candidates' | 'accuracy'>): string {
  if (issues.length === 0) return 'No label of a training image is confidently contradicted.';
  const found = `${count(issues.length, 'training image')} may have a wrong label, or be hard; look at each.`;
  const weakness = weaknessOf(accuracy);
  if (!weakness) return found;
  const rest = candidates - issues.length;
  return `${found} ${weakness}${rest > 0 ? ` ${rest} less suspicious ones are not listed.` : ''}`;
}

/** Said of a probe that is often wrong itself; undefined of others. */
export function weaknessOf(accuracy: number): string | undefined {
  if (accuracy >= strong) return undefined;
  return `The probe gets only ${Math.round(100 * accuracy)} % of unseen images right, so many of these labels may be correct; the most suspicious come first.`;
}

const margin = ({ probability }: LabelIssue) => probability.suggested - probability.given;

/** Rows of probabilities [n, classes] that count off the diagonal of the confident joint, each with its class there. */
export function confidentDisagreements(
  probabilities: Float32Array,
  labels: Int32Array,
  classes: number,
): { row: number; suggested: number }[] {
  const thresholds = Array.from({ length: classes }, (_, label) => {
    const own = [...labels.keys()].filter((row) => labels[row] === label);
    const sum = own.reduce((total, row) => total + (probabilities[row * classes + label] as number), 0);
    return own.length > 0 ? sum / own.length : Number.POSITIVE_INFINITY;
  });
  return [...labels.keys()].flatMap((row) => {
    const own = Array.from(probabilities.subarray(row * classes, (row + 1) * classes));
    const reached = own.map((value, label) => (value >= (thresholds[label] as number) ? value : -1));
    const most = Math.max(...reached);
    const suggested = reached.indexOf(most);
    const given = own[labels[row] as number] as number;
    return most <= given ? [] : [{ row, suggested }];
  });
}
