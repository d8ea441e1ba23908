/** From fine-tuning through a file to predictions: the same logits, from whatever an image comes as. */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import t from 'tap';
import { decodeImage } from '../src/data/decode.js';
import { type Classifier, completePreprocessing, loadClassifier, type Prediction } from '../src/index.js';
import { backbone, defects, fixtureModel, open, quick, residual, train } from './defects.js';

const data = defects(12, 6);
const images = data.splits.val.map(({ path }) => path);
const folder = t.testdir();
const file = join(folder, 'model.pt');

const model = await open(t);
const [report] = await train(model, data, { ...quick, strategy: 'full', learningRate: 0.01 });
await model.save(file);

async function load(t: { teardown(free: () => unknown): unknown }, source: string | Uint8Array = file) {
  const classifier = await loadClassifier(source, { device: 'cpu', threads: 1 });
  t.teardown(() => classifier.dispose());
  return classifier;
}
const logitsOf = (predictions: Prediction[]) => predictions.map(({ logits }) => [...logits]);

/** The fine-tuned model's own logits for the same images, one at a time. */
async function logitsOfModel(): Promise<number[][]> {
  const rows: number[][] = [];
  for (const path of images) {
    const pixels = new Uint8Array(32 * 32 * 3);
    await decodeImage(path, completePreprocessing(quick.preprocessing), 'eval', pixels, 0);
    const inputs = [{ data: pixels, shape: [1, 32, 32, 3], dtype: 'uint8' as const }];
    rows.push([...((await model.native.evaluate({ inputs })).logits.data as Float32Array)]);
  }
  return rows;
}

t.test('save, load, predict: the logits of the fine-tuned model, bit for bit', async (t) => {
  const fromPath = await load(t);
  const fromBytes = await load(t, readFileSync(file));
  const predictions = await fromPath.predict(images, { batchSize: 1 });
  t.same(logitsOf(predictions), await logitsOfModel());
  t.same(logitsOf(await fromBytes.predict(images, { batchSize: 1 })), logitsOf(predictions));
  t.same(fromPath.classes, data.classes);
});

t.test('a path, the bytes of a file and raw pixels agree', async (t) => {
  const classifier = await load(t);
  for (const path of images.slice(0, 3)) {
    const { data: pixels, info } = await sharp(path).raw().toBuffer({ resolveWithObject: true });
    const raw = { data: pixels, width: info.width, height: info.height, channels: 3 as const };
    // One at a time: a row's last bit depends on its place in the batch.
    const predictions = await classifier.predict([path, readFileSync(path), raw], { batchSize: 1 });
    const [first, second, third] = logitsOf(predictions);
    t.same(second, first);
    t.same(third, first);
  }
});

t.test('probabilities are the softmax of the logits, best first, at most top', async (t) => {
  const classifier = await load(t);
  const [prediction] = await classifier.predict(images.slice(0, 1), { top: 99 });
  const { top, logits } = prediction as Prediction;
  t.equal(top.length, 6);
  const total = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
  for (const [i, { class: name, index, probability }] of top.entries()) {
    t.equal(name, data.classes[index]);
    t.ok(Math.abs(probability - Math.exp(logits[index] as number) / total) < 1e-9);
    if (i > 0) t.ok(probability <= (top[i - 1]?.probability as number));
  }
  t.ok(Math.abs(top.reduce((sum, { probability }) => sum + probability, 0) - 1) < 1e-9);
  const [two] = await classifier.predict(images.slice(0, 1), { top: 2 });
  t.same(two?.top, top.slice(0, 2));
});

t.test('batches of any size give the same classes in the same order', async (t) => {
  const classifier = await load(t);
  const order = async (batchSize: number) =>
    (await classifier.predict(images, { batchSize })).map(({ top }) => top.map(({ index }) => index));
  const one = await order(1);
  t.same(await order(4), one);
  t.same(await order(32), one);
  t.same(await classifier.predict([]), []);
});

t.test('calls at the same time all answer, in turn', async (t) => {
  const classifier = await load(t);
  const alone = await Promise.all(images.map((path) => classifier.predict([path])));
  const calls = Array.from({ length: 24 }, (_, i) =>
    classifier.predict([images[i % images.length] as string]),
  );
  const [answers, evaluation] = await Promise.all([Promise.all(calls), classifier.evaluate(data)]);
  for (const [i, answer] of answers.entries())
    t.same(logitsOf(answer), logitsOf(alone[i % alone.length] ?? []));
  t.equal(evaluation.metrics.count, 6);
});

t.test('one bad image fails by its path, and the next call is answered', async (t) => {
  const classifier = await load(t);
  const bad = join(folder, 'bad.jpg');
  writeFileSync(bad, readFileSync(images[0] as string).subarray(0, 900));
  await t.rejects(classifier.predict([images[0] as string, bad]), {
    code: 'IMAGE_UNREADABLE',
    message: /bad\.jpg/,
  });
  await t.rejects(classifier.predict(['nowhere.jpg']), { code: 'FILE_NOT_FOUND', message: /nowhere\.jpg/ });
  t.equal((await classifier.predict(images)).length, 6);
  await t.rejects(classifier.predict(images[0] as never), {
    code: 'INVALID_TYPE',
    message: /list of images/,
  });
  await t.rejects(classifier.predict([7] as never), { code: 'INVALID_TYPE' });
  await t.rejects(classifier.predict(images, { top: 0 }), { code: 'INVALID_VALUE', message: /`top`/ });
  await t.rejects(classifier.predict(images, { topK: 1 } as never), {
    code: 'INVALID_TYPE',
    message: /`topK`/,
  });
  await t.rejects(classifier.predict(images, { signal: AbortSignal.abort() }), { code: 'ABORTED' });
});

t.test('evaluate gives the metrics of the best epoch, and what was predicted of each image', async (t) => {
  const classifier = await load(t);
  const { metrics, predictions, skipped } = await classifier.evaluate(data, { batchSize: 4 });
  const best = model.card?.metrics.bestEpoch === 1 ? report?.validation : undefined;
  if (best) t.same(metrics.confusionMatrix, best.confusionMatrix);
  t.same(skipped, []);
  t.same(
    predictions.map(({ path }) => path),
    images,
  );
  const right = predictions.filter(({ truth, predicted }) => truth === predicted).length;
  t.equal(right / 6, metrics.accuracy);
  const alone = await classifier.predict(images, { top: 1, batchSize: 4 });
  t.same(
    predictions.map(({ predicted, probability }) => [predicted, probability]),
    alone.map(({ top }) => [top[0]?.class, top[0]?.probability]),
  );
  const trained = await classifier.evaluate(data, { split: 'train' });
  t.equal(trained.metrics.count, 12);
  await t.rejects(classifier.evaluate(data, { split: 'test' }), {
    code: 'INVALID_VALUE',
    message: /`test`\. It has train \(12\), val \(6\)/,
  });
  await t.rejects(classifier.evaluate(data, { split: 'all' } as never), { code: 'INVALID_VALUE' });
});

t.test(
  'classes are matched by name: fewer and in another order are fine, unknown ones are not',
  async (t) => {
    const classifier = await load(t);
    const { predictions } = await classifier.evaluate(data);
    const classes = [...data.classes].reverse();
    const turned = data.splits.val.map(({ path, label }) => ({ path, label: 5 - label }));
    const other = { ...data, classes, splits: { ...data.splits, val: turned } };
    t.same((await classifier.evaluate(other)).predictions, predictions);
    const foreign = { ...data, classes: [...data.classes.slice(0, 5), 'rust'] };
    await t.rejects(classifier.evaluate(foreign), {
      code: 'DATA_INVALID',
      message: /class rust\. It knows crack, /,
    });
  },
);

t.test('unreadable images are skipped when asked, and listed', async (t) => {
  const classifier = await load(t);
  const bad = join(folder, 'no.jpg');
  writeFileSync(bad, 'no image');
  const val = [{ path: bad, label: 0 }, ...data.splits.val];
  const spoiled = { ...data, splits: { ...data.splits, val } };
  await t.rejects(classifier.evaluate(spoiled), { code: 'IMAGE_UNREADABLE' });
  const { metrics, predictions, skipped } = await classifier.evaluate(spoiled, { unreadable: 'skip' });
  t.equal(metrics.count, 6);
  t.same(
    predictions.map(({ path }) => path),
    images,
  );
  t.match(skipped, [{ path: bad, reason: /Cannot decode/ }]);
});

t.test('the card says what the model is and where it comes from', async (t) => {
  const { card } = await load(t);
  t.same(card, model.card, 'through the file unchanged');
  t.same(card.classes, data.classes);
  t.match(card, {
    format: 1,
    preprocessing: { size: 32, resize: 36, mean: [0.485, 0.456, 0.406] },
    provenance: {
      source: { name: 'residual.pt', sha256: /^[0-9a-f]{64}$/ },
      data: { classes: data.classes, validation: 'given', counts: { train: { ok: 40 } } },
      options: { strategy: 'full', epochs: 1, learningRate: 0.01, seed: 0, optimizer: { kind: 'adamw' } },
      versions: { torchgraft: /^\d+\.\d+\.\d+/ },
      date: /^\d{4}-\d\d-\d\dT/,
    },
    metrics: { epochs: 1, validation: { count: 6 }, baseline: { accuracy: Number } },
  });
});

t.test('models of others are no classifiers', async (t) => {
  for (const path of [residual, backbone, fixtureModel('residual.frozen')]) {
    await t.rejects(loadClassifier(path), { code: 'NOT_A_CLASSIFIER', message: /not saved by torchgraft/ });
  }
  await t.rejects(loadClassifier(readFileSync(residual)), { code: 'NOT_A_CLASSIFIER' });
  await t.rejects(loadClassifier('nowhere.pt'), { code: 'FILE_NOT_FOUND' });
});

t.test('the file is not needed any more once it is loaded', async (t) => {
  const copy = join(folder, 'copy.pt');
  copyFileSync(file, copy);
  const classifier = await load(t, copy);
  writeFileSync(copy, 'gone');
  t.equal((await classifier.predict(images)).length, 6);
});

t.test('disposed, it refuses; await using disposes', async (t) => {
  let kept: Classifier;
  {
    await using classifier = await loadClassifier(file, { device: 'cpu', threads: 1 });
    kept = classifier;
  }
  await t.rejects(kept.predict(images), { code: 'DISPOSED' });
  await t.rejects(kept.evaluate(data), { code: 'DISPOSED' });
  t.equal(kept.model.bytes, 0);
});
