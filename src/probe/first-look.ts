import type { ImageDataset, Sample } from '../data/dataset.js';
import { subsetOf } from '../data/subset.js';
import type { FeatureSplit, Features } from './features.js';

/** Images of a first look: a fraction of the cost, and enough to see a plain difference. */
const most = { train: 48, val: 48 };

/** The part of a data set that is looked at first, and its features. */
export interface FirstLook {
  data: ImageDataset;
  features: Features;
}

/** Undefined where the data set is not much larger than a first look. */
export function firstLookOf(data: ImageDataset, features: Features): FirstLook | undefined {
  const { train, val } = features;
  if (train.paths.length + val.paths.length < 2 * (most.train + most.val)) return undefined;
  const read = {
    train: readSamples(data.splits.train, train.paths),
    val: readSamples(data.splits.val, val.paths),
  };
  const { splits } = subsetOf({ ...data, splits: read }, most);
  return {
    data: { ...data, splits },
    features: {
      ...features,
      train: partOf(train, read.train, splits.train),
      val: partOf(val, read.val, splits.val),
    },
  };
}

/** Samples whose features there are, in their order: those of images that could not be decoded are missing. */
function readSamples(samples: readonly Sample[], paths: readonly string[]): Sample[] {
  let at = 0;
  return samples.filter(({ path }) => {
    if (path !== paths[at]) return false;
    at += 1;
    return true;
  });
}

function partOf(split: FeatureSplit, samples: readonly Sample[], part: readonly Sample[]): FeatureSplit {
  const wanted = new Set(part);
  const rows = [...samples.keys()].filter((row) => wanted.has(samples[row] as Sample));
  const [, columns] = split.shape;
  const features = new Float32Array(rows.length * columns);
  for (const [at, row] of rows.entries()) {
    features.set(split.features.subarray(row * columns, (row + 1) * columns), at * columns);
  }
  return {
    features,
    shape: [rows.length, columns],
    labels: Int32Array.from(rows, (row) => split.labels[row] as number),
    paths: rows.map((row) => split.paths[row] as string),
  };
}
