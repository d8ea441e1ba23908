/** Frozen means: no gradient, unchanged weights, unchanged BatchNorm statistics, no dropout. Bit for bit. */
import t from 'tap';
import type { NativeModel, NativeOptimizer } from '../../src/native.js';
import { bitsOf, changed, configure, open, randomBatch, train } from './fixtures.js';

const statistics = ['bn1', 'block.bn1', 'block.bn2'].flatMap((norm) =>
  ['running_mean', 'running_var', 'num_batches_tracked'].map((name) => `${norm}.${name}`),
);

async function namesOf(model: NativeModel, pick: (name: string) => boolean): Promise<string[]> {
  const { parameters } = await model.describe();
  return parameters.map(({ name }) => name).filter(pick);
}

const isHead = (name: string) => name.startsWith('fc.');
const isBlock = (name: string) => name.startsWith('block.');

const optimizers: NativeOptimizer[] = [
  { kind: 'sgd', momentum: 0.9, dampening: 0, nesterov: true },
  { kind: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
  { kind: 'rmsprop', alpha: 0.9, epsilon: 1e-8, momentum: 0.9, centered: true },
];

for (const optimizer of optimizers) {
  t.test(`50 steps of the head by ${optimizer.kind} change the head alone`, async (t) => {
    const model = await open(t, 'residual');
    await model.setTrainable(await namesOf(model, isHead), false);
    await configure(model, { optimizer });
    const before = await bitsOf(model);
    await train(model, 50);
    t.same(changed(before, await bitsOf(model)).sort(), ['fc.bias', 'fc.weight']);
  });

  t.test(`freezing later stops what ${optimizer.kind} had set in motion`, async (t) => {
    const model = await open(t, 'residual');
    await configure(model, { optimizer });
    const start = await bitsOf(model);
    await train(model, 5);
    const before = await bitsOf(model);
    t.equal(changed(start, before).length, Object.keys(start).length, 'first everything learned');
    await model.setTrainable(await namesOf(model, (name) => !isBlock(name)), false);
    await train(model, 50);
    const after = await bitsOf(model);
    t.same(changed(before, after).filter(isBlock), []);
    t.equal(changed(before, after).length, Object.keys(before).filter((name) => !isBlock(name)).length);
  });
}

t.test('gradients of frozen parameters are undefined, also those from before', async (t) => {
  const model = await open(t, 'residual');
  await configure(model, { accumulate: 100 });
  const all = await namesOf(model, () => true);
  await train(model, 1);
  t.ok((await model.gradients(all)).every((gradient) => gradient !== null));
  await model.setTrainable(all.filter(isHead), false);
  await train(model, 1);
  const gradients = await model.gradients(all);
  t.same(
    all.filter((_, i) => gradients[i] !== null),
    ['fc.weight', 'fc.bias'],
  );
});

/** Losses of the same batch at learning rate 0: they differ only by dropout. */
async function repeatedLosses(model: NativeModel, shape: number[]): Promise<number[]> {
  const losses: number[] = [];
  for (let i = 0; i < 6; i++) {
    const { loss } = await model.step({ ...randomBatch(shape, 1), learningRates: [0] });
    losses.push(loss);
  }
  return losses;
}

const dropouts: { model: string; shape?: number[]; learns: (name: string) => boolean; active: boolean }[] = [
  { model: 'residual', learns: (name) => name === 'conv1.weight', active: false },
  { model: 'residual', learns: (name) => name === 'block.conv1.weight', active: true },
  { model: 'residual', learns: isHead, active: true },
  { model: 'vgg', learns: (name) => name.startsWith('features.'), active: false },
  { model: 'vgg', learns: (name) => name.startsWith('classifier.0'), active: false },
  { model: 'vgg', learns: (name) => name.startsWith('classifier.3'), active: true },
  { model: 'vgg', learns: (name) => name.startsWith('classifier.6'), active: true },
  { model: 'squeeze', learns: (name) => name.startsWith('features.'), active: false },
  { model: 'squeeze', learns: (name) => name.startsWith('classifier.'), active: true },
  { model: 'functional-dropout', shape: [8, 4], learns: () => true, active: true },
  { model: 'residual.traced-eval', learns: () => true, active: false },
];

for (const { model: name, shape = [8, 3, 8, 8], learns, active } of dropouts) {
  t.test(`dropout of ${name} is ${active ? 'active' : 'off'}: ${learns}`, async (t) => {
    const model = await open(t, name);
    await configure(model);
    // BatchNorm in eval, as for all that is traced in eval: the losses could differ by its statistics otherwise.
    await model.setTrainable(await namesOf(model, (each) => learns(each) && !/bn\d/.test(each)), false);
    const losses = await repeatedLosses(model, shape);
    t.equal(new Set(losses).size, active ? losses.length : 1);
    if (active) return;
    const { loss } = await model.evaluate(randomBatch(shape, 1));
    t.equal(losses[0], loss, 'the loss is that of eval mode');
  });
}

t.test('with only the last of two dropouts feeding what learns, the first is off', async (t) => {
  const model = await open(t, 'residual');
  await model.setTrainable(await namesOf(model, isHead), false);
  await configure(model);
  await train(model, 1);
  const { modules } = await model.describe();
  const training = modules.filter((module) => module.training).map(({ path }) => path);
  t.ok(training.includes('drop') && training.includes('fc'));
  t.same(
    training.filter((path) => !['', 'drop', 'fc', 'pool'].includes(path)),
    [],
  );
});

t.test('trainBatchNorm moves the statistics of a frozen body, not its weights', async (t) => {
  const model = await open(t, 'residual');
  await model.setTrainable(await namesOf(model, isHead), true);
  await configure(model);
  const before = await bitsOf(model);
  await train(model, 50);
  t.same(changed(before, await bitsOf(model)).sort(), [...statistics, 'fc.bias', 'fc.weight'].sort());
});

t.test('folded BatchNorm stays in eval under full training, even when asked to train', async (t) => {
  for (const trainBatchNorm of [false, true]) {
    const model = await open(t, 'folded');
    await configure(model);
    await model.setTrainable(await namesOf(model, () => true), trainBatchNorm);
    const before = await bitsOf(model);
    await train(model, 50);
    const parameters = await namesOf(model, () => true);
    t.same(changed(before, await bitsOf(model)).sort(), parameters.sort());
  }
});

t.test('a network that was never trained is not folded: its statistics move', async (t) => {
  const model = await open(t, 'fresh');
  await configure(model);
  const before = await bitsOf(model);
  await train(model, 2);
  t.equal(changed(before, await bitsOf(model)).length, Object.keys(before).length);
});

t.test('a BatchNorm without weight and bias behind a frozen layer keeps its statistics', async (t) => {
  const model = await open(t, 'plain-norm');
  await model.setTrainable(['fc.weight', 'fc.bias'], false);
  await configure(model);
  const before = await bitsOf(model);
  await train(model, 50, { shape: [8, 4] });
  t.same(changed(before, await bitsOf(model)).sort(), ['fc.bias', 'fc.weight']);
});

t.test('a BatchNorm without weight and bias behind a learning layer learns', async (t) => {
  const model = await open(t, 'plain-norm');
  await model.setTrainable(['hidden.weight', 'hidden.bias'], false);
  await configure(model);
  const before = await bitsOf(model);
  await train(model, 2, { shape: [8, 4] });
  t.ok(changed(before, await bitsOf(model)).includes('norm.running_mean'));
});

t.test('tied weights freeze together', async (t) => {
  const model = await open(t, 'tied');
  await model.setTrainable(['mix.weight', 'mix.bias', 'decoder.bias'], false);
  await configure(model);
  const before = await bitsOf(model);
  const tokens = {
    data: BigInt64Array.from([1n, 2n, 3n, 4n, 5n, 6n]),
    shape: [2, 3],
    dtype: 'int64' as const,
  };
  const target = { data: BigInt64Array.from([0n, 6n]), shape: [2], dtype: 'int64' as const };
  for (let i = 0; i < 50; i++) await model.step({ inputs: [tokens], target });
  t.same(changed(before, await bitsOf(model)).sort(), ['decoder.bias', 'mix.bias', 'mix.weight']);
});

t.test('saved without gradients, or frozen once: all of it learns when asked to', async (t) => {
  const model = await open(t, 'residual.without-grad');
  await configure(model);
  const before = await bitsOf(model);
  await model.setTrainable([], false);
  await t.rejects(train(model, 1), { code: 'NOT_TRAINABLE' });
  t.same(changed(before, await bitsOf(model)), []);
  await model.setTrainable(await namesOf(model, () => true), false);
  await train(model, 1);
  t.equal(changed(before, await bitsOf(model)).length, Object.keys(before).length);
});

t.test('an unknown name is refused and freezes nothing', async (t) => {
  const model = await open(t, 'residual');
  await model.setTrainable(['fc.weight'], false);
  await t.rejects(model.setTrainable(['fc.bias', 'fc.wieght'], false), {
    code: 'INVALID_VALUE',
    message: /fc\.wieght/,
  });
  const { parameters } = await model.describe();
  t.same(
    parameters.filter(({ trainable }) => trainable).map(({ name }) => name),
    ['fc.weight'],
  );
});
