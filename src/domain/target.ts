import type { ImageDataset, Sample } from '../data/dataset.js';
import { permutation } from '../data/random.js';
import { invalidValue } from '../errors.js';
import { listNames } from '../name-list.js';

/** Images of the domain to adapt to: paths, or a data set whose labels are not looked at. */
export type TargetImages = ImageDataset | readonly string[];

/** Share of the target's images that no method sees and the validators judge by. */
const heldOut = 0.3;
/** Fewer say nothing of a domain. */
const fewest = 10;

/**
 * The target's images as a data set without labels (all 0): `train` is adapted to, `val` is held out for the validators,
 * a seeded share. What is adapted is given nothing else of the target.
 */
export function unlabelledTarget(target: TargetImages, source: ImageDataset, seed: number): ImageDataset {
  const paths = isList(target)
    ? target
    : [...target.splits.train, ...target.splits.val].map(({ path }) => path);
  const images = [...new Set(paths)];
  if (images.length < fewest) {
    throw invalidValue(
      `adaptDomain: the target has ${images.length} images; at least ${fewest} are needed to know a domain by.`,
    );
  }
  const order = permutation(images.length, seed, 0);
  const count = Math.round(images.length * heldOut);
  const pick = (rows: Int32Array): Sample[] =>
    Array.from(rows.toSorted(), (row) => ({ path: images[row] as string, label: 0 }));
  return {
    classes: source.classes,
    splits: { train: pick(order.subarray(count)), val: pick(order.subarray(0, count)) },
    warnings: [],
    summary: source.summary,
  };
}

/** The target's labelled images, with labels of the source's classes; for reports alone. */
export function labelledTarget(target: TargetImages, source: ImageDataset): Sample[] {
  if (isList(target)) {
    throw invalidValue(
      'adaptDomain: `report` needs a target with labels, from imageFolder or imageManifest.',
    );
  }
  const labels = target.classes.map((name) => source.classes.indexOf(name));
  const stray = target.classes.find((_, at) => labels[at] === -1);
  if (stray !== undefined) {
    throw invalidValue(
      `adaptDomain: the target's class \`${stray}\` is none of the source's (${listNames(source.classes)}), so \`report\` ` +
        'cannot score it.',
    );
  }
  const { train, val, test } = target.splits;
  return (test ?? [...train, ...val]).map(({ path, label }) => ({ path, label: labels[label] as number }));
}

/** The target as it was given, for provenance. */
export function describeTarget(target: TargetImages): { source?: string; images: number } {
  if (isList(target)) return { images: target.length };
  const { train, val } = target.splits;
  return { source: target.summary.source, images: train.length + val.length };
}

function isList(target: TargetImages): target is readonly string[] {
  return Array.isArray(target);
}
