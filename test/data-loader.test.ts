import { readFileSync } from 'node:fs';
import { copyFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import t from 'tap';
import type { Sample } from '../src/data/dataset.js';
import { decodeImage } from '../src/data/decode.js';
import { BatchLoader, type BatchLoaderOptions, type ImageBatch } from '../src/data/loader.js';
import { completePreprocessing } from '../src/data/preprocessing.js';
import { permutation } from '../src/data/random.js';

const preprocessing = completePreprocessing({ size: 16, resize: 20 });
const fixture = join(import.meta.dirname, 'fixtures', 'images', '33x80.jpg');
const options: BatchLoaderOptions = { preprocessing, view: 'eval', batchSize: 4 };

/** One-colour images; the grey level is the index times ten. */
async function greys(dir: string, count: number): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (let i = 0; i < count; i++) {
    const path = join(dir, `${i}.png`);
    const background = { r: i * 10, g: i * 10, b: i * 10 };
    await sharp({ create: { width: 30 + i, height: 25, channels: 3, background } }).toFile(path);
    samples.push({ path, label: i % 3 });
  }
  return samples;
}

/** A copy of what was lent. */
const copy = (batch: ImageBatch) => ({
  shape: batch.shape,
  paths: batch.paths,
  data: [...batch.data],
  labels: [...batch.labels],
  indices: [...batch.indices],
  sizes: [...batch.sizes],
});

async function pass(samples: Sample[], more: Partial<BatchLoaderOptions> = {}) {
  const batches: ReturnType<typeof copy>[] = [];
  for await (const batch of new BatchLoader(samples, { ...options, ...more })) batches.push(copy(batch));
  return batches;
}

t.test('gives every sample once, in order, with its label, size and pixels', async (t) => {
  const samples = await greys(t.testdir(), 10);
  t.equal(new BatchLoader(samples, options).length, 3);
  const batches = await pass(samples);
  t.same(
    batches.map(({ shape }) => shape),
    [4, 4, 2].map((n) => [n, 16, 16, 3]),
  );
  for (const [number, batch] of batches.entries()) {
    for (const [row, index] of batch.indices.entries()) {
      t.equal(index, number * 4 + row);
      t.equal(batch.labels[row], index % 3);
      t.equal(batch.paths[row], samples[index]?.path);
      t.same(batch.sizes.slice(row * 2, row * 2 + 2), [30 + index, 25]);
      const pixels = batch.data.slice(row * 768, (row + 1) * 768);
      t.equal(pixels.length, 768);
      t.ok(pixels.every((value) => value === index * 10));
    }
  }
  t.same((await pass(samples, { view: 'canvas' }))[0]?.shape, [4, 20, 20, 3]);
  t.same(await pass([]), []);
});

t.test('order depends on seed and epoch, not on threads, batches or time', async (t) => {
  const samples = await greys(t.testdir(), 10);
  const order = async (more: Partial<BatchLoaderOptions>) =>
    (await pass(samples, { shuffle: true, ...more })).flatMap(({ indices }) => indices);
  const first = await order({ seed: 5, epoch: 2 });
  t.same(first, [...permutation(10, 5, 2)]);
  t.same(await order({ seed: 5, epoch: 2, threads: 4, prefetch: 3, batchSize: 3 }), first);
  t.notSame(await order({ seed: 5, epoch: 3 }), first);
  t.notSame(await order({ seed: 6, epoch: 2 }), first);
  t.same(
    await pass(samples, { shuffle: true, threads: 1 }),
    await pass(samples, { shuffle: true, threads: 4 }),
  );
});

t.test('permutations are fair', async (t) => {
  // All 24 orders of 4 items, over seeds and over epochs: chi-squared with 23 degrees of freedom, p = 0.001 at 49.7.
  for (const of of [(i: number) => permutation(4, i, 0), (i: number) => permutation(4, 0, i)]) {
    const counts = new Map<string, number>();
    for (let i = 0; i < 24_000; i++) counts.set(of(i).join(), (counts.get(of(i).join()) ?? 0) + 1);
    t.equal(counts.size, 24);
    const chi2 = [...counts.values()].reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
    t.ok(chi2 < 49.7, `chi-squared ${chi2.toFixed(1)}`);
  }
  t.notSame(permutation(10, 2 ** 40, 0), permutation(10, 0, 0), 'the high half of a seed counts');
});

t.test('a batch stays as it is until the batch after the next is asked for', async (t) => {
  const samples = await greys(t.testdir(), 24);
  const iterator = new BatchLoader(samples, { ...options, prefetch: 1 })[Symbol.asyncIterator]();
  let held = (await iterator.next()).value as ImageBatch;
  const arrays = new Set([held.data.buffer]);
  for (;;) {
    const before = copy(held);
    const { value, done } = await iterator.next();
    if (done) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
    t.same(copy(held), before);
    held = value as ImageBatch;
    arrays.add(held.data.buffer);
  }
  t.equal(arrays.size, 3, 'prefetch + 2 arrays serve six batches');
});

t.test('unreadable images fail with their path, or are skipped and listed', async (t) => {
  const samples = await greys(t.testdir(), 10);
  for (const index of [1, 4, 5, 6, 7]) await writeFile((samples[index] as Sample).path, 'no image');
  await t.rejects(pass(samples), { code: 'IMAGE_UNREADABLE', message: samples[1]?.path as string });
  const loader = new BatchLoader(samples, { ...options, unreadable: 'skip' });
  const kept: ReturnType<typeof copy>[] = [];
  for await (const batch of loader) kept.push(copy(batch));
  t.same(
    kept.map(({ indices }) => indices),
    [
      [0, 2, 3],
      [8, 9],
    ],
    'the batch without readable images is not given',
  );
  t.same(kept[0]?.shape, [3, 16, 16, 3]);
  t.same(kept[0]?.labels, [0, 2, 0]);
  t.same(kept[0]?.sizes, [30, 25, 32, 25, 33, 25]);
  t.ok(kept[0]?.data.slice(768, 1536).every((value) => value === 20));
  t.same(
    loader.skipped.map(({ path }) => path),
    [1, 4, 5, 6, 7].map((index) => samples[index]?.path),
  );
  t.match(loader.skipped[0]?.reason, /Cannot decode/);
});

t.test('abort and break stop the decoding and leave nothing behind', async (t) => {
  const unhandled: unknown[] = [];
  const onUnhandled = (reason: unknown) => unhandled.push(reason);
  process.on('unhandledRejection', onUnhandled);
  t.teardown(() => process.off('unhandledRejection', onUnhandled));
  const good = await greys(t.testdir(), 12);
  // Every batch after the first is bad: nobody waits for these failures once the loop is left.
  const samples = [
    ...good.slice(0, 4),
    ...Array.from({ length: 100 }, () => ({ path: 'missing.png', label: 0 })),
  ];
  for await (const batch of new BatchLoader(samples, options)) {
    t.equal(batch.paths.length, 4);
    break;
  }
  const controller = new AbortController();
  const aborted = async () => {
    let count = 0;
    for await (const _ of new BatchLoader(good, { ...options, batchSize: 1, signal: controller.signal })) {
      if (++count === 2) controller.abort(new Error('enough'));
      t.ok(count <= 2, 'no batch after the abort');
    }
  };
  await t.rejects(aborted(), { code: 'ABORTED', cause: { message: 'enough' } });
  await t.rejects(pass(good, { signal: AbortSignal.abort() }), { code: 'ABORTED' });
  t.equal(sharp.counters().process + sharp.counters().queue, 0, 'nothing is being decoded');
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.same(unhandled, []);
});

t.test('decodes at most `prefetch` batches ahead', async (t) => {
  const samples = await greys(t.testdir(), 24);
  const iterator = new BatchLoader(samples, { ...options, batchSize: 2, prefetch: 2 })[
    Symbol.asyncIterator
  ]();
  await iterator.next();
  // Batches 0 to 2 may have been read; those from 3 on are read only when asked for.
  await new Promise((resolve) => setTimeout(resolve, 300));
  const late = samples[6] as Sample;
  await copyFile((samples[1] as Sample).path, late.path);
  for (let number = 1; number < 3; number++) await iterator.next();
  const { value } = await iterator.next();
  t.equal((value as ImageBatch).data[0], 10, 'it was read after it was changed');
  await iterator.return();
});

t.test('memory does not grow with the data set', async (t) => {
  const samples = Array.from({ length: 1600 }, (_, i) => ({ path: fixture, label: i % 2 }));
  const bytes = 1600 * 128 * 128 * 3;
  const large = completePreprocessing({ size: 128 });
  let start = 0;
  let peak = 0;
  let seen = 0;
  for await (const batch of new BatchLoader(samples, { ...options, preprocessing: large, batchSize: 16 })) {
    seen += batch.paths.length;
    const { rss } = process.memoryUsage();
    if (seen === 320) start = rss;
    peak = Math.max(peak, rss);
  }
  t.equal(seen, 1600);
  const grown = peak - start;
  t.ok(
    grown < bytes / 2,
    `grew by ${(grown / 1e6).toFixed(0)} MB while ${(bytes / 1e6).toFixed(0)} MB passed`,
  );
});

t.test('pixels are those of decodeImage', async (t) => {
  const alone = new Uint8Array(768);
  await decodeImage(readFileSync(fixture), preprocessing, 'eval', alone, 0);
  const [batch] = await pass([{ path: fixture, label: 0 }]);
  t.same(batch?.data, [...alone]);
});

t.test('refuses options that make no sense', async (t) => {
  t.throws(() => new BatchLoader([], { ...options, batchSize: 0 }), {
    code: 'INVALID_VALUE',
    message: /batchSize/,
  });
  t.throws(() => new BatchLoader([], { ...options, batchsize: 1 } as never), { code: 'INVALID_TYPE' });
  t.throws(() => new BatchLoader([], { view: 'eval', batchSize: 1 } as never), { code: 'INVALID_TYPE' });
});
