/** A batch of one image joins the one before it: alone it has no variance for a BatchNorm behind pooling to learn from. */
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import t from 'tap';
import type { Sample } from '../src/data/dataset.js';
import { BatchLoader, type BatchLoaderOptions } from '../src/data/loader.js';
import { completePreprocessing } from '../src/data/preprocessing.js';
import { type FineTuneOptions, fineTune, type ImageDataset } from '../src/index.js';
import { bitsOf, defects, open } from './defects.js';

const flatNorm = join(import.meta.dirname, 'fixtures', 'plans', 'flat-norm.pt');
const options: BatchLoaderOptions = {
  preprocessing: completePreprocessing({ size: 16, resize: 20 }),
  view: 'eval',
  batchSize: 4,
  least: 2,
};

/** Grey images of which each tenth level is one; those of `damaged` cannot be read. */
async function greys(dir: string, count: number, damaged: number[] = []): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (let i = 0; i < count; i++) {
    const path = join(dir, `${i}.png`);
    const background = { r: i * 10, g: i * 10, b: i * 10 };
    await sharp({ create: { width: 30, height: 25, channels: 3, background } }).toFile(path);
    if (damaged.includes(i)) await writeFile(path, 'no image');
    samples.push({ path, label: i % 3 });
  }
  return samples;
}

async function batchesOf(samples: Sample[], more: Partial<BatchLoaderOptions> = {}) {
  const loader = new BatchLoader(samples, { ...options, ...more });
  const batches: { number: number; indices: number[] }[] = [];
  for await (const { number, indices, labels, data, shape } of loader) {
    for (const [row, index] of indices.entries()) {
      t.equal(labels[row], index % 3);
      const size = data.length / (shape[0] as number);
      t.ok(data.subarray(row * size, (row + 1) * size).every((value) => value === index * 10));
    }
    batches.push({ number, indices: [...indices] });
  }
  return { length: loader.length, batches };
}

t.test('the last image of a pass', async (t) => {
  const samples = await greys(t.testdir(), 9);
  t.same(await batchesOf(samples), {
    length: 2,
    batches: [
      { number: 0, indices: [0, 1, 2, 3] },
      { number: 1, indices: [4, 5, 6, 7, 8] },
    ],
  });
  t.same((await batchesOf(samples, { batchSize: 7 })).batches.at(-1), { number: 1, indices: [7, 8] });
  t.same((await batchesOf(samples, { firstBatch: 1 })).batches, [{ number: 1, indices: [4, 5, 6, 7, 8] }]);
  t.equal((await batchesOf(samples, { batchSize: 1 })).length, 9, 'as was asked for');
  t.equal((await batchesOf(samples, { least: 1 })).length, 3, 'an evaluation keeps its batches');
});

t.test('what skipping leaves of a batch', async (t) => {
  const samples = await greys(t.testdir(), 12, [4, 5, 7, 8, 9, 10, 11]);
  const { batches } = await batchesOf(samples, { unreadable: 'skip' });
  t.same(batches, [{ number: 2, indices: [0, 1, 2, 3, 6] }]);
  const first = await greys(t.testdir(), 8, [0, 1, 2]);
  t.same((await batchesOf(first, { unreadable: 'skip' })).batches, [{ number: 1, indices: [3, 4, 5, 6, 7] }]);
});

/** 24 images to learn from, of which the last of a class may be damaged. */
async function withDamaged(dir: string, count: number): Promise<ImageDataset> {
  const data = defects(24, 12);
  const train = await Promise.all(
    data.splits.train.map(async (sample, index) => {
      const path = join(dir, `${index}.png`);
      if (index < count) await writeFile(path, 'no image');
      else await copyFile(sample.path, path);
      return { ...sample, path };
    }),
  );
  return { ...data, splits: { ...data.splits, train } };
}

const training = {
  epochs: 2,
  baselines: 'none',
  preprocessing: { size: 32, resize: 32 },
} satisfies FineTuneOptions;

for (const strategy of ['full', 'last:2', 'head'] as const) {
  t.test(`${strategy} learns with a last batch of one, wherever outputs are kept`, async (t) => {
    for (const [damaged, batchSize] of [
      [0, 23],
      [3, 10],
      [2, 7],
    ] as const) {
      const data = await withDamaged(t.testdir(), damaged);
      const found: unknown[] = [];
      for (const cache of ['none', 'memory'] as const) {
        const model = await open(t, flatNorm);
        const { history } = await fineTune(model, data, {
          ...{ ...training, strategy, cache, batchSize, unreadable: 'skip' },
        });
        t.equal(history.length, 2);
        found.push(await bitsOf(model));
        await model.dispose();
      }
      t.same(found[0], found[1], `${damaged} damaged, batches of ${batchSize}`);
    }
  });
}
