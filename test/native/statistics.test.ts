/** BatchNorm statistics measured anew: PyTorch's momentum=None, to rounding; what cannot be measured stays as it was. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import type { NativeModel, Tensor } from '../../src/native.js';
import { native } from './fixtures.js';

const path = (name: string) => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url));
const reference = JSON.parse(gunzipSync(readFileSync(path('domain.json.gz'))).toString()) as {
  batches: number[][];
  shape: number[];
  statistics: Record<string, number[]>[];
};
const batches = reference.batches.map((values): { inputs: Tensor[] } => ({
  inputs: [{ data: Float32Array.from(values), shape: reference.shape, dtype: 'float32' }],
}));

async function open(t: { teardown(free: () => unknown): unknown }, name: string): Promise<NativeModel> {
  const model = await native.load(path(name), { device: 'cpu', threads: 1 });
  t.teardown(() => model.dispose());
  return model;
}

async function valuesOf(model: NativeModel): Promise<Record<string, number[]>> {
  const { parameters, buffers } = await model.describe();
  const names = [...parameters, ...buffers].map(({ name }) => name);
  const values = await model.values(names);
  return Object.fromEntries(names.map((name, at) => [name, Array.from(values[at]?.data ?? [], Number)]));
}

t.test('statistics equal those of momentum=None after each batch, whatever the momentum was', async (t) => {
  const model = await open(t, 'domain.pt');
  const before = await valuesOf(model);
  for (const [at, batch] of batches.entries()) {
    await model.estimateStatistics({ ...batch, before: at });
    const found = await valuesOf(model);
    for (const [name, expected] of Object.entries(reference.statistics[at] ?? {})) {
      const largest = Math.max(...expected.map(Math.abs));
      for (const [i, value] of expected.entries()) {
        const own = found[name]?.[i] as number;
        t.ok(Math.abs(own - value) <= 1e-6 * largest, `${name}[${i}] after ${at + 1}: ${own}, ${value}`);
      }
    }
  }
  const after = await valuesOf(model);
  for (const [name, values] of Object.entries(before)) {
    if (/running|tracked/.test(name)) t.notSame(after[name], values, `${name} is new`);
    else t.same(after[name], values, `${name} is as it was`);
  }
  // With `before` 0 all that was kept is forgotten.
  await model.estimateStatistics({ ...(batches[0] as { inputs: Tensor[] }), before: 0 });
  const again = await valuesOf(model);
  t.same(again['bn1.num_batches_tracked'], [1]);
  const first = reference.statistics[0]?.['bn3.running_mean'] as number[];
  t.ok(first.every((value, i) => Math.abs(value - (again['bn3.running_mean']?.[i] as number)) < 1e-6));
});

t.test('the model is in eval mode afterwards, and evaluates with the new statistics', async (t) => {
  const model = await open(t, 'domain.pt');
  const [batch] = batches as [{ inputs: Tensor[] }];
  const before = await model.forward(batch.inputs);
  await model.estimateStatistics({ ...batch, before: 0 });
  const after = await model.forward(batch.inputs);
  t.notSame(after, before);
  t.same(await model.forward(batch.inputs), after, 'no dropout, and forward changes no statistics');
  t.ok((await model.describe()).modules.every(({ training }) => !training));
});

t.test('what cannot be measured is refused, and nothing changes', async (t) => {
  const [batch] = batches as [{ inputs: Tensor[] }];
  for (const [name, message] of [
    ['models/plain.pt', /no BatchNorm/],
    ['models/residual.traced-eval.pt', /traced into its graph/],
    ['models/folded.pt', /folded/],
  ] as const) {
    const model = await open(t, name);
    const before = await valuesOf(model);
    await t.rejects(model.estimateStatistics({ ...batch, before: 0 }), { code: 'NOT_TRAINABLE', message });
    t.same(await valuesOf(model), before, name);
  }
  const model = await open(t, 'domain.pt');
  const before = await valuesOf(model);
  const infinite = new Float32Array(3 * 81).fill(Number.POSITIVE_INFINITY);
  const wrong = { inputs: [{ data: infinite, shape: [1, 3, 9, 9], dtype: 'float32' as const }], before: 0 };
  await t.rejects(model.estimateStatistics(wrong), { code: 'MODEL_FAILED' });
  t.same(await valuesOf(model), before, 'statistics that are not finite');
  const small = {
    inputs: [{ data: new Float32Array(12), shape: [1, 3, 2, 2], dtype: 'float32' as const }],
    before: 0,
  };
  await t.rejects(model.estimateStatistics(small), { code: 'MODEL_FAILED' });
  t.same(await valuesOf(model), before, 'images that are too small');
  // Wrong arguments are refused before anything is queued.
  const refuse = (request: object, code: string) =>
    t.throws(() => model.estimateStatistics(request as never), { code });
  refuse({ ...batch, before: -1 }, 'INVALID_VALUE');
  refuse({ ...batch }, 'INVALID_TYPE');
  await t.rejects(async () => model.estimateStatistics({ inputs: [], before: 0 }), {
    code: 'SHAPE_MISMATCH',
  });
  t.same(await valuesOf(model), before);
});
