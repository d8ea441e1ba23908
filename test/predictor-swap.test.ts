/** Another model takes the place of the one that serves, or everything ends, while requests come without a pause. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadAddon } from '../src/addon.js';
import { loadClassifier, type Prediction, type Predictor } from '../src/index.js';
import { threadBudget } from '../src/thread-budget.js';
import { defects } from './defects.js';
import { grey, pixels, predictor, red, saveModel, turns, until } from './predictors.js';

const images = defects(6, 6).splits.val.map(({ path }) => path);
const folder = t.testdir();
const files = { grey: await saveModel(folder, 'grey', grey), red: await saveModel(folder, 'red', red) };
const { live } = loadAddon();

/** Logits of every image by model. */
const known: Record<string, Float32Array[]> = {};
for (const [name, file] of Object.entries(files)) {
  await using classifier = await loadClassifier(file, { device: 'cpu', threads: 1 });
  known[name] = (await classifier.predict(images)).map(({ logits }) => logits);
}

/** Which model a prediction for image `i` is wholly from: its names, their number and its logits. */
function modelOf({ top, logits }: Prediction, i: number): string {
  for (const [name, { classes }] of Object.entries({ grey, red })) {
    const expected = known[name]?.[i];
    const isIts = logits.every((value, at) => Math.abs(value - Number(expected?.[at])) < 1e-4);
    const areNamed = top.every((one) => one.class === classes[one.index]);
    if (logits.length === classes.length && isIts && areNamed) return name;
  }
  return 'neither';
}

/** Clients that ask one image after another until they are stopped; which models answered, and errors by code. */
function askWithoutPause(served: Predictor, clients: number) {
  const counts: Record<string, number> = { grey: 0, red: 0 };
  let isOver = false;
  const ask = async (client: number) => {
    for (let i = client; !isOver; i++) {
      const image = i % images.length;
      const outcome = await served.predict(images[image] as string, { top: 9 }).then(
        (prediction) => modelOf(prediction, image),
        ({ code }) => code,
      );
      counts[outcome] = (counts[outcome] ?? 0) + 1;
      if (outcome === 'DISPOSED') return;
    }
  };
  const asking = Promise.all(Array.from({ length: clients }, (_, client) => ask(client)));
  const stop = async () => {
    isOver = true;
    await asking;
  };
  return { counts, stop, asking };
}

t.test('swaps under load drop nothing, fail nothing, and mix nothing', async (t) => {
  const served = await predictor(t, files.grey, { maxBatch: 8, threads: threadBudget.threads });
  const { counts, stop } = askWithoutPause(served, 6);
  for (const next of ['red', 'grey', 'red', 'grey', 'red'] as const) {
    const before = counts[next] ?? 0;
    await served.swap(files[next]);
    t.equal(live().models, 1, 'the old one is freed');
    t.same(served.classes, { grey, red }[next].classes);
    await until(() => Number(counts[next]) > before + 10);
  }
  await stop();
  t.same(Object.keys(counts).sort(), ['grey', 'red'], JSON.stringify(counts));
  const { requests, served: answered, failed, aborted, rejected, swaps, model } = served.stats();
  t.same({ answered, failed, aborted, rejected }, { answered: requests, failed: 0, aborted: 0, rejected: 0 });
  t.equal(swaps, 5);
  t.match(model, { name: 'red.pt', classes: 3 });
});

t.test('a swap that fails leaves the old model serving', async (t) => {
  const served = await predictor(t, files.grey);
  const damaged = join(folder, 'damaged.pt');
  writeFileSync(damaged, 'no model');
  const { counts, stop } = askWithoutPause(served, 2);
  await t.rejects(served.swap(damaged), { code: 'MODEL_UNREADABLE' });
  await t.rejects(served.swap('nowhere.pt'), { code: 'FILE_NOT_FOUND' });
  await t.rejects(served.swap(7 as unknown as string), { code: 'INVALID_TYPE' });
  t.equal(live().models, 1);
  await stop();
  t.same(Object.keys(counts).sort(), ['grey', 'red']);
  t.equal(counts.red, 0);
  t.equal(modelOf(await served.predict(images[0] as string, { top: 9 }), 0), 'grey');
  t.equal(served.stats().swaps, 0);
});

t.test('swaps take turns, and the last counts', async (t) => {
  const served = await predictor(t, files.grey);
  await Promise.all([served.swap(files.red), served.swap(files.grey), served.swap(files.red)]);
  t.same(served.classes, red.classes);
  t.equal(live().models, 1);
});

t.test('prepared pixels that were asked about before a swap are fitted to the new size', async (t) => {
  const served = await predictor(t, files.grey);
  const swapping = served.swap(files.red);
  const answers = [];
  for (; served.stats().swaps === 0; await turns(1)) {
    if (served.stats().queueLength < 50) answers.push(served.predictPixels(pixels(1)));
  }
  await swapping;
  const predictions = await Promise.all(answers);
  t.ok(predictions.length > 0);
  for (const { logits } of predictions)
    if (![3, 6].includes(logits.length)) t.fail(`${logits.length} logits`);
  await t.rejects(served.predictPixels(pixels(1)), { code: 'INVALID_VALUE', message: /24 x 24/ });
});

t.test(
  'dispose under load answers the running batch, rejects the rest, and leaves nothing alive',
  async (t) => {
    const served = await predictor(t, files.grey, { maxBatch: 2 });
    const { counts, asking } = askWithoutPause(served, 12);
    await until(() => Number(counts.grey) > 20);
    const swapping = served.swap(files.red);
    const [swapped] = await Promise.allSettled([swapping, served.dispose(), served.dispose()]);
    await asking;
    t.match(swapped, { status: 'rejected', reason: { code: 'DISPOSED' } });
    t.same(Object.keys(counts).sort(), ['DISPOSED', 'grey', 'red']);
    t.equal(counts.DISPOSED, 12, 'each client once');
    t.same(live(), { models: 0, tasks: 0 });
    const { requests, served: answered, rejected, queueLength, running } = served.stats();
    t.same([answered + rejected, queueLength, running], [requests, 0, 0]);
  },
);

t.test('drain answers everything that was taken, and takes nothing more', async (t) => {
  const served = await predictor(t, files.grey, { maxBatch: 2 });
  const taken = Promise.all(images.map((image) => served.predict(image, { top: 9 })));
  await turns(1);
  const drained = served.drain();
  await t.rejects(served.predict(images[0] as string), { code: 'DISPOSED', message: /drain\(\)/ });
  await drained;
  t.equal(served.stats().served, images.length);
  for (const [i, prediction] of (await taken).entries()) t.equal(modelOf(prediction, i), 'grey');
  await served.drain();
  await served.dispose();
  t.same(live(), { models: 0, tasks: 0 });
});
