import { writeFileSync } from 'node:fs';
import { imageFolder } from '../../lib/data/folder.js';

/** Every one of its training images up to `count`, spread evenly over each class, with all of its validation images. */
export async function writeSubset(folder, count, file) {
  const { splits, classes } = await imageFolder(folder);
  const chosen = classes.flatMap((_, label) => {
    const samples = splits.train.filter((sample) => sample.label === label);
    const wanted = Math.max(1, Math.round((count * samples.length) / splits.train.length));
    return Array.from(
      { length: wanted },
      (_, index) => samples[Math.floor((index * samples.length) / wanted)],
    );
  });
  const lines = (samples, split) =>
    samples.map(({ path, label }) => JSON.stringify({ path, label: classes[label], split }));
  writeFileSync(file, `${[...lines(chosen, 'train'), ...lines(splits.val, 'val')].join('\n')}\n`);
  return chosen.length;
}

/** Number of training images of a folder. */
export const countTraining = async (folder) => (await imageFolder(folder)).splits.train.length;
