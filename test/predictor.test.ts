/** The predictor's answers are the classifier's; its options, its numbers, and what is left when it has gone. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import t from 'tap';
import { loadAddon } from '../src/addon.js';
import { decodeImage } from '../src/data/decode.js';
import { completePreprocessing } from '../src/data/preprocessing.js';
import { copyWindow, rawWindow } from '../src/data/raw-window.js';
import { createPredictor, loadClassifier, loadModel, type PredictorOptions } from '../src/index.js';
import type { NativeModel, OptimiseRequest } from '../src/native.js';
import { optimise } from '../src/predictor/serving.js';
import { rank } from '../src/ranking.js';
import { threadBudget } from '../src/thread-budget.js';
import { defects, residual } from './defects.js';
import { cardOf, grey, pixels, predictor, red, saveModel } from './predictors.js';

const images = defects(6, 6).splits.val.map(({ path }) => path);
const folder = t.testdir();
const file = await saveModel(folder, 'grey', grey);
const { live } = loadAddon();

/** Rows of a batch differ in their last bits from images computed alone, and optimised models a little more. */
const isNear = (a: Float32Array, b: Float32Array) =>
  a.length === b.length && a.every((value, i) => Math.abs(value - (b[i] as number)) < 1e-4);

t.test('the logits and classes are those of the classifier, alone and in batches', async (t) => {
  const served = await predictor(t, file);
  await using classifier = await loadClassifier(file, { device: 'cpu', threads: 1 });
  t.same(served.classes, grey.classes);
  t.same(served.card, classifier.card);
  const expected = await classifier.predict(images);
  const alone = [];
  for (const image of images) alone.push(await served.predict(image));
  const together = await served.predictMany(images);
  const bytes = await served.predictMany(images.map((path) => readFileSync(path)));
  for (const [i, { logits, top }] of expected.entries()) {
    for (const found of [alone[i], together[i], bytes[i]]) {
      t.ok(found && isNear(found.logits, logits), `${images[i]}`);
      t.same(
        found?.top.map(({ index, class: name }) => [index, name]),
        top.map(({ index, class: name }) => [index, name]),
      );
    }
  }
  t.same(await served.predictMany([]), []);
});

t.test('raw pixels that need no resizing are what sharp makes of them', async (t) => {
  for (const [width, height, parts] of [
    [32, 32, { size: 32, resize: 32 }],
    [36, 36, { size: 32, resize: 36 }],
    [50, 36, { size: 32, resize: 36 }],
    [37, 61, { size: 31, resize: 37 }],
    [32, 32, { size: 32, resize: 36, crop: 'none' }],
  ] as const) {
    const preprocessing = completePreprocessing(parts);
    const data = Uint8Array.from({ length: width * height * 3 }, (_, i) => (i * i) % 253);
    const image = { data, width, height, channels: 3 as const };
    const window = rawWindow(image, preprocessing);
    const bytes = preprocessing.size ** 2 * 3;
    const [copied, decoded] = [new Uint8Array(bytes + 5), new Uint8Array(bytes + 5)];
    if (window) copyWindow(window, copied, 5);
    await decodeImage(image, preprocessing, 'eval', decoded, 5);
    t.same(copied, decoded, `${width} x ${height} for ${JSON.stringify(parts)}`);
    t.ok(copied.subarray(5).some((value) => value > 0));
  }
});

t.test('everything else goes through sharp', async (t) => {
  const { preprocessing } = cardOf(grey);
  const raw = (width: number, height: number, channels: 1 | 3 | 4) => {
    return { data: new Uint8Array(width * height * channels), width, height, channels };
  };
  for (const image of [raw(32, 32, 3), raw(37, 37, 3), raw(36, 36, 4), raw(36, 36, 1), images[0] as string]) {
    t.equal(rawWindow(image, preprocessing), undefined);
  }
});

t.test('prepared pixels are seen as they are', async (t) => {
  const served = await predictor(t, file);
  const path = images[0] as string;
  const data = new Uint8Array(32 * 32 * 3);
  await decodeImage(path, served.card.preprocessing, 'eval', data, 0);
  const { logits } = await served.predict(path);
  t.ok(isNear((await served.predictPixels(data)).logits, logits));
  t.ok(isNear((await served.predictPixels(new Uint8ClampedArray(data))).logits, logits));
  await t.rejects(served.predictPixels(data.subarray(3)), {
    code: 'INVALID_VALUE',
    message: /32 x 32 pixels .* 3072 in all, got 3069\. Use predict\(\)/,
  });
  await t.rejects(served.predictPixels([1, 2] as unknown as Uint8Array), { code: 'INVALID_TYPE' });
  const { data: wide, info } = await sharp(path).raw().toBuffer({ resolveWithObject: true });
  const raw = { data: wide, width: info.width, height: info.height, channels: 3 as const };
  t.ok(isNear((await served.predict(raw)).logits, logits), 'raw pixels of another size are resized');
});

t.test('the largest few of many, in order, with the softmax of all', async (t) => {
  const logits = Float32Array.from({ length: 500 }, (_, i) => Math.fround(Math.sin(i * i) * 5));
  logits[77] = logits[401] as number;
  const classes = Array.from(logits, (_, i) => `class ${i}`);
  const order = [...logits.keys()].sort((a, b) => Number(logits[b]) - Number(logits[a]) || a - b);
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
  for (const top of [1, 2, 5, 499, 500, 9999]) {
    const ranked = rank(logits, classes, top);
    t.same(
      ranked.top.map(({ index }) => index),
      order.slice(0, top),
      `top ${top}`,
    );
    for (const { class: name, index, probability } of ranked.top) {
      if (
        name !== classes[index] ||
        Math.abs(probability - Math.exp(logits[index] as number) / total) > 1e-9
      ) {
        t.fail(`class ${index}: ${name} ${probability}`);
      }
    }
  }
});

t.test('options that are none are refused by name, before anything is loaded', async (t) => {
  const refused: [object, string, RegExp][] = [
    [
      { maxBatches: 8 },
      'INVALID_TYPE',
      /createPredictor: unknown option `maxBatches`\. Did you mean `maxBatch`/,
    ],
    [{ maxBatch: 0 }, 'INVALID_VALUE', /`maxBatch`/],
    [{ maxBatch: 2.5 }, 'INVALID_TYPE', /`maxBatch`/],
    [{ maxBatch: 1025 }, 'INVALID_VALUE', /`maxBatch`/],
    [{ maxDelayMs: -1 }, 'INVALID_VALUE', /`maxDelayMs`/],
    [{ maxDelayMs: '2' }, 'INVALID_TYPE', /`maxDelayMs`/],
    [{ maxQueue: 0 }, 'INVALID_VALUE', /`maxQueue`/],
    [{ threads: 0 }, 'INVALID_VALUE', /`threads`/],
    [{ precision: 'int4' }, 'INVALID_VALUE', /`precision`/],
    [{ device: 7 }, 'INVALID_TYPE', /`device`/],
  ];
  for (const [options, code, message] of refused) {
    await t.rejects(createPredictor('nowhere.pt', options as PredictorOptions), { code, message });
  }
  const served = await predictor(t, file);
  const image = images[0] as string;
  await t.rejects(served.predict(image, { tops: 1 } as object), { code: 'INVALID_TYPE', message: /`top`/ });
  await t.rejects(served.predict(image, { top: 0 }), { code: 'INVALID_VALUE', message: /predict: `top`/ });
  await t.rejects(served.predict(''), {
    code: 'INVALID_VALUE',
    message: /predict: the image: the path is empty/,
  });
  await t.rejects(served.predict([image] as unknown as string), { code: 'INVALID_TYPE' });
  await t.rejects(served.predictMany(image as unknown as string[]), {
    code: 'INVALID_TYPE',
    message: /a list/,
  });
  await t.rejects(served.predictMany([image, 3 as unknown as string]), {
    code: 'INVALID_TYPE',
    message: /predictMany: image 1: expected a path/,
  });
  t.equal(served.stats().requests, 0, 'they are no requests');
});

t.test('files that cannot serve are refused, and leave nothing alive', async (t) => {
  const before = live().models;
  const text = join(folder, 'text.pt');
  writeFileSync(text, 'no model');
  const mislabelled = join(folder, 'mislabelled.pt');
  const model = await loadModel(residual, { device: 'cpu', threads: 1 });
  await model.replaceHead({ classes: 4, imageSize: 32 });
  await model.save(mislabelled, cardOf(grey));
  await model.dispose();
  const options = { device: 'cpu', threads: 1 };
  await t.rejects(createPredictor('nowhere.pt', options), { code: 'FILE_NOT_FOUND' });
  await t.rejects(createPredictor(text, options), { code: 'MODEL_UNREADABLE' });
  await t.rejects(createPredictor(residual, options), { code: 'NOT_A_CLASSIFIER' });
  await t.rejects(createPredictor(mislabelled, options), {
    code: 'MODEL_FAILED',
    message: /mislabelled\.pt gives outputs \[1, 4\] for 1 image, and its card names 6 classes/,
  });
  t.same(live(), { models: before, tasks: 0 });
});

t.test('the optimiser is asked for the precision, on images as the model sees them', async (t) => {
  const asked: OptimiseRequest[] = [];
  const made = { precision: 'bfloat16', layout: 'channels-last', difference: 0.01, seconds: 1 };
  const native = {
    optimise: async (request: OptimiseRequest) => {
      asked.push(request);
      return made;
    },
  } as unknown as NativeModel;
  t.same(await optimise(native, cardOf(red), 'bfloat16', pixels(0, 24)), made);
  t.match(asked, [
    {
      precision: 'bfloat16',
      example: { shape: [1, 24, 24, 3], dtype: 'uint8', data: { length: 24 * 24 * 3 } },
      preprocess: { size: [24, 24], mean: [0.485, 0.456, 0.406] },
    },
  ]);
});

t.test('stats count what happened, and where the time went', async (t) => {
  const served = await predictor(t, file, { maxBatch: 4, maxQueue: 6 });
  t.match(served.stats(), {
    requests: 0,
    batches: 0,
    batchSizes: {},
    queueLength: 0,
    running: 0,
    imagesPerSecond: 0,
    latencyMs: { total: { count: 0, mean: 0, p50: 0, p90: 0, p99: 0, max: 0 } },
    swaps: 0,
    model: { name: 'grey.pt', sha256: /^[0-9a-f]{64}$/, classes: 6, device: 'cpu', precision: 'float32' },
  });
  await served.predict(images[0] as string);
  await served.predictMany(images.slice(0, 6));
  await t.rejects(served.predictMany(images.slice(0, 5).concat(images)), { code: 'QUEUE_FULL' });
  await t.rejects(served.predict('nowhere.jpg'), { code: 'FILE_NOT_FOUND' });
  await t.rejects(served.predict(images[0] as string, { signal: AbortSignal.abort() }), { code: 'ABORTED' });
  const { batchSizes, latencyMs, ...stats } = served.stats();
  t.match(stats, {
    requests: 20,
    served: 7,
    rejected: 11,
    failed: 1,
    aborted: 1,
    queueLength: 0,
    running: 0,
  });
  const sizes = Object.entries(batchSizes).map(([size, count]) => [Number(size), count] as const);
  t.equal(
    sizes.reduce((sum, [size, count]) => sum + size * count, 0),
    7,
    'images in batches',
  );
  t.equal(
    sizes.reduce((sum, [, count]) => sum + count, 0),
    stats.batches,
  );
  t.ok(sizes.every(([size]) => size <= 4));
  t.ok(stats.imagesPerSecond > 0);
  for (const { count, p50, p90, p99, max, mean } of Object.values(latencyMs)) {
    t.equal(count, 7);
    t.ok(p50 > 0 && p50 <= p90 && p90 <= p99 && p99 <= max * 1.01 && mean <= max);
  }
  t.ok(latencyMs.total.mean >= latencyMs.compute.mean);
  const parts = latencyMs.queue.mean + latencyMs.decode.mean + latencyMs.compute.mean;
  t.ok(
    Math.abs(parts - latencyMs.total.mean) < 0.05 * latencyMs.total.mean + 0.05,
    'the parts are the whole',
  );
});

t.test('the first that fails withdraws the rest of its list', async (t) => {
  const served = await predictor(t, file, { maxBatch: 1 });
  const list = ['nowhere.jpg', ...images, ...images];
  await t.rejects(served.predictMany(list), { code: 'FILE_NOT_FOUND', message: /nowhere\.jpg/ });
  const { failed, aborted, served: answered } = served.stats();
  t.equal(failed, 1);
  t.ok(aborted > 0);
  t.equal(failed + aborted + answered, list.length);
});

t.test('two predictors at once never take more threads than the budget', async (t) => {
  const { threads } = threadBudget;
  const [one, two] = [await predictor(t, file, { threads }), await predictor(t, file, { threads })];
  const load = async (served: typeof one, client: number) => {
    for (let i = 0; i < 10; i++) {
      if (client % 2) await served.predictPixels(pixels(i));
      else await served.predict(images[i % images.length] as string);
      const { computing, decoding } = threadBudget.use();
      if (computing > threads || decoding > threads) t.fail(`${computing} and ${decoding} of ${threads}`);
    }
  };
  await Promise.all([one, two].flatMap((served) => [0, 1, 2, 3].map((client) => load(served, client))));
  t.same([one.stats().served, two.stats().served], [40, 40]);
  t.match(threadBudget.use(), { computing: 0, decoding: 0, mostComputing: threads });
});

t.test('nothing is alive after dispose, and await using disposes', async (t) => {
  const before = live();
  {
    await using served = await createPredictor(file, { device: 'cpu', threads: 1 });
    t.equal(live().models, before.models + 1);
    await served.predictMany(images);
  }
  t.same(live(), before);
});
