/** Decoded images are kept within a budget, and what comes out of the store is what was decoded. */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import t from 'tap';
import type { Sample } from '../src/data/dataset.js';
import { completePreprocessing } from '../src/data/preprocessing.js';
import { BatchLoader, type BatchLoaderOptions, DecodedImages, fineTune } from '../src/index.js';
import { defects, open, quick } from './defects.js';

const preprocessing = completePreprocessing({ size: 16, resize: 20 });
const imageBytes = 16 * 16 * 3;
const options: BatchLoaderOptions = { preprocessing, view: 'eval', batchSize: 4 };

/** Photographs of noise, no two alike, JPEGs and PNGs. */
async function noise(dir: string, count: number): Promise<Sample[]> {
  const samples: Sample[] = [];
  for (let i = 0; i < count; i++) {
    const pixels = Uint8Array.from({ length: 30 * 25 * 3 }, (_, at) => (at * (i + 7) * 2654435761) >>> 24);
    const path = join(dir, i % 2 ? `${i}.png` : `${i}.jpg`);
    await sharp(pixels, { raw: { width: 30, height: 25, channels: 3 } }).toFile(path);
    samples.push({ path, label: i % 3 });
  }
  return samples;
}

async function pass(samples: Sample[], more: Partial<BatchLoaderOptions> = {}) {
  const loader = new BatchLoader(samples, { ...options, ...more });
  const batches: unknown[] = [];
  for await (const { data, labels, indices, sizes, digests, ...rest } of loader) {
    const arrays = { data, labels, indices, sizes, ...(digests && { digests }) };
    batches.push({ ...rest, ...Object.fromEntries(Object.entries(arrays).map(([k, v]) => [k, [...v]])) });
  }
  const { decodes, decodeSeconds, waitedSeconds, skipped } = loader;
  return { batches, decodes, decodeSeconds, waitedSeconds, skipped: [...skipped] };
}

t.test('a second pass decodes nothing and gives the same bytes, in its own order', async (t) => {
  const samples = await noise(t.testdir(), 10);
  const decoded = new DecodedImages();
  const epoch = (number: number) => ({ shuffle: true, seed: 3, epoch: number });
  const plain = [await pass(samples, epoch(1)), await pass(samples, epoch(2))];
  const first = await pass(samples, { ...epoch(1), decoded });
  t.equal(first.decodes, 10);
  t.ok(first.decodeSeconds > 0);
  t.same(first.batches, plain[0]?.batches);
  t.equal(decoded.count, 10);
  for (const { path } of samples) await rm(path);
  const second = await pass(samples, { ...epoch(2), decoded });
  t.equal(second.decodes, 0);
  t.equal(second.decodeSeconds, 0);
  t.same(second.batches, plain[1]?.batches);
  decoded.dispose();
  t.same([decoded.count, decoded.bytes], [0, 0]);
  await t.rejects(pass(samples, { decoded }), { code: 'FILE_NOT_FOUND' });
});

t.test('keeps to its budget; the rest is decoded in each pass', async (t) => {
  const samples = await noise(t.testdir(), 10);
  const plain = await pass(samples);
  const decoded = new DecodedImages({ maxBytes: 3 * imageBytes + 100 });
  for (const decodes of [10, 7, 7]) {
    const { batches, decodes: counted } = await pass(samples, { decoded });
    t.equal(counted, decodes);
    t.same(batches, plain.batches);
    t.equal(decoded.bytes, 3 * imageBytes);
  }
  t.equal(decoded.count, 3);
  const none = new DecodedImages({ maxBytes: 0 });
  await pass(samples, { decoded: none });
  t.equal((await pass(samples, { decoded: none })).decodes, 10);
  t.equal(none.bytes, 0);
});

t.test('views, preprocessings and lists of samples share the budget and nothing else', async (t) => {
  const samples = await noise(t.testdir(), 4);
  const other = samples.slice(0, 2);
  const decoded = new DecodedImages();
  const larger = { preprocessing: completePreprocessing({ size: 18, resize: 20 }) };
  const asked: [Sample[], Partial<BatchLoaderOptions>][] = [
    [samples, {}],
    [samples, { view: 'canvas' }],
    [samples, larger],
    [other, {}],
  ];
  for (const [list, more] of asked) {
    const plain = await pass(list, more);
    t.equal((await pass(list, { ...more, decoded })).decodes, list.length);
    const again = await pass(list, { ...more, decoded });
    t.equal(again.decodes, 0);
    t.same(again.batches, plain.batches);
  }
  t.equal(decoded.bytes, (4 * 16 ** 2 + 4 * 20 ** 2 + 4 * 18 ** 2 + 2 * 16 ** 2) * 3);
  // Mean and std are applied later: they make no other pixels.
  const signed = { preprocessing: { ...preprocessing, mean: [0.5, 0.5, 0.5] as [number, number, number] } };
  t.equal((await pass(samples, { ...signed, decoded })).decodes, 0);
});

t.test('more images than one chunk of memory holds', async (t) => {
  const [sample] = (await noise(t.testdir(), 1)) as [Sample];
  // 8 MiB hold 10 canvases of 512 x 512.
  const samples = Array.from({ length: 25 }, () => ({ ...sample }));
  const decoded = new DecodedImages();
  const large = { preprocessing: completePreprocessing({ size: 512, resize: 512 }), decoded };
  const sums = async () => {
    const list: number[] = [];
    const loader = new BatchLoader(samples, { ...options, ...large });
    for await (const { data, shape } of loader) {
      for (let row = 0; row < shape[0]; row++) {
        const pixels = data.subarray(row * 512 * 512 * 3, (row + 1) * 512 * 512 * 3);
        list.push(pixels.reduce((sum, value) => sum + value, 0));
      }
    }
    return { list, decodes: loader.decodes };
  };
  const first = await sums();
  t.equal(new Set(first.list).size, 1);
  t.same(await sums(), { list: first.list, decodes: 0 });
  t.equal(decoded.bytes, 25 * 512 * 512 * 3);
});

t.test('unreadable images are skipped and reported in every pass', async (t) => {
  const samples = await noise(t.testdir(), 6);
  for (const index of [1, 4]) await writeFile((samples[index] as Sample).path, 'no image');
  const decoded = new DecodedImages();
  for (const decodes of [6, 2, 2]) {
    const result = await pass(samples, { unreadable: 'skip', decoded, digests: true });
    t.equal(result.decodes, decodes);
    t.same(
      result.skipped.map(({ path }) => path),
      [samples[1]?.path, samples[4]?.path],
    );
    t.same(result.batches, (await pass(samples, { unreadable: 'skip', digests: true })).batches);
  }
  await t.rejects(pass(samples, { decoded }), {
    code: 'IMAGE_UNREADABLE',
    message: samples[1]?.path as string,
  });
});

t.test('digests are those of the files, decoded or kept', async (t) => {
  const samples = await noise(t.testdir(), 6);
  const hashes = samples.map(({ path }) => [...createHash('sha256').update(readFileSync(path)).digest()]);
  const plain = await pass(samples);
  const decoded = new DecodedImages();
  await pass(samples, { decoded });
  for (const decodes of [6, 0]) {
    const result = await pass(samples, { decoded, digests: true, batchSize: 6 });
    t.equal(result.decodes, decodes, 'kept without a digest, an image is read again for it, once');
    t.same(result.batches, [{ ...(result.batches[0] as object), digests: hashes.flat() }]);
  }
  t.notOk((plain.batches[0] as object).hasOwnProperty('digests'));
  for (const [bad, code] of [
    ['missing.jpg', 'FILE_NOT_FOUND'],
    [t.testdirName, 'IMAGE_UNREADABLE'],
  ] as const) {
    await t.rejects(pass([{ path: bad, label: 0 }], { digests: true }), { code, message: bad });
  }
});

t.test('the time spent waiting is part of the time that passed', async (t) => {
  const samples = await noise(t.testdir(), 8);
  const start = performance.now();
  const { waitedSeconds } = await pass(samples);
  t.ok(waitedSeconds > 0);
  t.ok(waitedSeconds <= (performance.now() - start) / 1000);
});

t.test('the default budget is a share of free memory, 2 GiB at most', async (t) => {
  const { maxBytes } = new DecodedImages();
  t.ok(maxBytes > 0 && maxBytes <= 2 ** 31, `${maxBytes} bytes`);
  t.throws(() => new DecodedImages({ maxBytes: -1 }), { code: 'INVALID_VALUE', message: /maxBytes/ });
  t.throws(() => new DecodedImages({ maxbytes: 1 } as never), { code: 'INVALID_TYPE', message: /maxBytes/ });
});

t.test('fineTune reads no file after the first epoch', async (t) => {
  const dir = t.testdir();
  const data = defects(8, 4);
  for (const split of [data.splits.train, data.splits.val]) {
    for (const [i, sample] of split.entries()) {
      const path = join(dir, `${split === data.splits.val}-${i}.jpg`);
      await writeFile(path, readFileSync(sample.path));
      sample.path = path;
    }
  }
  const model = await open(t);
  const run = fineTune(model, data, { ...quick, epochs: 3 });
  const shares: number[] = [];
  for await (const { epoch, waitShare } of run) {
    shares.push(waitShare);
    if (epoch === 1) for (const { path } of [...data.splits.train, ...data.splits.val]) await rm(path);
  }
  t.equal(run.result?.ended, 'finished');
  t.equal(run.baseline?.waitShare, 0);
  t.ok(shares.length === 3 && shares.every((share) => share >= 0 && share <= 1), shares.join());
  const again = fineTune(await open(t), data, { ...quick, epochs: 3, decodedBytes: 0 });
  await t.rejects(
    async () => {
      for await (const _ of again);
    },
    { code: 'FILE_NOT_FOUND' },
  );
});
