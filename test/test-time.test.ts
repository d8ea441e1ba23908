/** Test-time augmentation: torchvision's windows, and the mean of the probabilities of all views. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { loadImages } from '../src/data/images.js';
import {
  BatchLoader,
  type Classifier,
  completePreprocessing,
  loadClassifier,
  type TestTimeAugmentation,
} from '../src/index.js';
import { torchgraft } from './command-line.js';
import { defects, defectsFolder, open, quick, train } from './defects.js';

interface Fixture {
  resize: number;
  size: number;
  cases: { name: string; file: string; five: string[]; ten: string[] }[];
}

const path = fileURLToPath(new URL('./fixtures/training/test-time.json.gz', import.meta.url));
const { resize, size, cases } = JSON.parse(gunzipSync(readFileSync(path)).toString()) as Fixture;
const preprocessing = completePreprocessing({ size, resize });
const bytes = size * size * 3;

/** Rows of pixels the other way round. */
function mirrored(pixels: Buffer): Buffer {
  const result = Buffer.alloc(pixels.length);
  for (let at = 0; at < pixels.length; at += 3) {
    const x = (at / 3) % size;
    pixels.copy(result, at + (size - 1 - 2 * x) * 3, at, at + 3);
  }
  return result;
}

const data = defects(12, 6);
const images = data.splits.val.map((sample) => sample.path);
const folder = t.testdir();
const file = join(folder, 'model.pt');
const model = await open(t);
await train(model, data, { ...quick, strategy: 'full', learningRate: 0.01 });
await model.save(file);
const classifier = await loadClassifier(file, { device: 'cpu', threads: 1 });
t.teardown(() => classifier.dispose());

t.test('windows are those of FiveCrop and TenCrop, to the last bit', async (t) => {
  for (const { name, file, five, ten } of cases) {
    const { data, shape } = await loadImages([Buffer.from(file, 'base64')], preprocessing, { corners: true });
    t.same(shape, [5, size, size, 3]);
    const windows = Array.from({ length: 5 }, (_, i) =>
      Buffer.from(data.subarray(i * bytes, (i + 1) * bytes)),
    );
    const [centre, ...corners] = windows.map((window) => window.toString('base64'));
    t.same([...corners, centre], five, name);
    // Of an odd margin torchvision's second centre lies a pixel beside.
    if (name.includes('odd')) continue;
    const both = [...windows, ...windows.map(mirrored)].map((window) => window.toString('base64'));
    t.same(both.sort(), [...ten].sort(), `${name}: with mirror images`);
  }
});

/** Probabilities of pixels [size, size, 3] that the model sees as they are. */
async function probabilitiesOf(pixels: Buffer): Promise<number[]> {
  const inputs = [{ data: new Uint8Array(pixels), shape: [1, size, size, 3], dtype: 'uint8' as const }];
  const { logits } = await model.native.evaluate({ inputs });
  const powers = Array.from(logits.data as Float32Array, Math.exp);
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

/** By hand: windows one by one, and their mean. */
async function meanOf(image: string, way: TestTimeAugmentation): Promise<number[]> {
  const seen = completePreprocessing(quick.preprocessing);
  const loaded = await loadImages([image], seen, { corners: way !== 'flip' });
  const windows = Array.from({ length: loaded.shape[0] }, (_, i) =>
    Buffer.from(loaded.data.subarray(i * bytes, (i + 1) * bytes)),
  );
  const views = way === 'five-crop' ? windows : [...windows, ...windows.map(mirrored)];
  const all: number[][] = [];
  for (const view of views) all.push(await probabilitiesOf(view));
  return (all[0] as number[]).map(
    (_, c) => all.reduce((sum, row) => sum + (row[c] as number), 0) / all.length,
  );
}

async function predicted(of: Classifier, tta: TestTimeAugmentation, batchSize = 32): Promise<number[][]> {
  const predictions = await of.predict(images, { tta, top: 99, batchSize });
  return predictions.map(({ top }) =>
    [...top].sort((a, b) => a.index - b.index).map(({ probability }) => probability),
  );
}

for (const way of ['flip', 'five-crop', 'ten-crop'] as const) {
  t.test(`${way}: the mean of the views' probabilities`, async (t) => {
    const actual = await predicted(classifier, way);
    const small = await predicted(classifier, way, 3);
    for (const [i, image] of images.entries()) {
      for (const [c, wanted] of (await meanOf(image, way)).entries()) {
        t.ok(Math.abs((actual[i]?.[c] as number) - wanted) < 1e-5);
        t.ok(Math.abs((small[i]?.[c] as number) - wanted) < 1e-5, 'in small batches');
      }
    }
    const { scores, metrics, predictions } = await classifier.evaluate(data, { tta: way, batchSize: 20 });
    t.equal(metrics.count, images.length);
    t.same(
      predictions.map((each) => each.path),
      images,
    );
    for (const [i, row] of actual.entries()) {
      for (const [c, wanted] of row.entries()) {
        t.ok(Math.abs((scores.probabilities[i * row.length + c] as number) - wanted) < 1e-5, 'evaluate');
      }
    }
    const truth = data.splits.val.map(({ label }, i) => -Math.log(actual[i]?.[label] as number));
    t.ok(Math.abs(metrics.loss - truth.reduce((a, b) => a + b) / truth.length) < 1e-4, 'loss');
  });
}

t.test('views differ from the image alone', async (t) => {
  const { scores: plain } = await classifier.evaluate(data);
  const { scores: ten } = await classifier.evaluate(data, { tta: 'ten-crop' });
  t.notSame(Array.from(ten.probabilities), Array.from(plain.probabilities));
});

t.test('what has no corners is refused, and an unknown way', async (t) => {
  const squashed = await open(t);
  const seen = { size: 32, resize: 36, crop: 'none' as const };
  await train(squashed, data, { ...quick, preprocessing: seen });
  const other = join(folder, 'squashed.pt');
  await squashed.save(other);
  const without = await loadClassifier(other, { device: 'cpu', threads: 1 });
  t.teardown(() => without.dispose());
  await t.rejects(without.evaluate(data, { tta: 'five-crop' }), { code: 'INVALID_VALUE', message: /`flip`/ });
  await t.rejects(without.predict(images, { tta: 'ten-crop' }), { code: 'INVALID_VALUE' });
  t.equal((await without.predict(images, { tta: 'flip' })).length, images.length);
  const wrong = 'seven-crop' as TestTimeAugmentation;
  await t.rejects(classifier.predict(images, { tta: wrong }), { code: 'INVALID_VALUE', message: /tta/ });
});

t.test('the addon refuses rows that are no whole images', async (t) => {
  const inputs = [{ data: new Uint8Array(3 * bytes), shape: [3, size, size, 3], dtype: 'uint8' as const }];
  await t.rejects(model.native.evaluate({ inputs, crops: 2 }), { code: 'SHAPE_MISMATCH' });
  t.throws(() => model.native.evaluate({ inputs, crops: 0 }), { code: 'INVALID_VALUE' });
  const { logits } = await model.native.evaluate({ inputs, crops: 3, mirrored: true });
  t.equal(logits.shape[0], 1);
});

t.test('the loader puts the corners behind each image', async (t) => {
  const samples = data.splits.val.slice(0, 3);
  for await (const batch of new BatchLoader(samples, {
    preprocessing,
    view: 'eval',
    corners: true,
    batchSize: 3,
  })) {
    const alone = await loadImages(batch.paths, preprocessing, { corners: true });
    t.same(batch.shape, [15, size, size, 3]);
    t.same(Buffer.compare(batch.data, alone.data), 0);
  }
});

t.test('on the command line', async (t) => {
  const common = ['--threads', '1', '--device', 'cpu', '--json', '--tta'];
  const evaluated = await torchgraft(['eval', file, '--data', defectsFolder, ...common, 'five-crop']);
  t.equal(evaluated.code, 0, evaluated.stderr);
  const { tta, metrics } = JSON.parse(evaluated.stdout);
  t.equal(tta, 'five-crop');
  t.ok(metrics.count > images.length);
  const [image] = images as [string];
  const asked = await torchgraft(['predict', file, image, '--top', '99', ...common, 'ten-crop']);
  t.equal(asked.code, 0, asked.stderr);
  const [{ top }] = JSON.parse(asked.stdout).predictions as [
    { top: { index: number; probability: number }[] },
  ];
  const wanted = await meanOf(image, 'ten-crop');
  for (const { index, probability } of top) t.ok(Math.abs(probability - (wanted[index] as number)) < 1e-5);
  const wrong = await torchgraft(['eval', file, '--data', defectsFolder, '--tta', 'six-crop']);
  t.match(wrong.stderr, /five-crop/);
});
