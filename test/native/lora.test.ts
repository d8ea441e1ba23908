/** Low-rank adapters: nothing changes at first, gradients are those of the factors, and merging is exact. */
import { join } from 'node:path';
import t from 'tap';
import type { AdapterDescription, NativeModel, Tensor } from '../../src/native.js';
import { outcomeOf } from '../process/tiny.js';
import {
  bitsOf,
  changed,
  configure,
  distance,
  hex,
  inputsOf,
  isTensor,
  open,
  randomBatch,
  randomTensor,
  train,
} from './fixtures.js';

const request = { rank: 2, scale: 1.5, seed: 3 };

async function logitsOf(model: NativeModel, inputs: Tensor[]): Promise<Tensor> {
  const output = await model.forward(inputs);
  const main = Array.isArray(output) ? output[0] : output;
  if (!isTensor(main)) throw new Error('the model gives no tensor');
  return main;
}

/** All layers but the heads. */
async function body(model: NativeModel): Promise<string[]> {
  const { layers, heads } = await model.describe();
  return layers.filter((layer) => !heads.some(({ module }) => module === layer));
}

/** Moves B away from 0. */
async function moveUp(model: NativeModel): Promise<AdapterDescription[]> {
  const { adapters } = await model.describe();
  const names = adapters.map(({ up }) => up);
  const values = await model.values(names);
  await model.setValues(
    names,
    values.map(({ shape }, i) => randomTensor(shape, 20 + i)),
  );
  return adapters;
}

/** rows x columns of a tensor taken as a matrix. */
function matrix({ data, shape }: Tensor): {
  at(row: number, column: number): number;
  rows: number;
  columns: number;
} {
  const rows = shape[0] ?? 0;
  const columns = data.length / rows;
  return { rows, columns, at: (row, column) => Number(data[row * columns + column]) };
}

for (const name of ['residual', 'residual.traced-eval', 'squeeze', 'inception', 'vgg']) {
  t.test(
    `adapters in ${name}: same logits at first; moved, saved, merged and unmerged are one`,
    async (t) => {
      const model = await open(t, name);
      const inputs = inputsOf(name);
      const before = await logitsOf(model, inputs);
      const { heads, modules } = await model.describe();
      const weights = await bitsOf(model);
      await model.addAdapters({ ...request, layers: await body(model) });
      t.equal(hex(await logitsOf(model, inputs)), hex(before), 'bit for bit');
      t.same((await model.describe()).heads, heads, 'the head is found behind them');
      const adapters = await moveUp(model);
      t.ok(adapters.length > 0);
      const moved = await logitsOf(model, inputs);
      t.ok(distance(moved, before) > 1e-3);
      t.same(
        changed(weights, await bitsOf(model)).sort(),
        adapters.flatMap(({ down, up }) => [down, up]).sort(),
        'the weights are as they were',
      );
      const file = join(t.testdir(), 'merged.pt');
      await model.save(file, {});
      const saved = await open(t, name, file);
      t.ok(distance(await logitsOf(saved, inputs), moved) < 1e-5);
      await model.mergeAdapters();
      t.ok(distance(await logitsOf(model, inputs), moved) < 1e-5);
      for (const merged of [saved, model]) {
        const after = await merged.describe();
        t.same(after.adapters, []);
        t.same(after.heads, heads);
        t.same(
          after.modules.map(({ path, type }) => [path, type]),
          modules.map(({ path, type }) => [path, type]),
          'a plain network',
        );
      }
    },
  );
}

t.test('gradients are those of the factors: dA = s B^T dW, dB = s dW A^T', async (t) => {
  const [model, plain] = [await open(t, 'residual'), await open(t, 'residual')];
  await model.addAdapters({ ...request, layers: await body(model) });
  const adapters = await moveUp(model);
  const weights = adapters.map(({ layer }) => `${layer}.weight`);
  const file = join(t.testdir(), 'merged.pt');
  await model.save(file, {});
  const merged = await open(t, 'residual', file);
  const batch = { ...randomBatch([4, 3, 8, 8], 1), flush: false };
  const still = { groups: [], accumulate: 2 };
  for (const each of [model, merged]) {
    // Adapters see BatchNorm and dropout as they are in eval.
    const names = each === model ? adapters.flatMap(({ down, up }) => [down, up]) : weights;
    await each.setTrainable(names, false);
    await configure(each, { ...still, groups: [{ parameters: names, learningRate: 0, weightDecay: 0 }] });
    await each.step(batch);
  }
  t.ok(plain);
  const wanted = await merged.gradients(weights);
  for (const [i, { layer, rank, scale, down, up }] of adapters.entries()) {
    const dW = matrix(wanted[i] as Tensor);
    const [a, b] = (await model.values([down, up])).map(matrix) as [
      ReturnType<typeof matrix>,
      ReturnType<typeof matrix>,
    ];
    const [dA, dB] = (await model.gradients([down, up])).map((tensor) => matrix(tensor as Tensor)) as [
      ReturnType<typeof matrix>,
      ReturnType<typeof matrix>,
    ];
    let worst = 0;
    let largest = 0;
    for (let r = 0; r < rank; r++) {
      for (let column = 0; column < a.columns; column++) {
        let sum = 0;
        for (let row = 0; row < b.rows; row++) sum += scale * b.at(row, r) * dW.at(row, column);
        worst = Math.max(worst, Math.abs(sum - dA.at(r, column)));
        largest = Math.max(largest, Math.abs(sum));
      }
      for (let row = 0; row < b.rows; row++) {
        let sum = 0;
        for (let column = 0; column < a.columns; column++)
          sum += scale * dW.at(row, column) * a.at(r, column);
        worst = Math.max(worst, Math.abs(sum - dB.at(row, r)));
        largest = Math.max(largest, Math.abs(sum));
      }
    }
    t.ok(largest > 1e-5, `${layer} has a gradient`);
    t.ok(worst < 1e-4 * largest + 1e-7, `${layer}: ${worst} of ${largest}`);
  }
});

t.test('a plan proves equal with adapters on top alone, and folds BatchNorm behind them', async (t) => {
  const model = await open(t, 'residual');
  const layers = await body(model);
  await model.addAdapters({ ...request, layers: layers.slice(-2) });
  const adapters = await moveUp(model);
  const learning = [...adapters.flatMap(({ down, up }) => [down, up]), 'fc.weight', 'fc.bias'];
  await model.setTrainable(learning, false);
  await configure(model);
  const plan = await model.plan(randomBatch([4, 3, 8, 8], 1), { precision: 'float32', split: true });
  t.ok(plan.split, plan.reason);
  t.not(plan.variant, 'exact');
  const before = await bitsOf(model);
  await train(model, 3);
  t.same(changed(before, await bitsOf(model)).sort(), learning.sort());
});

t.test('what cannot be adapted is refused, and the model is as it was', async (t) => {
  const model = await open(t, 'residual');
  const before = await bitsOf(model);
  const layers = await body(model);
  t.equal(await outcomeOf(() => model.addAdapters({ ...request, layers, rank: 1000 })), 'INVALID_VALUE');
  t.equal(await outcomeOf(() => model.addAdapters({ ...request, layers: [] })), 'INVALID_VALUE');
  t.equal(await outcomeOf(() => model.addAdapters({ ...request, layers: ['nowhere'] })), 'NO_HEAD');
  t.same(await bitsOf(model), before);
  await model.addAdapters({ ...request, layers });
  t.equal(await outcomeOf(() => model.addAdapters({ ...request, layers })), 'INVALID_VALUE', 'twice');
  const frozen = await open(t, 'residual.frozen');
  t.equal(await outcomeOf(() => frozen.addAdapters({ ...request, layers })), 'MODEL_FROZEN');
});
