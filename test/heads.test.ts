/** Cosine heads, concatenated pooling, and other numbers of input channels. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { createPredictor, createTrainer, fineTune, loadModel, type Tensor } from '../src/index.js';
import { backbone, defects, fixtureModel, open, quick, residual, train } from './defects.js';

const image: Tensor = {
  data: Float32Array.from({ length: 2 * 3 * 8 * 8 }, (_, i) => Math.sin(i)),
  shape: [2, 3, 8, 8],
  dtype: 'float32',
};
const numbers = (value: unknown) => [...((value as Tensor).data as Float32Array)];
const near = (a: number[], b: number[], bound: number) =>
  a.length === b.length && a.every((value, i) => Math.abs(value - (b[i] as number)) < bound);

/** What the head of a model gets, [n, features]: a head of ones on the diagonal gives it back. */
async function featuresOf(file: string, features: number, inputs: Tensor): Promise<number[][]> {
  await using model = await loadModel(file, { device: 'cpu', threads: 1 });
  const { parameters } = await model.replaceHead({ classes: features, imageSize: 8 });
  const [weight, bias] = parameters as [string, string];
  const size = features * features;
  const eye = Float32Array.from({ length: size }, (_, i) => (i % (features + 1) === 0 ? 1 : 0));
  await model.native.setValues(
    [weight, bias],
    [
      { data: eye, shape: [features, features], dtype: 'float32' },
      { data: new Float32Array(features), shape: [features], dtype: 'float32' },
    ],
  );
  const flat = numbers(await model.forward([inputs]));
  return Array.from({ length: flat.length / features }, (_, i) =>
    flat.slice(i * features, (i + 1) * features),
  );
}

const unit = (row: number[]) => {
  const length = Math.hypot(...row);
  return row.map((value) => value / length);
};

for (const name of ['residual', 'residual.traced-eval']) {
  t.test(`a cosine head of ${name} is scale * cosine, whatever the bias, and goes again`, async (t) => {
    const model = await open(t, fixtureModel(name));
    const plain = await open(t, fixtureModel(name));
    await plain.replaceHead({ classes: 4, seed: 5, imageSize: 8 });
    const made = await model.replaceHead({ classes: 4, seed: 5, imageSize: 8, kind: 'cosine', scale: 7 });
    t.same(made.parameters, ['fc.weight', 'cosine.scale']);
    t.same(
      (await model.summary()).heads.map(({ module, cosine }) => [module, cosine]),
      [['fc', true]],
    );
    const features = await featuresOf(fixtureModel(name), 6, image);
    const [weight] = (await model.native.values(['fc.weight'])).map(numbers) as [number[]];
    const wanted = features.flatMap((row) =>
      [0, 1, 2, 3].map((c) => {
        const w = unit(weight.slice(c * 6, c * 6 + 6));
        return 7 * unit(row).reduce((sum, value, i) => sum + value * (w[i] as number), 0);
      }),
    );
    t.ok(near(numbers(await model.forward([image])), wanted, 1e-5));
    const file = join(t.testdir(), 'cosine.pt');
    await model.save(file);
    const loaded = await open(t, file);
    t.same(numbers(await loaded.forward([image])), numbers(await model.forward([image])), 'saved and loaded');
    await loaded.replaceHead({ classes: 4, seed: 5, imageSize: 8 });
    t.same((await loaded.summary()).heads, (await plain.summary()).heads);
    t.same(
      numbers(await loaded.forward([image])),
      numbers(await plain.forward([image])),
      'a linear head again',
    );
    t.notOk((await loaded.summary()).modules.some(({ type }) => type === 'CosineHead'));
  });
}

t.test('a fixed scale is a buffer; a cosine head ends a hidden one', async (t) => {
  const model = await open(t);
  const made = await model.replaceHead({
    classes: 4,
    imageSize: 8,
    kind: 'cosine',
    learnScale: false,
    hidden: [5],
  });
  t.same(
    made.parameters.filter((name) => name.endsWith('scale')),
    [],
  );
  const { heads, buffers } = await model.summary();
  t.same(
    heads.map(({ module, cosine }) => [module, cosine]),
    [['head.fc1', true]],
  );
  t.ok(buffers.some(({ name }) => name === 'head.fc1.scale'));
  await t.rejects(model.replaceHead({ classes: 4, scale: 3 }), { code: 'INVALID_VALUE', message: /cosine/ });
  await t.rejects(model.replaceHead({ classes: 4, kind: 'cosine', standardise: true }), {
    code: 'INVALID_VALUE',
  });
});

t.test('concatenated pooling is maximum and average of the last map', async (t) => {
  const model = await open(t);
  const made = await model.replaceHead({ classes: 3, imageSize: 8, pooling: 'concat' });
  t.same(made.parameters, ['fc.weight', 'fc.bias']);
  const [head] = (await model.summary()).heads;
  t.same([head?.inFeatures, head?.pooling], [12, 'concat']);
  const file = join(t.testdir(), 'concat.pt');
  await model.save(file);
  const both = await featuresOf(file, 12, image);
  const average = await featuresOf(residual, 6, image);
  for (const [i, row] of both.entries()) {
    t.ok(near(row.slice(6), average[i] as number[], 1e-6), 'the average as it was');
    t.ok(
      row.slice(0, 6).every((largest, c) => largest > (average[i]?.[c] as number)),
      'the maximum above it',
    );
  }
  await model.replaceHead({ classes: 3, imageSize: 8, pooling: 'avg', seed: 2 });
  const plain = await open(t);
  await plain.replaceHead({ classes: 3, imageSize: 8, seed: 2 });
  t.same(numbers(await model.forward([image])), numbers(await plain.forward([image])), 'and back');
});

t.test('a model without pooling before its head refuses', async (t) => {
  for (const name of ['squeeze', 'vgg']) {
    const model = await open(t, fixtureModel(name));
    const before = await model.summary();
    await t.rejects(model.replaceHead({ classes: 3, imageSize: 32, pooling: 'concat' }), {
      code: 'NO_HEAD',
      message: /pooling/,
    });
    t.same((await model.summary()).heads, before.heads);
  }
});

t.test('fine-tuned with both, saved, served', async (t) => {
  const model = await open(t, backbone);
  const data = defects(60, 24);
  const options = { ...quick, epochs: 3, preprocessing: { size: 64, resize: 64 }, cache: 'memory' } as const;
  const reports = await train(model, data, { ...options, head: { kind: 'cosine', pooling: 'concat' } });
  t.ok((reports.at(-1)?.trainLoss ?? 9) < (reports[0]?.trainLoss ?? 0), 'it learns');
  const file = join(t.testdir(), 'model.pt');
  await model.save(file);
  const predictor = await createPredictor(file, { device: 'cpu' });
  t.teardown(() => predictor.dispose());
  const path = data.splits.val[0]?.path as string;
  const [best] = (await predictor.predict(path)).top;
  t.ok(data.classes.includes(best?.class ?? ''));
  const again = await open(t, file);
  await train(again, data, { ...options, epochs: 1 });
  t.ok((await again.summary()).heads[0]?.cosine, 'the same classes go on with the head there is');
});

interface Fixture {
  name: string;
  channels: Record<string, number[]>;
  grey: number[];
}
const fixture = JSON.parse(
  gunzipSync(readFileSync(new URL('fixtures/grafts.json.gz', import.meta.url))).toString(),
) as Fixture;

t.test('input channels by the rule of timm, as PyTorch computes it', async (t) => {
  for (const [channels, wanted] of Object.entries(fixture.channels)) {
    const model = await open(t);
    await model.freeze('fc');
    await model.adaptInput(Number(channels), { imageSize: 8 });
    const [weight] = (await model.native.values([fixture.name])).map(numbers) as [number[]];
    t.ok(near(weight, wanted, 1e-6), `${channels} channels`);
    t.equal((await model.summary()).inputChannels, Number(channels));
    t.notOk(model.trainable.includes('fc.weight'), 'what was frozen stays frozen');
  }
});

t.test(
  'one channel gives what three equal ones gave, is trained on tensors, and refuses images',
  async (t) => {
    const model = await open(t);
    await model.adaptInput(1, { imageSize: 8 });
    const data = Float32Array.from({ length: 2 * 8 * 8 }, (_, i) => Math.sin(i));
    const grey: Tensor = { data, shape: [2, 1, 8, 8], dtype: 'float32' };
    t.ok(near(numbers(await model.forward([grey])), fixture.grey, 1e-4));
    await model.replaceHead({ classes: 2, imageSize: 8 });
    const trainer = await createTrainer(model, { learningRate: 0.01 });
    const target: Tensor = { data: BigInt64Array.of(0n, 1n), shape: [2], dtype: 'int64' };
    const inputs = [{ ...grey, data: data.map((value, i) => value + (i < 64 ? 1 : -1)) }];
    const losses: number[] = [];
    for (let i = 0; i < 60; i++) losses.push((await trainer.step({ inputs, target })).loss);
    const sum = (some: number[]) => some.reduce((total, loss) => total + loss, 0);
    t.ok(sum(losses.slice(-10)) < 0.7 * sum(losses.slice(0, 10)), 'it learns');
    const run = fineTune(model, defects(6, 6), quick);
    await t.rejects(run[Symbol.asyncIterator]().next(), { code: 'SHAPE_MISMATCH', message: /createTrainer/ });
    const file = join(t.testdir(), 'grey.pt');
    await model.save(file);
    t.equal((await (await open(t, file)).summary()).inputChannels, 1);
  },
);

t.test('numbers of channels that are none, and a model that begins otherwise', async (t) => {
  const model = await open(t);
  for (const channels of [0, 1.5, 5000])
    await t.rejects(model.adaptInput(channels), { code: 'INVALID_VALUE' });
  const mlp = await open(t, fixtureModel('mlp.traced'));
  await t.rejects(mlp.adaptInput(1), { code: 'MODEL_FAILED', message: /no convolution/ });
});

t.test('a model that takes no images says what it takes', async (t) => {
  const model = await open(t, fixtureModel('mlp.traced'));
  const run = fineTune(model, defects(6, 6), { ...quick, preprocessing: { size: 72, resize: 72 } });
  const first = run[Symbol.asyncIterator]().next();
  await t.rejects(first, { code: 'MODEL_FAILED', message: /rows of 4 numbers, \[n, 4\]\. torchgraft/ });
});
