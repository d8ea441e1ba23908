/** Three steps on multi-hot targets and on numbers equal PyTorch's; scripts/fixtures-targets.py has made them. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { createTrainer, type LossOption, loadModel } from '../src/index.js';
import { plainLoss } from '../src/metrics/tasks.js';
import { furthest } from './figures.js';

const file = (name: string) => fileURLToPath(new URL(`fixtures/training/${name}`, import.meta.url));

interface Case {
  targets: number[][];
  losses: number[];
  weights: Record<string, number[]>;
}

const fixture = JSON.parse(gunzipSync(readFileSync(file('targets.json.gz'))).toString()) as {
  inputs: number[][];
  cases: Record<string, Case>;
};
const losses: Record<string, LossOption> = {
  bceWithLogits: 'bceWithLogits',
  weighted: { kind: 'bceWithLogits', classWeights: [0.5, 1, 2, 3] },
  mse: 'mse',
  huber: 'huber',
};

for (const [name, loss] of Object.entries(losses)) {
  t.test(name, async (t) => {
    const { targets, losses: expected, weights } = fixture.cases[name] as Case;
    await using model = await loadModel(file('mlp.pt'), { device: 'cpu', threads: 1 });
    const trainer = await createTrainer(model, {
      loss,
      optimizer: 'adamw',
      learningRate: 0.01,
      weightDecay: 0.01,
      decayNormAndBias: true,
    });
    const actual: number[] = [];
    for (const [step, input] of fixture.inputs.entries()) {
      const batch = { data: Float32Array.from(input), shape: [5, 6], dtype: 'float32' as const };
      const target = {
        data: Float32Array.from(targets[step] as number[]),
        shape: [5, 4],
        dtype: 'float32' as const,
      };
      actual.push((await trainer.step({ inputs: [batch], target })).loss);
    }
    t.ok(furthest(actual, expected) < 1e-5, `losses ${actual} beside ${expected}`);
    const names = Object.keys(weights);
    t.equal(names.length, 4);
    for (const [at, { data }] of (await model.native.values(names)).entries()) {
      const wanted = weights[names[at] as string] as number[];
      t.ok(furthest(Array.from(data as Float32Array), wanted) < 1e-5, names[at] as string);
    }
  });
}

t.test('the loss of an evaluation is the plain loss of the same outputs', async (t) => {
  await using model = await loadModel(file('mlp.pt'), { device: 'cpu', threads: 1 });
  const data = Float32Array.from(fixture.inputs[0] as number[]);
  const { logits } = await model.native.evaluate({ inputs: [{ data, shape: [5, 6], dtype: 'float32' }] });
  for (const [name, task] of [
    ['bceWithLogits', 'multi-label'],
    ['mse', 'regression'],
  ] as const) {
    const { targets, losses: expected } = fixture.cases[name] as Case;
    const loss = plainLoss(task, logits.data as Float32Array, Float32Array.from(targets[0] as number[]));
    t.ok(Math.abs(loss - (expected[0] as number)) < 1e-5, `${name} ${loss}`);
  }
});
