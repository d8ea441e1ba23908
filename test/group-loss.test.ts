/** Weighted losses and GroupDRO: PyTorch's numbers over many steps, bit-equal resuming, and what is refused. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { createTrainer, type LossOption, type Model, type TrainerBatch } from '../src/index.js';
import { callNative } from '../src/native-call.js';
import { openLinear } from '../src/probe/linear.js';

interface Fixture {
  shape: [number, number];
  groups: number;
  weight: number[];
  bias: number[];
  batches: { x: number[]; y: number[]; groups: number[]; weights: number[] }[];
  cases: {
    loss: Exclude<LossOption, string>;
    losses: number[];
    weight: number[];
    bias: number[];
    stepSize?: number;
    q?: number[];
  }[];
}

const file = fileURLToPath(new URL('./fixtures/training/groups.json.gz', import.meta.url));
const fixture = JSON.parse(gunzipSync(readFileSync(file)).toString()) as Fixture;

const open = () =>
  openLinear({ weight: Float32Array.from(fixture.weight), bias: Float32Array.from(fixture.bias) });

function batchOf(index: number, kind: 'weights' | 'groups'): TrainerBatch {
  const { x, y, groups, weights } = fixture.batches[index] as Fixture['batches'][number];
  return {
    inputs: [{ data: Float32Array.from(x), shape: fixture.shape, dtype: 'float32' }],
    target: { data: Int32Array.from(y), shape: [y.length], dtype: 'int32' },
    ...(kind === 'groups' ? { groups: Int32Array.from(groups) } : { weights: Float32Array.from(weights) }),
  };
}

const plain = { optimizer: { kind: 'sgd', momentum: 0 }, learningRate: 0.5, weightDecay: 0 } as const;
const dro = (stepSize: number) => ({ groupDro: { groups: fixture.groups, stepSize } });

async function valuesOf(model: Model): Promise<number[]> {
  const [weight, bias] = await callNative(() => model.native.values(['weight', 'bias']));
  return [...(weight?.data as Float32Array), ...(bias?.data as Float32Array)];
}

function farthest(found: readonly number[], wanted: readonly number[]): number {
  return found.reduce((most, value, at) => Math.max(most, Math.abs(value - (wanted[at] as number))), 0);
}

for (const { loss, losses, weight, bias, stepSize } of fixture.cases) {
  const kind = stepSize === undefined ? 'weights' : 'groups';
  const title = `${loss.kind}, ${stepSize === undefined ? 'weighted' : `GroupDRO ${stepSize}`}`;
  t.test(`${title}: PyTorch's losses and weights over ${losses.length} steps`, async (t) => {
    await using model = await open();
    const trainer = await createTrainer(model, {
      ...{ ...plain, loss },
      ...(stepSize === undefined ? {} : dro(stepSize)),
    });
    const found: number[] = [];
    for (const index of fixture.batches.keys()) found.push((await trainer.step(batchOf(index, kind))).loss);
    t.equal(found.length, losses.length);
    t.ok(farthest(found, losses) < 2e-5, `losses are ${farthest(found, losses)} apart`);
    const apart = farthest(await valuesOf(model), [...weight, ...bias]);
    t.ok(apart < 5e-5, `weights are ${apart} apart`);
  });
}

t.test('the two step sizes differ, so that q matters in the fixture', async (t) => {
  const [slow, fast] = fixture.cases.filter(({ stepSize, loss }) => stepSize && loss.kind === 'crossEntropy');
  t.ok(farthest(slow?.losses ?? [], fast?.losses ?? []) > 0.05);
});

t.test('weights that are all alike are no weights', async (t) => {
  const losses: number[] = [];
  for (const weighs of [false, true]) {
    await using model = await open();
    const trainer = await createTrainer(model, plain);
    const { inputs, target } = batchOf(0, 'weights');
    const weights = new Float32Array(fixture.shape[0]).fill(3);
    losses.push((await trainer.step({ inputs, target, ...(weighs ? { weights } : {}) })).loss);
  }
  t.ok(Math.abs((losses[0] as number) - (losses[1] as number)) < 1e-6);
});

t.test('lbfgs takes weights: samples of weight 0 play no part', async (t) => {
  const fitted: number[][] = [];
  const { inputs, target } = batchOf(0, 'weights');
  const [count, columns] = fixture.shape;
  const half = count / 2;
  const weights = new Float32Array(count).fill(1, 0, half);
  const first = {
    inputs: [
      {
        ...(inputs[0] as (typeof inputs)[number]),
        data: (inputs[0]?.data as Float32Array).slice(0, half * columns),
        shape: [half, columns],
      },
    ],
    target: { ...target, data: (target.data as Int32Array).slice(0, half), shape: [half] },
  };
  for (const batch of [{ inputs, target, weights }, first]) {
    await using model = await open();
    const trainer = await createTrainer(model, { optimizer: 'lbfgs', weightDecay: 0.1 });
    await trainer.step(batch);
    fitted.push(await valuesOf(model));
  }
  t.ok(farthest(fitted[0] as number[], fitted[1] as number[]) < 1e-4);
});

t.test('a checkpoint keeps q: a resumed run is bit-equal', async (t) => {
  const path = join(t.testdir(), 'checkpoint.pt');
  await using straight = await open();
  const trainer = await createTrainer(straight, { ...plain, ...dro(0.5) });
  for (let index = 0; index < 8; index++) {
    await trainer.step(batchOf(index, 'groups'));
    if (index === 3) await trainer.saveCheckpoint(path);
  }
  await using resumed = await open();
  const later = await createTrainer(resumed, { ...plain, ...dro(0.5) });
  await later.loadCheckpoint(path);
  for (let index = 4; index < 8; index++) await later.step(batchOf(index, 'groups'));
  t.same(await valuesOf(resumed), await valuesOf(straight));

  await using fresh = await open();
  const without = await createTrainer(fresh, { ...plain, ...dro(0.5) });
  await without.loadCheckpoint(path);
  const other = await createTrainer(fresh, { ...plain, ...dro(0.5) });
  for (let index = 4; index < 8; index++) await other.step(batchOf(index, 'groups'));
  t.not(String(await valuesOf(fresh)), String(await valuesOf(straight)), 'q from the start would differ');

  const fewer = await createTrainer(fresh, { ...plain, groupDro: { groups: 3 } });
  await t.rejects(fewer.loadCheckpoint(path), { code: 'CHECKPOINT_INVALID', message: /other groups/ });
});

t.test('a step that fails leaves q as it was', async (t) => {
  const after: number[][] = [];
  for (const fails of [false, true]) {
    await using model = await open();
    const trainer = await createTrainer(model, { ...plain, ...dro(0.5) });
    await trainer.step(batchOf(0, 'groups'));
    const batch = batchOf(1, 'groups');
    const bad = {
      ...batch,
      inputs: [{ ...(batch.inputs[0] as object), data: new Float32Array(120).fill(Number.NaN) }],
    };
    if (fails) await t.rejects(trainer.step(bad as TrainerBatch), { code: 'LOSS_NOT_FINITE' });
    await trainer.step(batchOf(2, 'groups'));
    after.push(await valuesOf(model));
  }
  t.same(after[0], after[1]);
});

t.test('what does not fit is refused', async (t) => {
  await using model = await open();
  const weighted = batchOf(0, 'weights');
  const grouped = batchOf(0, 'groups');
  const plainTrainer = await createTrainer(model, plain);
  await t.rejects(plainTrainer.step(grouped), { code: 'INVALID_VALUE', message: /without `groupDro`/ });
  const change = (weights: Float32Array) => plainTrainer.step({ ...weighted, weights });
  await t.rejects(change(new Float32Array(3)), { code: 'SHAPE_MISMATCH', message: /3 values for 24/ });
  for (const value of [-1, Number.NaN, Number.POSITIVE_INFINITY, 0]) {
    await t.rejects(change(new Float32Array(24).fill(value)), { code: 'INVALID_VALUE', message: /weights/ });
  }
  const robust = await createTrainer(model, { ...plain, ...dro(0.1) });
  await t.rejects(robust.step(weighted), { code: 'INVALID_TYPE', message: /needs `groups`/ });
  const both = { ...grouped, weights: new Float32Array(24).fill(1) };
  await t.rejects(robust.step(both), { code: 'INVALID_VALUE', message: /do not go together/ });
  for (const group of [-1, 4]) {
    const batch = { ...grouped, groups: new Int32Array(24).fill(group) };
    await t.rejects(robust.step(batch), { code: 'INVALID_VALUE', message: new RegExp(`has ${group};`) });
  }
  await t.rejects(createTrainer(model, { optimizer: 'lbfgs', ...dro(0.1) }), { code: 'INVALID_VALUE' });
  const own = await createTrainer(model, {
    ...plain,
    loss: 'def loss(output, target):\n    return torch.cross_entropy_loss(output, target)',
  });
  await t.rejects(own.step(weighted), { code: 'INVALID_VALUE', message: /source text/ });
});
