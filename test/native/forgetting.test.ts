/** L2-SP, EWC and distillation: gradients as PyTorch's and as finite differences, and what must not move. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import type { NativeModel, NativeTraining, Tensor } from '../../src/native.js';
import type { NativeForgetting } from '../../src/native-forgetting.js';
import { bitsOf, changed, configure, distance, hex, inputsOf, open, randomBatch } from './fixtures.js';

interface Numbers {
  data: number[];
  shape: number[];
}

interface Case {
  layer: string;
  inputs: Numbers;
  labels: number[];
  target: number[];
  student: Record<string, Numbers>;
  fisher: Record<string, Numbers>;
  results: Record<
    'l2-sp' | 'ewc' | 'distillation',
    { loss: number; penalty: number; gradients: Record<string, Numbers> }
  >;
}

const { options, cases } = JSON.parse(
  gunzipSync(readFileSync(new URL('../fixtures/forgetting.json.gz', import.meta.url))).toString(),
) as {
  options: { alpha: number; beta: number; lambda: number; weight: number; temperature: number };
  cases: Record<string, Case>;
};

const floats = ({ data, shape }: Numbers): Tensor => ({
  data: Float32Array.from(data),
  shape,
  dtype: 'float32',
});
const indices = (labels: number[]): Tensor => ({
  data: Int32Array.from(labels),
  shape: [labels.length],
  dtype: 'int32',
});

const sgd = { kind: 'sgd', momentum: 0, dampening: 0, nesterov: false } as const;

/** The moved model with its new head; the source is kept, with its Fisher information. */
async function moved(t: { teardown(free: () => unknown): unknown }, name: string): Promise<NativeModel> {
  const { inputs, labels, student } = cases[name] as Case;
  const model = await open(t, name);
  await model.keepSource();
  await model.addFisher({ inputs: [floats(inputs)], target: indices(labels), seed: 0 });
  const example = [floats(inputs)];
  await model.replaceHead({
    ...{ layer: '', classes: 3, seed: 1, hidden: [], dropout: 0, standardise: false },
    example,
  });
  await model.setValues(Object.keys(student), Object.values(student).map(floats));
  return model;
}

function freshOf({ layer }: Case): string[] {
  return [`${layer}.weight`, `${layer}.bias`];
}

function forgettingOf(each: Case, kind: keyof Case['results']): NativeForgetting {
  const { alpha, beta, lambda, weight, temperature } = options;
  const fresh = freshOf(each);
  if (kind === 'l2-sp') return { anchor: { kind, alpha, beta }, fresh };
  if (kind === 'ewc') return { anchor: { kind, lambda }, fresh };
  return { distillation: { weight, temperature, layer: each.layer, classes: 3 }, fresh };
}

async function setUp(model: NativeModel, forgetting: NativeForgetting, more: Partial<NativeTraining> = {}) {
  const { parameters } = await model.describe();
  const names = parameters.map(({ name }) => name);
  const groups = [{ parameters: names, learningRate: 1, weightDecay: 0 }];
  await configure(model, { optimizer: sgd, groups, forgetting, ...more });
  return names;
}

/** Weights before a step of rate 1 less those after it. */
async function gradientBy(model: NativeModel, names: string[], batch: { inputs: Tensor[]; target: Tensor }) {
  const before = await model.values(names);
  const result = await model.step(batch);
  const after = await model.values(names);
  const gradients = before.map(({ data, shape, dtype }, i) => ({
    ...{ shape, dtype },
    data: (data as Float32Array).map((value, at) => value - Number((after[i] as Tensor).data[at])),
  }));
  return { result, gradients };
}

for (const [name, each] of Object.entries(cases)) {
  t.test(`the Fisher information of ${name} is PyTorch's`, async (t) => {
    const model = await moved(t, name);
    const names = Object.keys(each.fisher);
    const found = await model.fisher(names);
    for (const [i, key] of names.entries()) {
      const wanted = floats(each.fisher[key] as Numbers);
      const largest = Math.max(...(wanted.data as Float32Array));
      t.ok(largest > 1e-6, `${key} matters`);
      t.ok(distance(found[i] as Tensor, wanted) < 1e-5 * largest, key);
    }
  });

  for (const kind of ['l2-sp', 'ewc', 'distillation'] as const) {
    t.test(`${kind} of ${name}: loss, penalty and gradient are PyTorch's`, async (t) => {
      const model = await moved(t, name);
      const wanted = each.results[kind];
      if (kind === 'distillation') await model.joinSourceHead(each.layer);
      const names = await setUp(model, forgettingOf(each, kind));
      const batch = { inputs: [floats(each.inputs)], target: indices(each.target) };
      const { result, gradients } = await gradientBy(model, names, batch);
      t.ok(Math.abs(result.loss - wanted.loss) < 1e-5, 'the loss is the task alone');
      t.ok(wanted.penalty > 1e-3, 'there is something to forget');
      t.ok(Math.abs(result.penalty - wanted.penalty) < 1e-4 * wanted.penalty, 'penalty');
      for (const [i, key] of names.entries()) {
        const expected = floats(wanted.gradients[key] as Numbers);
        const joint = kind === 'distillation' && freshOf(each).includes(key);
        // The source's rows of a joint head are held.
        const size = joint ? (expected.data.length * 3) / (expected.shape[0] as number) : 0;
        if (joint) (expected.data as Float32Array).fill(0, size);
        t.ok(distance(gradients[i] as Tensor, expected) < 2e-5, key);
      }
    });
  }

  t.test(`distillation of ${name} is 0 while nothing has moved`, async (t) => {
    const model = await open(t, name);
    await model.keepSource();
    const example = [floats(each.inputs)];
    const request = { layer: '', classes: 3, seed: 1, hidden: [], dropout: 0, standardise: false, example };
    const { parameters: fresh } = await model.replaceHead(request);
    await model.joinSourceHead(each.layer);
    // In eval mode throughout, as BatchNorm of what is frozen is.
    await model.setTrainable(fresh, false);
    await setUp(model, { ...forgettingOf(each, 'distillation'), fresh });
    const batch = { inputs: example, target: indices(each.target) };
    const first = await model.step(batch);
    t.ok(Math.abs(first.penalty) < 1e-7);
    t.ok((await model.step(batch)).loss < first.loss, 'it learns');
  });
}

t.test('finite differences of the sum of loss and penalty give the gradient', async (t) => {
  for (const kind of ['l2-sp', 'ewc', 'distillation'] as const) {
    const name = 'plain';
    const each = cases[name] as Case;
    const batch = { inputs: [floats(each.inputs)], target: indices(each.target) };
    const model = await moved(t, name);
    if (kind === 'distillation') await model.joinSourceHead(each.layer);
    const names = await setUp(model, forgettingOf(each, kind));
    const start = await model.values(names);
    const { gradients } = await gradientBy(model, names, batch);
    const total = async (at: number, index: number, by: number) => {
      const values = start.map((tensor) => ({ ...tensor, data: tensor.data.slice() }));
      const data = values[at]?.data as Float32Array;
      data[index] = (data[index] as number) + by;
      await model.setValues(names, values);
      const { loss, penalty } = await model.step({ ...batch, learningRates: [0] });
      return loss + penalty;
    };
    const step = 4e-3;
    let checked = 0;
    for (const [at, key] of names.entries()) {
      const { data, shape } = gradients[at] as Tensor;
      const rows =
        kind === 'distillation' && key.startsWith('fc')
          ? (data.length * 3) / (shape[0] as number)
          : data.length;
      for (let index = 0; index < rows; index += 5) {
        const slope = ((await total(at, index, step)) - (await total(at, index, -step))) / (2 * step);
        t.ok(
          Math.abs(slope - Number(data[index])) < 1e-3 + 5e-3 * Math.abs(slope),
          `${kind} ${key}[${index}]`,
        );
        checked += 1;
      }
    }
    t.ok(checked > 30);
  }
});

t.test('what is frozen does not move, nor does the source head, whatever the optimizer', async (t) => {
  const optimizers = [
    { ...sgd, momentum: 0.9 },
    { kind: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
    { kind: 'rmsprop', alpha: 0.99, epsilon: 1e-8, momentum: 0.9, centered: true },
  ] as const;
  for (const optimizer of optimizers) {
    const model = await open(t, 'residual');
    await model.keepSource();
    const shape = [4, 3, 8, 8];
    const example = randomBatch(shape, 1).inputs;
    await model.addFisher({ inputs: example, seed: 3 });
    const { parameters: fresh } = await model.replaceHead({
      ...{ layer: '', classes: 3, seed: 1, hidden: [], dropout: 0, standardise: false, example },
    });
    await model.joinSourceHead('fc');
    const { parameters } = await model.describe();
    const learning = parameters.map(({ name }) => name).filter((name) => !name.startsWith('conv1'));
    await model.setTrainable(
      learning.filter((name) => !name.startsWith('bn1')),
      false,
    );
    const before = await bitsOf(model);
    const head = hex((await model.values(['fc.weight']))[0]);
    const names = parameters.map(({ name }) => name);
    await configure(model, {
      optimizer,
      groups: [{ parameters: names, learningRate: 0.05, weightDecay: 0.1 }],
      forgetting: {
        anchor: { kind: 'ewc', lambda: 100 },
        distillation: { weight: 1, temperature: 2, layer: 'fc', classes: 3 },
        fresh,
      },
    });
    for (let step = 0; step < 5; step++) {
      const { penalty, correct } = await model.step(randomBatch(shape, step, 3));
      t.ok(penalty > 0 && correct >= 0);
    }
    const { logits } = await model.evaluate({ inputs: example });
    t.same(logits.shape, [4, 3], 'evaluation gives the logits of the new head');
    const moving = changed(before, await bitsOf(model));
    t.notOk(moving.some((name) => /^(conv1|bn1)\./.test(name)));
    t.ok(moving.includes('block.conv1.weight') && moving.includes('fc.weight'));
    const rows = (text: string) => text.slice(-5 * 6 * 8);
    t.equal(rows(hex((await model.values(['fc.weight']))[0])), rows(head), 'the source head is held');
    await model.partSourceHead('fc', 3);
    t.same((await model.values(['fc.weight']))[0]?.shape, [3, 6]);
  }
});

t.test('a plan and kept features give the same distillation as the whole model', async (t) => {
  const results: { loss: number; penalty: number }[][] = [];
  for (const split of [true, false]) {
    const model = await open(t, 'residual');
    await model.keepSource();
    const batch = randomBatch([4, 3, 8, 8], 1, 3);
    const { parameters: fresh } = await model.replaceHead({
      ...{ layer: '', classes: 3, seed: 1, hidden: [], dropout: 0, standardise: false },
      example: batch.inputs,
    });
    await model.joinSourceHead('fc');
    const { parameters } = await model.describe();
    const names = parameters.map(({ name }) => name);
    await model.setTrainable(
      names.filter((name) => /^(block|fc)/.test(name)),
      false,
    );
    await configure(model, {
      groups: [{ parameters: names, learningRate: 0.05, weightDecay: 0.1 }],
      forgetting: { distillation: { weight: 1, temperature: 2, layer: 'fc', classes: 3 }, fresh },
    });
    const plan = await model.plan(batch, { precision: 'float32', split });
    t.equal(plan.split, split);
    const steps: { loss: number; penalty: number }[] = [];
    for (let step = 0; step < 4; step++) steps.push(await model.step(batch));
    results.push(steps);
  }
  const [fast, whole] = results as [(typeof results)[0], (typeof results)[0]];
  for (const [i, { loss, penalty }] of whole.entries()) {
    t.ok(penalty > 0);
    t.ok(Math.abs((fast[i]?.penalty ?? 0) - penalty) < 1e-4 * (1 + penalty));
    t.ok(Math.abs((fast[i]?.loss ?? 0) - loss) < 1e-4 * (1 + loss));
  }
});

t.test('refusals', async (t) => {
  const model = await open(t, 'plain');
  const { parameters } = await model.describe();
  const names = parameters.map(({ name }) => name);
  const groups = [{ parameters: names, learningRate: 1, weightDecay: 0 }];
  const anchor = { kind: 'ewc', lambda: 1 } as const;
  await t.rejects(configure(model, { groups, forgetting: { anchor, fresh: [] } }), { code: 'INVALID_VALUE' });
  await t.rejects(model.joinSourceHead('fc'), { code: 'INVALID_VALUE' });
  await t.rejects(model.partSourceHead('fc', 5), { code: 'NO_HEAD' });
  await model.keepSource();
  await t.rejects(configure(model, { groups, forgetting: { anchor, fresh: [] } }), /Fisher/);
  const inputs = randomBatch([2, 3, 8, 8], 1).inputs;
  await t.rejects(model.addFisher({ inputs, target: indices([0, 9]), seed: 0 }), { code: 'SHAPE_MISMATCH' });
  const distillation = { weight: 1, temperature: 2, layer: 'fc', classes: 5 };
  await t.rejects(configure(model, { groups, forgetting: { distillation, fresh: [] } }), /joinSourceHead/);
  const lbfgs = {
    kind: 'lbfgs',
    maxIterations: 5,
    historySize: 5,
    toleranceGradient: 0,
    toleranceChange: 0,
  } as const;
  await t.rejects(configure(model, { optimizer: lbfgs, groups, forgetting: { anchor, fresh: [] } }), /lbfgs/);
});

t.test('one forward gives the logits of both heads, whatever the layer', async (t) => {
  for (const [name, layer] of [
    ['squeeze', 'classifier.1'],
    ['no-bias', 'fc'],
    ['residual.traced-eval', 'fc'],
    ['inception', 'fc'],
  ] as const) {
    const model = await open(t, name);
    const example = inputsOf(name);
    const logits = async () => {
      const output = await model.forward(example);
      return (Array.isArray(output) ? output[0] : output) as Tensor;
    };
    const before = await logits();
    await model.keepSource();
    const request = { layer: '', classes: 2, seed: 1, hidden: [], dropout: 0, standardise: false, example };
    await model.replaceHead(request);
    const alone = await bitsOf(model);
    const fresh = await logits();
    await model.joinSourceHead(layer);
    const joint = await logits();
    const [count, width] = joint.shape as [number, number];
    t.equal(width, 2 + (before.shape[1] as number), name);
    const part = (from: number, to: number): Tensor => ({
      ...joint,
      data: Float32Array.from({ length: count * (to - from) }, (_, i) => {
        return Number(joint.data[Math.floor(i / (to - from)) * width + from + (i % (to - from))]);
      }),
    });
    t.ok(distance(part(0, 2), fresh) < 1e-6);
    t.ok(distance(part(2, width), before) < 1e-6);
    await model.partSourceHead(layer, 2);
    t.same(await bitsOf(model), alone, 'taken off again, nothing is left of it');
  }
});
