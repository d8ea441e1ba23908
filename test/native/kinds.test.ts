/** Models exported for another place or purpose: converted, mended or refused on loading, and never wrong in silence. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import type { NativeModel, Tensor, Value } from '../../src/native.js';
import { bitsOf, changed, configure, distance, isTensor, open, randomBatch, tensorOf } from './fixtures.js';

const kinds = fileURLToPath(new URL('../fixtures/kinds', import.meta.url));
const { outputs } = JSON.parse(gunzipSync(readFileSync(join(kinds, 'expected.json.gz'))).toString()) as {
  outputs: Record<
    string,
    { inputs: Parameters<typeof tensorOf>[0][]; output: Parameters<typeof tensorOf>[0] }
  >;
};
const openKind = (t: Parameters<typeof open>[0], name: string) => open(t, name, join(kinds, `${name}.pt`));

function asTensor(value: Value): Tensor {
  if (!isTensor(value)) throw new Error('the model gives no tensor');
  return value;
}

/** Largest distance to what PyTorch's float32 network gives. */
async function error(model: NativeModel, name: string): Promise<number> {
  const { inputs, output } = outputs[name] as (typeof outputs)[string];
  return distance(asTensor(await model.forward(inputs.map(tensorOf))), tensorOf(output));
}

async function reopened(t: Test, model: NativeModel): Promise<NativeModel> {
  const file = join(t.testdir(), 'saved.pt');
  await model.save(file, {});
  return open(t, 'saved', file);
}

const precisions = {
  half: 'float16',
  double: 'float64',
  bfloat16: 'bfloat16',
  'half-casting': 'float16',
  'half-traced': 'float16',
};
for (const [name, precision] of Object.entries(precisions)) {
  t.test(`${name} becomes float32, in its code too, and so does the file that it is saved to`, async (t) => {
    const model = await openKind(t, name);
    const { convertedFrom, parameters, buffers } = await model.describe();
    t.same(convertedFrom, [precision]);
    const floats = [...parameters, ...buffers].filter(({ dtype }) => dtype !== 'int64');
    t.same([...new Set(floats.map(({ dtype }) => dtype))], ['float32']);
    t.ok((await error(model, name)) < 1e-6);
    const saved = await reopened(t, model);
    t.same((await saved.describe()).convertedFrom, []);
    t.ok((await error(saved, name)) < 1e-6);
  });
}

t.test('a model traced on a GPU runs where it is', async (t) => {
  const model = await openKind(t, 'gpu-traced');
  t.equal((await model.describe()).moved, true);
  t.ok((await error(model, 'gpu-traced')) < 1e-6);
  const saved = await reopened(t, model);
  t.equal((await saved.describe()).moved, false);
});

t.test('a quantised model predicts, and is refused wherever it would have to learn', async (t) => {
  const model = await openKind(t, 'quantised');
  t.same((await model.describe()).quantised, ['fc._packed_params']);
  t.ok((await error(model, 'quantised')) < 1e-6);
  const refusal = {
    code: 'NOT_TRAINABLE',
    message: /8-bit weights, which cannot learn\. Export the float32 model/,
  };
  await t.rejects(configure(model), refusal);
  await t.rejects(model.addAdapters({ layers: ['conv'], rank: 1, scale: 1, seed: 0 }), refusal);
});

t.test('a model traced in train mode follows train and eval mode, as a scripted one does', async (t) => {
  const model = await openKind(t, 'traced-train');
  const { tracedInTrain, changingInEval } = await model.describe();
  t.same({ tracedInTrain, changingInEval }, { tracedInTrain: true, changingInEval: '' });
  t.ok((await error(model, 'traced-train')) < 1e-6, 'no dropout, and running statistics');
  const before = await bitsOf(model);
  await error(model, 'traced-train');
  t.same(changed(before, await bitsOf(model)), [], 'predicting changes no statistics');
  await configure(model);
  await model.step(randomBatch([6, 3, 8, 8], 1, 4));
  const after = changed(before, await bitsOf(model));
  t.ok(after.includes('bn.running_mean') && after.includes('bn.running_var'), 'learning does');
  const saved = await reopened(t, await openKind(t, 'traced-train'));
  t.same((await saved.describe()).tracedInTrain, false);
  t.ok((await error(saved, 'traced-train')) < 1e-6);
});

t.test('what changes from call to call in eval mode is named', async (t) => {
  const named = async (name: string) => (await (await openKind(t, name)).describe()).changingInEval;
  t.equal(await named('random-depth'), 'aten::bernoulli_');
  t.equal(await named('always-drops'), 'aten::dropout');
  t.equal(await named('random-depth-scripted'), '', 'where a flag turns it off');
  t.equal(await named('half'), '');
});

t.test('tied weights are one parameter with several names, however the file holds them', async (t) => {
  const names = async (name: string) => {
    const { parameters, layers } = await (await openKind(t, name)).describe();
    return {
      shared: parameters.flatMap(({ name, otherNames }) => otherNames.map((other) => `${name} ${other}`)),
      layers,
    };
  };
  const layers = ['a', 'b', 'fc'];
  t.same(await names('tied-tensor'), { shared: ['a.weight b.weight'], layers });
  t.same(await names('tied-memory'), { shared: ['a.weight b.weight'], layers });
  t.same(await names('shared-module'), { shared: ['a.weight b.weight'], layers });
  t.same(await names('tied-transpose'), { shared: [], layers }, 'another tensor over the same memory');
});

for (const name of ['tied-tensor', 'tied-memory', 'shared-module']) {
  t.test(
    `${name}: layers that share a weight share an adapter, and what is saved is what was trained`,
    async (t) => {
      const model = await openKind(t, name);
      await model.addAdapters({ layers: ['a', 'b'], rank: 2, scale: 2, seed: 1 });
      const { adapters } = await model.describe();
      t.same(
        adapters.map(({ layer }) => layer),
        ['a'],
      );
      t.ok((await error(model, name)) < 1e-6);
      const learning = adapters.flatMap(({ down, up }) => [down, up]);
      await model.setTrainable(learning, false);
      await configure(model, {
        optimizer: { kind: 'sgd', momentum: 0, dampening: 0, nesterov: false },
        groups: [{ parameters: learning, learningRate: 0.3, weightDecay: 0 }],
      });
      for (let step = 0; step < 20; step++) await model.step(randomBatch([4, 6], step, 3));
      t.ok((await error(model, name)) > 0.01, 'it learned');
      const input = (outputs[name] as (typeof outputs)[string]).inputs.map(tensorOf);
      const trained = asTensor(await model.forward(input));
      const saved = await reopened(t, model);
      t.ok(distance(asTensor(await saved.forward(input)), trained) < 1e-5);
      await model.mergeAdapters();
      t.ok(distance(asTensor(await model.forward(input)), trained) < 1e-5);
    },
  );
}

t.test('tensors over the same memory learn together or not at all, and have no adapter', async (t) => {
  const model = await openKind(t, 'tied-transpose');
  await t.rejects(model.setTrainable(['b.weight', 'fc.weight'], false), {
    code: 'INVALID_VALUE',
    message: /'b\.weight' and 'a\.weight' share memory.*Freeze both, or let both learn/,
  });
  await model.setTrainable(['a.weight', 'b.weight'], false);
  await model.setTrainable(['fc.weight'], false);
  await t.rejects(model.addAdapters({ layers: ['b'], rank: 1, scale: 1, seed: 0 }), {
    code: 'INVALID_VALUE',
    message: /share memory in different forms, so layer 'b' cannot have an adapter/,
  });
});

t.test('frozen means frozen, by whatever name: a tied weight and the dropout behind it', async (t) => {
  const model = await openKind(t, 'tied-tensor');
  await model.setTrainable(['fc.weight', 'fc.bias'], false);
  await configure(model);
  const before = await bitsOf(model);
  for (let step = 0; step < 5; step++) await model.step(randomBatch([4, 6], step, 3));
  t.same(changed(before, await bitsOf(model)).sort(), ['fc.bias', 'fc.weight']);
});
