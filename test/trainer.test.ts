import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { createTrainer, loadModel, type Tensor } from '../src/index.js';

const backbone = fileURLToPath(new URL('../assets/backbone.pt', import.meta.url));

function images(count: number): Tensor {
  const data = Float32Array.from(
    { length: count * 3 * 32 * 32 },
    (_, i) => Math.sin(i * 0.37) + Math.cos(i * i),
  );
  return { data, shape: [count, 3, 32, 32], dtype: 'float32' };
}

async function open(classes: number) {
  const model = await loadModel(backbone, { device: 'cpu', threads: 1 });
  t.teardown(() => model.dispose());
  const { parameters } = await model.replaceHead({ classes, imageSize: 32 });
  await model.setTrainable(parameters);
  return model;
}

t.test('learns several labels a sample with BCE', async (t) => {
  const model = await open(3);
  const trainer = await createTrainer(model, { loss: 'bceWithLogits', learningRate: 0.05 });
  const inputs = [images(4)];
  const target: Tensor = {
    data: Float32Array.of(1, 1, 0, 0, 1, 1, 1, 0, 1, 0, 0, 0),
    shape: [4, 3],
    dtype: 'float32',
  };
  const before = await trainer.evaluate({ inputs, target });
  for (let i = 0; i < 60; i++) await trainer.step({ inputs, target });
  const after = await trainer.evaluate({ inputs, target });
  t.ok(after.loss < before.loss / 2, `${before.loss} -> ${after.loss}`);
  t.same(
    Array.from(after.logits.data as Float32Array, (logit) => (logit > 0 ? 1 : 0)),
    Array.from(target.data as Float32Array),
  );
});

t.test('a factor of 0 changes nothing; patterns set rates', async (t) => {
  const model = await open(2);
  const trainer = await createTrainer(model, { optimizer: 'sgd', learningRates: { 'fc.bias': 0 } });
  const batch = {
    inputs: [images(2)],
    target: { data: Int32Array.of(0, 1), shape: [2], dtype: 'int32' as const },
  };
  const read = () => model.native.values(['fc.weight', 'fc.bias']);
  const [weight, bias] = await read();
  await trainer.step({ ...batch, factor: 0 });
  t.same(await read(), [weight, bias]);
  await trainer.step(batch);
  const [moved, still] = await read();
  t.notSame(moved, weight);
  t.same(still, bias);
});

t.test('goes on from a checkpoint, bit for bit', async (t) => {
  const batch = {
    inputs: [images(2)],
    target: { data: Int32Array.of(0, 1), shape: [2], dtype: 'int32' as const },
  };
  const path = join(t.testdir(), 'checkpoint.pt');
  const model = await open(2);
  const trainer = await createTrainer(model, { learningRate: 0.01 });
  await trainer.step(batch);
  await trainer.saveCheckpoint(path);
  const { loss } = await trainer.step(batch).then(() => trainer.step(batch));
  const other = await open(2);
  const resumed = await createTrainer(other, { learningRate: 0.01 });
  await resumed.loadCheckpoint(path);
  await resumed.step(batch);
  t.equal((await resumed.step(batch)).loss, loss);
});

t.test('refuses what it cannot use', async (t) => {
  const model = await open(2);
  await t.rejects(createTrainer({} as never), { code: 'INVALID_TYPE' });
  await t.rejects(createTrainer(model, { optimiser: 'sgd' } as never), {
    code: 'INVALID_TYPE',
    message: /Did you mean `optimizer`/,
  });
  await t.rejects(createTrainer(model, { learningRates: { 'fcc.*': 1 } }), { code: 'PATTERN_UNMATCHED' });
  const trainer = await createTrainer(model);
  const target = { data: Int32Array.of(5), shape: [1], dtype: 'int32' as const };
  await t.rejects(trainer.step({ inputs: [images(1)], target }), { code: 'SHAPE_MISMATCH' });
  await t.rejects(trainer.restoreBest(), { code: 'NOT_TRAINABLE' });
});
