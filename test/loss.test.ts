/** What every loss refuses: targets that do not fit, and source text that is no loss. Values are in parity.test.ts. */
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { loadAddon } from '../src/addon.js';
import type { NativeLoss, NativeModel, Tensor } from '../src/native.js';

const mlp = fileURLToPath(new URL('./fixtures/training/mlp.pt', import.meta.url));
const parameters = ['hidden.weight', 'hidden.bias', 'head.weight', 'head.bias'];
const samples = 3;
const native = loadAddon();

async function configured(loss: NativeLoss): Promise<NativeModel> {
  const model = await native.load(mlp, { device: 'cpu', threads: 1 });
  await model.setTrainable(parameters, true);
  await model.configure({
    optimizer: { kind: 'sgd', momentum: 0, dampening: 0, nesterov: false },
    groups: [{ parameters, learningRate: 0.1, weightDecay: 0 }],
    loss,
    clipNorm: 0,
    accumulate: 1,
    auxiliaryWeight: 0.4,
    seed: 0,
    preprocess: null,
    augment: null,
  });
  return model;
}

/** A step of three samples on a network with six inputs and four classes. */
function step(model: NativeModel, target: Tensor) {
  const data = Float32Array.from({ length: samples * 6 }, (_, i) => Math.sin(i));
  return model.step({ inputs: [{ data, shape: [samples, 6], dtype: 'float32' }], target });
}

function indices(...values: number[]): Tensor {
  return { data: BigInt64Array.from(values, BigInt), shape: [values.length], dtype: 'int64' };
}

function values(...shape: number[]): Tensor {
  const count = shape.reduce((product, size) => product * size, 1);
  return { data: new Float32Array(count).fill(0.5), shape, dtype: 'float32' };
}

const classWeights = Float32Array.of(1, 2);
const losses: NativeLoss[] = [
  { kind: 'crossEntropy', labelSmoothing: 0 },
  { kind: 'bceWithLogits' },
  { kind: 'focal', gamma: 2 },
  { kind: 'mse' },
  { kind: 'huber', delta: 1 },
];

for (const loss of losses) {
  t.test(`${loss.kind} refuses a target that does not fit, and goes on`, async (t) => {
    const model = await configured(loss);
    t.teardown(() => model.dispose());
    const mismatch = (message: RegExp) => ({ code: 'SHAPE_MISMATCH', message });
    await t.rejects(step(model, indices(0, 4, 1)), mismatch(/class index 4, .* 4 classes/));
    await t.rejects(step(model, indices(0, -100, 1)), mismatch(/class index -100, .* 4 classes/));
    await t.rejects(step(model, indices(0, 1)), mismatch(/\[2\].*\[3, 4\]/));
    await t.rejects(step(model, values(3, 5)), mismatch(/\[3, 5\].*\[3, 4\]/));
    await t.rejects(step(model, values(3)), mismatch(/\[3\].*\[3, 4\]/));
    t.ok(Number.isFinite((await step(model, indices(0, 3, 1))).loss));
  });
}

for (const kind of ['crossEntropy', 'bceWithLogits', 'focal'] as const) {
  t.test(`${kind} refuses class weights of another count`, async (t) => {
    const model = await configured({ kind, labelSmoothing: 0, gamma: 2, classWeights } as NativeLoss);
    t.teardown(() => model.dispose());
    await t.rejects(step(model, indices(0, 3, 1)), {
      code: 'SHAPE_MISMATCH',
      message: /`classWeights` has 2/,
    });
  });
}

t.test('focal with gamma below 1 has finite gradients where the model is certain', async (t) => {
  const model = await configured({ kind: 'focal', gamma: 0.5 });
  t.teardown(() => model.dispose());
  const data = new Float32Array(samples * 6).fill(1e4);
  const inputs: Tensor[] = [{ data, shape: [samples, 6], dtype: 'float32' }];
  const { logits } = await model.evaluate({ inputs });
  const first = Array.from(logits.data as Float32Array).slice(0, 4);
  const certain = first.indexOf(Math.max(...first));
  const { gradientNorm } = await model.step({ inputs, target: indices(certain, certain, certain) });
  t.ok(Number.isFinite(gradientNorm));
});

t.test('source text', async (t) => {
  const compile = (source: string) => configured({ kind: 'source', source });
  const refusals: [string, string, RegExp][] = [
    [
      'an unknown name',
      'def loss(output, target):\n    return foo(output)\n',
      /foo[\s\S]*line 2[\s\S]*~~~ <--- HERE/,
    ],
    [
      'a syntax error',
      'def loss(output, target):\n    return output +\n',
      /line 2\n {4}return output \+\n +~ <--- HERE/,
    ],
    [
      'an import',
      'import torch\ndef loss(output, target):\n    return output.sum()\n',
      /line 1[\s\S]*import torch/,
    ],
    ['nothing', '', /0 functions/],
    [
      'two functions, none of them loss',
      'def a(x, y):\n    return x\ndef b(x, y):\n    return y\n',
      /2 functions/,
    ],
    ['one argument', 'def loss(output):\n    return output.sum()\n', /two tensors/],
    ['an argument that is no tensor', 'def loss(output, target: int):\n    return output\n', /target: int/],
    ['a result that is no tensor', 'def loss(output, target):\n    return 1.0\n', /-> float/],
    ['a NUL byte', 'def loss(output, target):\n    return output\0.sum()\n', /./],
    [
      'text without end',
      `def loss(output, target):\n    return output${'+1'.repeat(5000)}\n`,
      /at most 8192/,
    ],
    [
      'nesting without end',
      `def loss(output, target):\n    return ${'-'.repeat(5000)}output\n`,
      /at most 1000/,
    ],
  ];
  for (const [what, source, message] of refusals) {
    await t.rejects(compile(source), { code: 'SOURCE_INVALID', message }, what);
  }

  const failures: [string, string, RegExp][] = [
    ['no scalar', 'def loss(output, target):\n    return output\n', /Float \[3, 4\].*\.mean\(\)/],
    ['no gradient', 'def loss(output, target):\n    return torch.ones([])\n', /does not depend on `output`/],
    [
      'a failing operation',
      'def loss(output, target):\n    return torch.mm(output, target)\n',
      /line 2[\s\S]*HERE/,
    ],
  ];
  for (const [what, source, message] of failures) {
    const model = await compile(source);
    await t.rejects(step(model, indices(0, 3, 1)), { code: 'SOURCE_INVALID', message }, what);
    await model.dispose();
  }

  // The deepest that is let through: it must compile, not overflow the native thread's stack.
  const deep = await compile(`def loss(output, target):\n    return (${'-'.repeat(990)}output).sum()\n`);
  t.ok(Number.isFinite((await step(deep, indices(0, 3, 1))).loss));
  await deep.dispose();

  const helped = await compile(
    'def square(x):\n    return x * x\ndef loss(output, target):\n    return square(output).mean()\n',
  );
  t.ok((await step(helped, indices(0, 3, 1))).loss > 0, 'functions beside `loss` may be called from it');
  await helped.dispose();
});
