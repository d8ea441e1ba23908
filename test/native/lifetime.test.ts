/** dispose, use after it, and two operations at once. */
import t from 'tap';
import { bitsOf, changed, configure, inputsOf, native, open, pathOf, randomBatch } from './fixtures.js';

const batch = randomBatch([4, 3, 8, 8], 0);

t.test('dispose frees, twice does no harm, and every use after it is refused', async (t) => {
  const before = native.live().models;
  const model = await open(t, 'residual');
  await configure(model);
  t.equal(native.live().models, before + 1);
  t.ok(model.bytes > 0);
  await Promise.all([model.dispose(), model.dispose()]);
  await model.dispose();
  t.equal(model.bytes, 0);
  t.equal(native.live().models, before);
  t.equal(native.live().tasks, 0);
  const uses = [
    () => model.describe(),
    () => model.values([]),
    () => model.gradients([]),
    () => model.forward(inputsOf('residual')),
    () => model.setTrainable([], false),
    () => model.reinitialise(0),
    () => model.step(batch),
    () => model.evaluate(batch),
    () => model.keepBest(),
    () => model.restoreBest(),
    () => model.save('nowhere', {}),
    () => model.saveCheckpoint('nowhere', {}),
    () => model.loadCheckpoint('nowhere'),
  ];
  for (const use of uses) await t.rejects(async () => use(), { code: 'DISPOSED' }, `${use}`);
});

t.test('a second operation is refused while one runs, and does not disturb it', async (t) => {
  const [alone, model] = [await open(t, 'residual'), await open(t, 'residual')];
  for (const each of [alone, model]) await configure(each);
  await alone.step(batch);
  const step = model.step(batch);
  for (const use of [() => model.step(batch), () => model.describe(), () => model.save('nowhere', {})])
    await t.rejects(async () => use(), { code: 'BUSY' }, `${use}`);
  t.ok(Number.isFinite((await step).loss));
  t.same(changed(await bitsOf(alone), await bitsOf(model)), []);
});

t.test('two models work at the same time', async (t) => {
  const [one, two] = [await open(t, 'residual'), await open(t, 'residual')];
  for (const each of [one, two]) await configure(each);
  for (let i = 0; i < 20; i++) await Promise.all([one.step(batch), two.step(batch)]);
  t.same(changed(await bitsOf(one), await bitsOf(two)), [], 'and neither changes the numbers of the other');
});

t.test('dispose waits for running work', async (t) => {
  const model = await open(t, 'residual');
  await configure(model);
  const order: string[] = [];
  const step = model.step(batch).then(({ loss }) => order.push(Number.isFinite(loss) ? 'step' : 'no loss'));
  const disposed = model.dispose().then(() => order.push('dispose'));
  await t.rejects(async () => model.describe(), { code: 'DISPOSED' });
  await Promise.all([step, disposed]);
  t.same(order, ['step', 'dispose']);
  t.equal(model.bytes, 0);
});

t.test('a load that fails leaves no model behind', async (t) => {
  const before = native.live();
  for (let i = 0; i < 5; i++)
    await t.rejects(native.load(`${pathOf('residual')}.missing`, { device: 'cpu', threads: 1 }));
  t.same(native.live(), before);
});

t.test('bytes follow the head', async (t) => {
  const model = await open(t, 'residual');
  const before = model.bytes;
  const request = {
    layer: '',
    seed: 0,
    hidden: [],
    dropout: 0,
    standardise: false,
    example: inputsOf('residual'),
  };
  await model.replaceHead({ ...request, classes: 105 });
  t.equal(model.bytes, before + 100 * 7 * 4);
});
