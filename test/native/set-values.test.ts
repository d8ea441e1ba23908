/** setValues: exactly these values, all or none; a plan that has others baked in is not used any more. */
import t from 'tap';
import type { NativeModel, Tensor } from '../../src/native.js';
import { outcomeOf } from '../process/tiny.js';
import { bitsOf, changed, configure, distance, hex, inputsOf, open, randomBatch, train } from './fixtures.js';

const head = ['fc.weight', 'fc.bias'];
const batch = randomBatch([4, 3, 8, 8], 1);
const vector = (...values: number[]): Tensor => ({
  data: Float32Array.from(values),
  shape: [values.length],
  dtype: 'float32',
});

/** These values, a little changed. */
async function moved(model: NativeModel, names: string[]): Promise<Tensor[]> {
  const values = await model.values(names);
  return values.map((value) => ({
    ...value,
    data: Float32Array.from(value.data as Float32Array, (x, i) => x * 1.5 + 0.01 * ((i % 7) + 1)),
  }));
}

t.test('parameters and buffers get these bits, and nothing else changes', async (t) => {
  const model = await open(t, 'residual');
  const names = ['fc.weight', 'bn1.running_var', 'block.conv1.weight'];
  const [before, values] = [await bitsOf(model), await moved(model, names)];
  await model.setValues(names, values);
  t.same((await model.values(names)).map(hex), values.map(hex));
  t.same(changed(before, await bitsOf(model)).sort(), [...names].sort());
  const other = await open(t, 'residual');
  t.ok(
    distance(
      (await other.forward(inputsOf('residual'))) as Tensor,
      (await model.forward(inputsOf('residual'))) as Tensor,
    ) > 1e-3,
  );
  await model.setValues([], []);
});

t.test('float64 is rounded to what the model holds', async (t) => {
  const model = await open(t, 'residual');
  const given = Float64Array.from({ length: 5 }, (_, i) => 1 / (i + 3));
  await model.setValues(['fc.bias'], [{ data: given, shape: [5], dtype: 'float64' }]);
  t.same((await model.values(['fc.bias'])).map(hex), [hex(vector(...given))]);
});

const wrong: [string, string[], unknown, string][] = [
  ['an unknown name', ['fc.bias', 'none'], [vector(1, 2, 3, 4, 5), vector(1)], 'INVALID_VALUE'],
  ['a name twice', ['fc.bias', 'fc.bias'], [vector(1, 2, 3, 4, 5), vector(1, 2, 3, 4, 5)], 'INVALID_VALUE'],
  ['another shape', ['bn1.bias', 'fc.bias'], [vector(1, 2, 3, 4), vector(1, 2, 3, 4)], 'SHAPE_MISMATCH'],
  ['fewer values', ['fc.bias', 'bn1.bias'], [vector(1, 2, 3, 4, 5)], 'SHAPE_MISMATCH'],
  ['NaN', ['fc.bias'], [vector(1, 2, Number.NaN, 4, 5)], 'INVALID_VALUE'],
  ['infinity', ['fc.bias'], [vector(1, 2, 3, Number.NEGATIVE_INFINITY, 5)], 'INVALID_VALUE'],
  [
    'more than float32 holds',
    ['fc.bias'],
    [{ data: Float64Array.of(1, 2, 3, 4, 1e300), shape: [5], dtype: 'float64' }],
    'INVALID_VALUE',
  ],
  ['integers', ['fc.bias'], [{ data: new Int32Array(5), shape: [5], dtype: 'int32' }], 'INVALID_TYPE'],
  ['a counter', ['bn1.num_batches_tracked'], [{ ...vector(1), shape: [] }], 'INVALID_VALUE'],
  ['no tensors', ['fc.bias'], [[1, 2, 3, 4, 5]], 'INVALID_TYPE'],
  ['no list', ['fc.bias'], undefined, 'INVALID_TYPE'],
];
t.test('what is wrong is refused by code, and then nothing is set', async (t) => {
  const model = await open(t, 'residual');
  const before = await bitsOf(model);
  const good = await moved(model, ['conv1.weight']);
  for (const [what, names, values, code] of wrong) {
    t.equal(await outcomeOf(() => model.setValues(names, values as Tensor[])), code, what);
    const beside = Array.isArray(values) ? [...good, ...values] : (values as never);
    t.equal(await outcomeOf(() => model.setValues(['conv1.weight', ...names], beside)), code, what);
    t.same(changed(before, await bitsOf(model)), [], what);
  }
});

t.test('a plan that holds the old values is not used any more', async (t) => {
  const names = ['block.conv1.weight', 'block.bn2.running_mean'];
  const [planned, plain] = [await open(t, 'residual'), await open(t, 'residual')];
  for (const model of [planned, plain]) {
    await model.setTrainable(head, false);
    await configure(model);
  }
  await planned.plan(batch, { precision: 'float32', split: true });
  const before = (await planned.evaluate(batch)).logits;
  for (const model of [planned, plain]) await model.setValues(names, await moved(model, names));
  const after = (await planned.evaluate(batch)).logits;
  t.ok(distance(after, before) > 1e-3);
  t.equal(distance(after, (await plain.evaluate(batch)).logits), 0);
  t.match(await planned.plan(batch, { precision: 'float32', split: true }), { split: true });
  t.ok(distance((await planned.evaluate(batch)).logits, after) < 1e-5);
});

t.test('a plan holds when what learns is set', async (t) => {
  const [planned, plain] = [await open(t, 'residual'), await open(t, 'residual')];
  for (const model of [planned, plain]) {
    await model.setTrainable(head, false);
    await configure(model);
  }
  await planned.plan(batch, { precision: 'float32', split: true });
  await planned.openFeatures({ path: '', identity: '{}', label: '', memoryBytes: 1 << 20, fileBytes: 0 });
  for (const model of [planned, plain]) await model.setValues(head, await moved(model, head));
  t.equal(
    await outcomeOf(() => planned.readFeatures(Int32Array.of(0))),
    'FEATURES_DAMAGED',
    'not refused as stale',
  );
  t.ok(distance((await planned.evaluate(batch)).logits, (await plain.evaluate(batch)).logits) < 1e-5);
  // And training goes on from there.
  const set = await bitsOf(planned);
  for (const model of [planned, plain]) await train(model, 1);
  t.same(changed(set, await bitsOf(planned)).sort(), [...head].sort());
  const [ours, theirs] = [await planned.values(head), await plain.values(head)];
  for (const [i, value] of ours.entries()) t.ok(distance(value, theirs[i] as Tensor) < 1e-5);
});

t.test('a tensor with two names is set under one of them', async (t) => {
  const model = await open(t, 'tied');
  const names = ['decoder.weight', 'embedding.weight'];
  const bits = await bitsOf(model);
  const tied = Object.keys(bits).filter((name) => names.includes(name));
  const [weight] = await moved(model, ['decoder.weight']);
  t.ok(tied.length > 0);
  await model.setValues(['decoder.weight'], [weight as Tensor]);
  t.equal((await bitsOf(model))[tied[0] as string], hex(weight));
});

t.test('BatchNorm that was folded learns again when it is given statistics', async (t) => {
  const model = await open(t, 'folded');
  const { foldedBatchNorm, batchNorms } = await model.describe();
  t.ok(foldedBatchNorm);
  const name = `${batchNorms[0]}.running_mean`;
  const [mean] = await moved(model, [name]);
  await model.setValues([name], [mean as Tensor]);
  t.match(await model.describe(), { foldedBatchNorm: false, batchNorms });
});
