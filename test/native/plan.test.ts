/** A model split into a compiled frozen prefix and the rest computes what the unsplit one does, however forward is written. */
import t from 'tap';
import { open, tensorOf } from './fixtures.js';
import {
  apart,
  batchFor,
  fileOf,
  modelNames,
  openTraining,
  planOf,
  splitNames,
  splits,
  strategiesOf,
  valuesApart,
} from './plans.js';

for (const name of [...splitNames, ...modelNames]) {
  t.test(`${name}: outputs, gradients and steps are the unsplit model's`, async (t) => {
    const described = await open(t, name, fileOf(name));
    const strategies = strategiesOf(await described.describe());
    for (const [strategy, learns] of strategies) {
      const ways = { learns, accumulate: 2 };
      const split = await openTraining(t, name, ways);
      const unsplit = await openTraining(t, name, ways);
      const where = `${name}, ${strategy}`;
      const before = await split.values(learns);
      const plan = await planOf(split, batchFor(name, 4, 0)).catch((error) => error);
      // What learns may not reach the output, or autograd refuse forward's writes: the unsplit model says the same.
      if ('code' in plan) {
        const { code, message } = plan as unknown as { code: string; message: string };
        await t.rejects(() => unsplit.step(batchFor(name, 4, 0)), { code }, `${where}: ${message}`);
        continue;
      }
      t.ok(
        plan.split || plan.reason !== '',
        `${where}: ${plan.split ? plan.prefixLayers.join() : plan.reason}`,
      );
      const after = await split.values(learns);
      t.ok(
        before.every((tensor, i) => apart(after[i], tensor) === 0),
        `${where}: planning changes no weight`,
      );
      for (const count of [4, 3]) {
        const batch = batchFor(name, count, count);
        const [ours, theirs] = [await split.evaluate(batch), await unsplit.evaluate(batch)];
        t.ok(apart(ours.logits, theirs.logits) < 2e-5, `${where}: logits of ${count}`);
      }
      for (const step of [1, 2, 3, 4]) {
        const batch = batchFor(name, 4, step);
        const [ours, theirs] = [await split.step(batch), await unsplit.step(batch)];
        t.ok(
          Math.abs(ours.loss - theirs.loss) < 2e-4 * Math.max(1, theirs.loss),
          `${where}: loss ${ours.loss}, ${theirs.loss}`,
        );
        if (step !== 1) continue;
        const [mine, other] = [await split.gradients(learns), await unsplit.gradients(learns)];
        const most = Math.max(0, ...other.map((gradient, i) => apart(mine[i], gradient)));
        t.ok(most < 2e-4, `${where}: gradients within ${most}`);
      }
      const { buffers } = await unsplit.describe();
      const floats = buffers.filter(({ dtype }) => dtype.startsWith('float')).map((buffer) => buffer.name);
      const most = floats.length > 0 ? await valuesApart(split, unsplit, floats) : 0;
      t.ok(most < 1e-3, `${where}: buffers within ${most}`);
    }
  });
}

t.test("a split model's outputs are PyTorch's", async (t) => {
  for (const name of splitNames) {
    const model = await openTraining(t, name, { learns: ['fc.weight', 'fc.bias'] });
    await planOf(model, batchFor(name, 4, 0));
    const { logits } = await model.evaluate({ inputs: [tensorOf(splits.input)] });
    t.ok(apart(logits, tensorOf(splits.outputs[name] as never)) < 2e-5, name);
  }
});

t.test('what changes the model ends its plan, and the results stay right', async (t) => {
  const learns = ['fc.weight', 'fc.bias'];
  const [split, unsplit] = [
    await openTraining(t, 'branches', { learns }),
    await openTraining(t, 'branches', { learns }),
  ];
  t.ok((await planOf(split, batchFor('branches', 4, 0))).split);
  for (const model of [split, unsplit]) await model.setTrainable(['body.weight', ...learns], false);
  for (const seed of [1, 2]) {
    const batch = batchFor('branches', 4, seed);
    t.ok(Math.abs((await split.step(batch)).loss - (await unsplit.step(batch)).loss) < 1e-5);
  }
  t.ok((await valuesApart(split, unsplit, ['body.weight'])) < 1e-4, 'the layer that was frozen learns');
});
