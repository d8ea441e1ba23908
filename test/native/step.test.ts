/** step: accumulation, clipping, numbers that are not finite, and refusals that change nothing. */
import t from 'tap';
import type { NativeBatch, NativeModel, Tensor } from '../../src/native.js';
import { bitsOf, changed, configure, distance, open, randomBatch, train } from './fixtures.js';

/** Samples `from` up to `to` of a batch of images and class indices. */
function part(batch: NativeBatch, from: number, to: number): NativeBatch {
  const cut = ({ data, shape, dtype }: Tensor): Tensor => {
    const size = data.length / (shape[0] ?? 1);
    return { data: data.slice(from * size, to * size), shape: [to - from, ...shape.slice(1)], dtype };
  };
  return { inputs: batch.inputs.map(cut), target: cut(batch.target) };
}

async function weightsOf(model: NativeModel): Promise<Tensor[]> {
  const { parameters } = await model.describe();
  return model.values(parameters.map(({ name }) => name));
}

t.test('k accumulated batches equal one of k times the size', async (t) => {
  const [whole, parts] = [await open(t, 'plain'), await open(t, 'plain')];
  await configure(whole);
  await configure(parts, { accumulate: 4 });
  for (let step = 0; step < 5; step++) {
    const batch = randomBatch([8, 3, 8, 8], step);
    const { gradientNorm } = await whole.step(batch);
    const norms: number[] = [];
    for (let i = 0; i < 8; i += 2) norms.push((await parts.step(part(batch, i, i + 2))).gradientNorm);
    t.same(norms.slice(0, 3), [0, 0, 0], 'only the last batch makes an update');
    t.ok(Math.abs((norms[3] ?? 0) - gradientNorm) < 1e-6 * gradientNorm);
  }
  const [wanted, actual] = [await weightsOf(whole), await weightsOf(parts)];
  for (const [i, weight] of wanted.entries()) t.ok(distance(actual[i] as Tensor, weight) < 1e-6);
});

t.test('flush applies an unfinished accumulation as the mean of its batches', async (t) => {
  const [whole, parts] = [await open(t, 'plain'), await open(t, 'plain')];
  await configure(whole);
  await configure(parts, { accumulate: 100 });
  const batch = randomBatch([6, 3, 8, 8], 0);
  await whole.step(batch);
  for (let i = 0; i < 6; i += 2) await parts.step({ ...part(batch, i, i + 2), flush: i === 4 });
  const [wanted, actual] = [await weightsOf(whole), await weightsOf(parts)];
  for (const [i, weight] of wanted.entries()) t.ok(distance(actual[i] as Tensor, weight) < 1e-6);
});

const broken: { name: string; model: string; shape: number[]; value: number }[] = [
  { name: 'NaN', model: 'residual', shape: [4, 3, 8, 8], value: Number.NaN },
  { name: 'an infinity', model: 'residual', shape: [4, 3, 8, 8], value: Number.POSITIVE_INFINITY },
  { name: 'NaN', model: 'old-norm', shape: [4, 4], value: Number.NaN },
];

for (const { name, model: file, shape, value } of broken) {
  t.test(`${name} in the input of ${file} stops with weights and statistics as they were`, async (t) => {
    const [undisturbed, model] = [await open(t, file), await open(t, file)];
    for (const each of [undisturbed, model]) {
      await configure(each);
      await train(each, 3, { shape });
    }
    const before = await bitsOf(model);
    const bad = randomBatch(shape, 9);
    (bad.inputs[0] as Tensor).data[5] = value;
    await t.rejects(model.step(bad), { code: 'LOSS_NOT_FINITE' });
    t.same(changed(before, await bitsOf(model)), []);
    for (const each of [undisturbed, model]) await train(each, 3, { shape, from: 3 });
    t.same(changed(await bitsOf(undisturbed), await bitsOf(model)), [], 'training goes on as if nothing was');
  });
}

t.test('a gradient that is not finite under a finite loss stops too', async (t) => {
  const model = await open(t, 'residual');
  const source = 'def loss(output, target):\n    return torch.sqrt((output * 0).sum())\n';
  await configure(model, { loss: { kind: 'source', source } });
  const before = await bitsOf(model);
  await t.rejects(train(model, 1), { code: 'LOSS_NOT_FINITE' });
  t.same(changed(before, await bitsOf(model)), []);
});

t.test('clipNorm bounds the length of the update and keeps its direction', async (t) => {
  const sgd = { optimizer: { kind: 'sgd', momentum: 0, dampening: 0, nesterov: false } as const };
  const updates: number[][] = [];
  let norm = 0;
  for (const clip of [0, 1e6, 0.01]) {
    const model = await open(t, 'plain');
    const { parameters } = await model.describe();
    const groups = [{ parameters: parameters.map(({ name }) => name), learningRate: 1, weightDecay: 0 }];
    await configure(model, { ...sgd, groups, clipNorm: clip });
    const before = await weightsOf(model);
    norm = (await model.step(randomBatch([4, 3, 8, 8], 0))).gradientNorm;
    const after = await weightsOf(model);
    const update = before.flatMap(({ data }, i) =>
      Array.from(data as Float32Array, (value, k) => value - Number(after[i]?.data[k])),
    );
    updates.push(update);
  }
  const [free, loose, tight] = updates as [number[], number[], number[]];
  t.ok(norm > 0.1);
  t.same(loose, free, 'a norm below the bound changes nothing');
  t.ok(Math.abs(Math.hypot(...free) / norm - 1) < 1e-5, 'gradientNorm is the norm before clipping');
  t.ok(Math.abs(Math.hypot(...tight) / 0.01 - 1) < 1e-4);
  const cosine =
    free.reduce((sum, value, i) => sum + value * (tight[i] ?? 0), 0) / (norm * Math.hypot(...tight));
  t.ok(Math.abs(cosine - 1) < 1e-4);
});

t.test('the same seed gives the same bits, another seed another dropout', async (t) => {
  const ends: Record<string, string>[] = [];
  for (const seed of [3, 3, 4]) {
    const model = await open(t, 'residual');
    await configure(model, { seed });
    await train(model, 5);
    ends.push(await bitsOf(model));
  }
  const [first, again, other] = ends as [
    Record<string, string>,
    Record<string, string>,
    Record<string, string>,
  ];
  t.same(changed(first, again), []);
  t.ok(changed(first, other).includes('conv1.weight'));
});

t.test('loss, correct and count are those of the batch', async (t) => {
  const model = await open(t, 'plain');
  await configure(model);
  const batch = randomBatch([7, 3, 8, 8], 2);
  const { loss, logits } = await model.evaluate(batch);
  const rows = Array.from({ length: 7 }, (_, i) => Array.from(logits.data.slice(i * 5, i * 5 + 5), Number));
  const correct = rows.filter(
    (row, i) => row.indexOf(Math.max(...row)) === Number(batch.target.data[i]),
  ).length;
  t.match(await model.step(batch), { loss, correct, count: 7 });
});

t.test('before configure there is nothing to step', async (t) => {
  const model = await open(t, 'residual');
  for (const work of [
    () => model.step(randomBatch([2, 3, 8, 8], 0)),
    () => model.keepBest(),
    () => model.restoreBest(),
    () => model.saveCheckpoint('nowhere', {}),
    () => model.loadCheckpoint('nowhere'),
  ]) {
    await t.rejects(async () => work(), { code: 'NOT_TRAINABLE' });
  }
});

t.test('a batch that does not fit changes nothing', async (t) => {
  const model = await open(t, 'residual');
  await configure(model);
  await train(model, 1);
  const before = await bitsOf(model);
  const good = randomBatch([4, 3, 8, 8], 0);
  const cases: [NativeBatch, string][] = [
    [{ ...good, target: randomBatch([3, 1], 0).target }, 'SHAPE_MISMATCH'],
    [
      { ...good, target: { data: BigInt64Array.from([0n, 1n, 2n, 5n]), shape: [4], dtype: 'int64' } },
      'SHAPE_MISMATCH',
    ],
    [
      { ...good, target: { data: BigInt64Array.from([0n, 1n, 2n, -1n]), shape: [4], dtype: 'int64' } },
      'SHAPE_MISMATCH',
    ],
    [{ ...good, inputs: randomBatch([4, 4], 0).inputs }, 'MODEL_FAILED'],
    [{ ...good, learningRates: [0.1, 0.1] }, 'SHAPE_MISMATCH'],
  ];
  for (const [batch, code] of cases) {
    await t.rejects(model.step(batch), { code });
    t.same(changed(before, await bitsOf(model)), []);
  }
});
