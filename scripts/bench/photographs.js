// JPEGs of a given size, made once from the shared photographs and kept in the bench's part of the user cache.
import { existsSync, mkdtempSync, readdirSync, renameSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import sharp from 'sharp';
import { imageFolder } from '../../lib/data/folder.js';
import { benchFolder } from './places.js';
import { mean } from './statistics.js';

/**
 * Paths of `count` photographs of width x height, quality 90. Enlarged photographs are smooth; some grain makes them
 * as hard to decode as a camera's.
 */
export async function makePhotographs({ images, width, height, count }) {
  const folder = join(benchFolder('images'), `${width}x${height}-${count}`);
  if (!existsSync(folder)) {
    console.error(`Making ${count} photographs of ${width} x ${height} in ${folder} ...`);
    const { splits } = await imageFolder(images);
    const temporary = mkdtempSync(join(dirname(folder), 'making-'));
    for (let index = 0; index < count; index++) {
      const { path } = splits.train[index % splits.train.length];
      const file = join(temporary, `${String(index).padStart(4, '0')}.jpg`);
      await makePhotograph(path, width, height, file);
    }
    renameSync(temporary, folder);
  }
  const files = readdirSync(folder).sort();
  return {
    paths: files.map((name) => join(folder, name)),
    kilobytes: mean(files.map((name) => statSync(join(folder, name)).size)) / 1000,
  };
}

async function makePhotograph(source, width, height, file) {
  const noise = { type: 'gaussian', mean: 128, sigma: 12 };
  const grain = await sharp({ create: { width, height, channels: 3, background: 'grey', noise } })
    .png({ compressionLevel: 0 })
    .toBuffer();
  await sharp(source)
    .resize(width, height, { fit: 'cover' })
    .composite([{ input: grain, blend: 'soft-light' }])
    .jpeg({ quality: 90 })
    .toFile(file);
}
