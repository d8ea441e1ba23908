import type { ImageDataset, Sample } from './dataset.js';

/**
 * The same data set with at most so many images in each split, spread evenly over each class in its order; each class
 * keeps its share, and at least one image. A split that is small enough stays as it is.
 */
export function subsetOf(data: ImageDataset, most: { train: number; val: number }): ImageDataset {
  const { train, val } = data.splits;
  return { ...data, splits: { ...data.splits, train: pick(train, most.train), val: pick(val, most.val) } };
}

function pick(samples: Sample[], most: number): Sample[] {
  if (samples.length <= most) return samples;
  const labels = [...new Set(samples.map(({ label }) => label))];
  const chosen = new Set(
    labels.flatMap((wanted) => {
      const own = samples.filter(({ label }) => label === wanted);
      const count = Math.max(1, Math.round((most * own.length) / samples.length));
      return Array.from({ length: count }, (_, at) => own[Math.floor((at * own.length) / count)] as Sample);
    }),
  );
  return samples.filter((sample) => chosen.has(sample));
}
