/** Checkpoints resume bit for bit, foreign ones are refused, and the best weights come back as they were. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { NativeModel, NativeOptimizer, NativeTraining } from '../../src/native.js';
import { bitsOf, changed, configure, inputsOf, open, pathOf, train } from './fixtures.js';

const optimizers: NativeOptimizer[] = [
  { kind: 'sgd', momentum: 0.9, dampening: 0, nesterov: false },
  { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
  { kind: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
  { kind: 'rmsprop', alpha: 0.99, epsilon: 1e-8, momentum: 0.9, centered: true },
];
const extra = { 'torchgraft.json': '{"epoch":2}' };

for (const optimizer of optimizers) {
  t.test(`resuming ${optimizer.kind} equals never having stopped`, async (t) => {
    const path = join(t.testdir(), 'checkpoint.pt');
    const whole = await open(t, 'residual');
    await configure(whole, { optimizer });
    const losses = (await train(whole, 10)).map(({ loss }) => loss);

    const first = await open(t, 'residual');
    await configure(first, { optimizer });
    await train(first, 3);
    await first.keepBest();
    const best = await bitsOf(first);
    await train(first, 2, { from: 3 });
    await first.saveCheckpoint(path, extra);

    const resumed = await open(t, 'residual');
    await configure(resumed, { optimizer });
    await train(resumed, 1, { from: 77 });
    t.same(await resumed.loadCheckpoint(path), extra);
    for (const model of [resumed, first]) {
      const rest = await train(model, 5, { from: 5 });
      t.same(
        rest.map(({ loss }) => loss),
        losses.slice(5),
      );
      t.same(changed(await bitsOf(whole), await bitsOf(model)), []);
    }
    await resumed.restoreBest();
    t.same(changed(best, await bitsOf(resumed)), [], 'the best weights were in it');
  });
}

t.test('a frozen body resumes too', async (t) => {
  const path = join(t.testdir(), 'checkpoint.pt');
  const start = async () => {
    const model = await open(t, 'residual');
    await model.setTrainable(['fc.weight', 'fc.bias'], false);
    await configure(model);
    return model;
  };
  const whole = await start();
  await train(whole, 4);
  const first = await start();
  await train(first, 2);
  await first.saveCheckpoint(path, {});
  const resumed = await start();
  await resumed.loadCheckpoint(path);
  await train(resumed, 2, { from: 2 });
  t.same(changed(await bitsOf(whole), await bitsOf(resumed)), []);
});

/** Trains a model for two steps and writes its checkpoint. */
async function checkpointOf(model: NativeModel, path: string, training: Partial<NativeTraining> = {}) {
  await configure(model, training);
  await train(model, 2);
  await model.keepBest();
  await model.saveCheckpoint(path, {});
  return path;
}

t.test('what is no checkpoint of this model is refused and changes nothing', async (t) => {
  const folder = t.testdir();
  const good = await checkpointOf(await open(t, 'residual'), join(folder, 'good.pt'));
  const bytes = readFileSync(good);
  const fewer = await open(t, 'residual');
  const request = {
    layer: '',
    seed: 0,
    hidden: [],
    dropout: 0,
    standardise: false,
    example: inputsOf('residual'),
  };
  await fewer.replaceHead({ ...request, classes: 6 });
  writeFileSync(join(folder, 'half.pt'), bytes.subarray(0, bytes.length / 2));
  writeFileSync(join(folder, 'empty.pt'), '');
  const adam = { kind: 'adam', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 } as const;
  const foreign = {
    'another network': await checkpointOf(await open(t, 'plain'), join(folder, 'plain.pt')),
    'another number of classes': await checkpointOf(fewer, join(folder, 'fewer.pt')),
    'another optimizer': await checkpointOf(await open(t, 'residual'), join(folder, 'adam.pt'), {
      optimizer: adam,
    }),
    'a model': pathOf('residual'),
    'half a checkpoint': join(folder, 'half.pt'),
    'an empty file': join(folder, 'empty.pt'),
    'no file': join(folder, 'missing.pt'),
    'a folder': folder,
  };
  const [undisturbed, model] = [await open(t, 'residual'), await open(t, 'residual')];
  for (const each of [undisturbed, model]) {
    await configure(each);
    await train(each, 3);
    await each.keepBest();
    await train(each, 1, { from: 3 });
  }
  for (const [what, path] of Object.entries(foreign)) {
    const before = await bitsOf(model);
    await t.rejects(model.loadCheckpoint(path), { code: 'CHECKPOINT_INVALID' }, what);
    t.same(changed(before, await bitsOf(model)), [], what);
  }
  for (const each of [undisturbed, model]) await train(each, 3, { from: 4 });
  t.same(changed(await bitsOf(undisturbed), await bitsOf(model)), [], 'training goes on as if nothing was');
  for (const each of [undisturbed, model]) await each.restoreBest();
  t.same(changed(await bitsOf(undisturbed), await bitsOf(model)), [], 'the kept weights are the same too');
});

t.test('restoreBest brings back weights and statistics, as often as asked', async (t) => {
  const model = await open(t, 'residual');
  await configure(model);
  await t.rejects(model.restoreBest(), { code: 'NOT_TRAINABLE' });
  await train(model, 2);
  await model.keepBest();
  const best = await bitsOf(model);
  for (let i = 0; i < 2; i++) {
    await train(model, 3);
    t.equal(changed(best, await bitsOf(model)).length, Object.keys(best).length);
    await model.restoreBest();
    t.same(changed(best, await bitsOf(model)), []);
  }
});

t.test('restoreBest brings back what a module assigns anew', async (t) => {
  const model = await open(t, 'old-norm');
  await configure(model);
  await train(model, 2, { shape: [4, 4] });
  await model.keepBest();
  const best = await bitsOf(model);
  await train(model, 2, { shape: [4, 4] });
  await model.restoreBest();
  t.same(changed(best, await bitsOf(model)), []);
});
