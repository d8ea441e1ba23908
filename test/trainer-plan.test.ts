/** A trainer splits off what is frozen: the same numbers, planned anew when the model changes, and never in the way. */
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createTrainer, type Model, type Tensor, type Trainer, type TrainerOptions } from '../src/index.js';
import { fixtureModel, open } from './defects.js';

const head = ['fc.weight', 'fc.bias'];

/** Class indices 0, 1, 2, 0, ... */
function classes(count: number): Tensor {
  return { data: Int32Array.from({ length: count }, (_, i) => i % 3), shape: [count], dtype: 'int32' };
}

function numbers(shape: number[], seed = 0): Tensor {
  const length = shape.reduce((product, size) => product * size, 1);
  const data = Float32Array.from({ length }, (_, i) => Math.sin(seed + i * i * 0.7));
  return { data, shape, dtype: 'float32' };
}

function batchOf(count: number, side = 16, seed = 0) {
  return { inputs: [numbers([count, 3, side, side], seed)], target: classes(count) };
}

/** The residual network with BatchNorm and dropout; `trainable` alone learns. */
async function openFrozen(trainable = head): Promise<Model> {
  const model = await open(t);
  await model.replaceHead({ classes: 3, imageSize: 16 });
  await model.setTrainable(trainable);
  return model;
}

const train = (model: Model, options: TrainerOptions = {}) =>
  createTrainer(model, { learningRate: 0.02, precision: 'float32', ...options });

/** Losses of steps and evaluations on batches of several sizes. */
async function lossesOf(trainer: Trainer, seed = 0): Promise<number[]> {
  const losses: number[] = [];
  const sizes = [4, 2, 7, 4, 1, 5];
  for (const [i, count] of sizes.entries()) {
    const batch = batchOf(count, i === 3 ? 24 : 16, seed + i);
    losses.push((await trainer.step(batch)).loss, (await trainer.evaluate(batch)).loss);
  }
  return losses;
}

function near(t: Test, actual: number[], expected: number[]): void {
  t.equal(actual.length, expected.length);
  for (const [i, loss] of actual.entries()) {
    const other = expected[i] as number;
    t.ok(Math.abs(loss - other) < 1e-5, `loss ${i}: ${loss} split, ${other} unsplit`);
  }
}

for (const trainable of [head, ['block.conv2.weight', ...head]]) {
  for (const options of [{}, { optimizer: 'sgd', accumulate: 3 }] as const) {
    t.test(`the same losses split and unsplit: ${trainable}, ${JSON.stringify(options)}`, async (t) => {
      const unsplit = await train(await openFrozen(trainable), { ...options, split: false });
      const split = await train(await openFrozen(trainable), options);
      t.equal(split.plan, undefined, 'nothing is planned before the first step');
      near(t, await lossesOf(split), await lossesOf(unsplit));
      t.match(unsplit.plan, { split: false, variant: 'unsplit', reason: /split: false/ });
      t.match(split.plan, { split: true, precision: 'float32', reason: '' });
      t.same(split.plan?.prefixLayers.slice(0, 2), ['conv1', 'bn1']);
      t.ok(split.plan?.suffixLayers.includes('fc'));
      t.ok((split.plan?.prefixFlops as number) > 0);
    });
  }
}

t.test('nothing is planned while nothing is frozen; changes of the model are', async (t) => {
  const [split, unsplit] = [await openFrozen(), await openFrozen()];
  for (const model of [split, unsplit]) await model.unfreeze('*');
  const fast = await train(split);
  const plain = await train(unsplit, { split: false });
  near(t, await lossesOf(fast), await lossesOf(plain));
  t.equal(fast.plan, undefined);
  for (const model of [split, unsplit]) await model.freeze(['conv1', 'bn1']);
  near(t, await lossesOf(fast, 1), await lossesOf(plain, 1));
  t.same(fast.plan?.prefixLayers, ['conv1', 'bn1']);
  for (const [model, trainer] of [
    [split, fast],
    [unsplit, plain],
  ] as const) {
    await trainer.keepBest();
    await model.freeze('block');
  }
  near(t, await lossesOf(fast, 2), await lossesOf(plain, 2));
  t.ok(fast.plan?.prefixLayers.includes('block.conv2'));
  for (const model of [split, unsplit]) await model.setTrainable(head);
  for (const trainer of [fast, plain]) await trainer.restoreBest();
  near(t, await lossesOf(fast, 3), await lossesOf(plain, 3));
  t.equal(fast.plan?.split, true);
  for (const model of [split, unsplit]) await model.unfreeze('*');
  near(t, await lossesOf(fast, 4), await lossesOf(plain, 4));
  t.match(fast.plan, { split: false, reason: /learns begins at its input/ });
});

t.test('put back weights are those that the prefix has', async (t) => {
  const model = await openFrozen();
  const trainer = await train(model, { learningRates: { '*': 0 } });
  await trainer.keepBest();
  const batch = batchOf(3);
  await trainer.step(batch);
  const { loss } = await trainer.evaluate(batch);
  await model.reinitialise(5);
  await trainer.step(batch);
  const other = await trainer.evaluate(batch);
  t.ok(Math.abs(other.loss - loss) > 1e-4, `${other.loss} with other weights, ${loss} before`);
  await trainer.restoreBest();
  await trainer.step(batch);
  t.equal((await trainer.evaluate(batch)).loss, loss);
});

t.test('a wrong batch is refused as ever, and the next is planned', async (t) => {
  const trainer = await train(await openFrozen());
  const good = batchOf(3);
  const refused = { code: 'SHAPE_MISMATCH' };
  await t.rejects(trainer.step({ ...good, target: classes(2) }), refused);
  await t.rejects(trainer.step({ ...good, inputs: [] }), refused);
  t.equal(trainer.plan, undefined);
  await trainer.step(good);
  t.equal(trainer.plan?.split, true);
  await t.rejects(trainer.step({ ...good, inputs: [...good.inputs, ...good.inputs] }), refused);
  await t.rejects(trainer.step({ ...good, inputs: [] }), refused);
  await t.rejects(trainer.evaluate({ ...good, inputs: [] }), refused);
  await t.rejects(trainer.step({ ...good, inputs: [numbers([3, 5])] }), { code: 'MODEL_FAILED' });
  t.equal((await trainer.step(good)).count, 3);
});

t.test('a plan that fails is in nobody’s way, and is not made again for each batch', async (t) => {
  const model = await openFrozen();
  let attempts = 0;
  const plan = async () => {
    attempts += 1;
    throw Object.assign(new Error('No such luck.'), { code: 'NATIVE' });
  };
  Object.defineProperty(model.native, 'plan', { value: plan, configurable: true });
  const trainer = await train(model);
  const unsplit = await train(await openFrozen(), { split: false });
  near(t, await lossesOf(trainer), await lossesOf(unsplit));
  t.equal(attempts, 1);
  t.match(trainer.plan, { split: false, variant: 'unsplit', reason: /could not be planned: No such luck/ });
  await model.unfreeze('fc');
  await trainer.step(batchOf(2));
  t.equal(attempts, 2, 'but anew for a changed model');
});

t.test('a plan waits for the end of an accumulation', async (t) => {
  const model = await openFrozen();
  await model.unfreeze('*');
  const trainer = await train(model, { accumulate: 2 });
  await trainer.step(batchOf(2));
  await model.freeze('conv1');
  await trainer.step(batchOf(2));
  t.equal(trainer.plan, undefined);
  await trainer.step(batchOf(2));
  t.same(trainer.plan?.prefixLayers, ['conv1']);
});

t.test('what a sample gives may depend on the others, and inputs need not be batches', async (t) => {
  const results: number[][] = [];
  for (const split of [true, false]) {
    const model = await open(t, fixtureModel('centred'));
    await model.setTrainable(head);
    const trainer = await train(model, { split });
    const losses: number[] = [];
    // The last would go through the prefix in parts, were it a matter of single samples.
    for (const count of [20, 3, 200_000]) {
      const inputs = [numbers([count, 8]), numbers([6], 1)];
      losses.push((await trainer.step({ inputs, target: classes(count) })).loss);
    }
    t.equal(trainer.plan?.split, split);
    t.notOk(trainer.plan?.cacheable);
    results.push(losses);
  }
  near(t, results[0] as number[], results[1] as number[]);
});

t.test('bfloat16 is taken when asked for, stays near, and is kept in a checkpoint', async (t) => {
  const trainer = await train(await openFrozen(), { precision: 'bfloat16' });
  const exact = await lossesOf(await train(await openFrozen()));
  for (const [i, loss] of (await lossesOf(trainer)).entries()) {
    t.ok(Math.abs(loss - (exact[i] as number)) < 0.05, `${loss}, ${exact[i]} in float32`);
  }
  t.equal(trainer.plan?.precision, 'bfloat16');
  const path = join(t.testdir(), 'checkpoint.pt');
  await trainer.saveCheckpoint(path);
  const resumed = await train(await openFrozen(), { precision: 'auto' });
  await resumed.loadCheckpoint(path);
  const batch = batchOf(4, 16, 9);
  t.equal((await resumed.step(batch)).loss, (await trainer.step(batch)).loss);
  t.equal(resumed.plan?.precision, 'bfloat16');
  await t.rejects(createTrainer(await openFrozen(), { precision: 'float8' as never }), {
    code: 'INVALID_VALUE',
  });
});
