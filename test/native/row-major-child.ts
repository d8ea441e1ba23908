// Trains the model of argv[2] in the way of argv[3], long enough for a damaged heap to end the process.
import { loadAddon } from '../../src/addon.js';
import type { NativeBatch, NativeTraining, Precision } from '../../src/native.js';

const [path, way] = process.argv.slice(2) as [string, string];
const side = 96;
const count = 6;
const model = await loadAddon().load(path, { device: 'cpu', threads: 1 });
const { parameters, heads, layers } = await model.describe();
const names = parameters.map(({ name }) => name);
const preprocess = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], size: [side, side] as [number, number] };
const data = Uint8Array.from({ length: count * side * side * 3 }, (_, i) => (i * 37) % 251);
const batch: NativeBatch = {
  inputs: [{ data, shape: [count, side, side, 3], dtype: 'uint8' }],
  target: { data: Int32Array.from({ length: count }, (_, i) => i % 5), shape: [count], dtype: 'int32' },
};

async function configure(changes: Partial<NativeTraining> = {}): Promise<void> {
  await model.configure({
    optimizer: { kind: 'sgd', momentum: 0, dampening: 0, nesterov: false },
    groups: [{ parameters: names, learningRate: 0.001, weightDecay: 0 }],
    loss: { kind: 'crossEntropy', labelSmoothing: 0 },
    ...{ clipNorm: 0, accumulate: 1, auxiliaryWeight: 0.4, seed: 0, preprocess, augment: null },
    ...changes,
  });
}

async function train(steps = 30): Promise<void> {
  for (let step = 0; step < steps; step++) {
    const { loss } = await model.step({ ...batch, learningRates: [0.001], flush: step + 1 === steps });
    if (!Number.isFinite(loss)) throw new Error(`loss ${loss}`);
    await model.evaluate(batch);
  }
}

/** What learns, split and proven. */
async function planned(precision: Precision, changes?: Partial<NativeTraining>): Promise<void> {
  await configure(changes);
  const plan = await model.plan(batch, { precision, split: true });
  if (plan.variant === 'unsplit') throw new Error(JSON.stringify(plan));
  await train();
}

const ways: Record<string, () => Promise<void>> = {
  planned: () => planned('float32'),
  bfloat16: () => planned('bfloat16'),
  accumulated: () => planned('float32', { accumulate: 3 }),
  async unsplit() {
    await configure();
    await train();
  },
  async adapters() {
    const adapted = layers.filter((layer) => !heads.some(({ module }) => module === layer));
    await model.addAdapters({ layers: adapted, rank: 2, scale: 2, seed: 1 });
    const added = (await model.describe()).parameters
      .map(({ name }) => name)
      .filter((name) => !names.includes(name));
    await model.setTrainable(added, false);
    await configure({ groups: [{ parameters: added, learningRate: 0.001, weightDecay: 0 }] });
    await model.plan(batch, { precision: 'float32', split: true });
    await train();
  },
  async lbfgs() {
    const optimizer = {
      kind: 'lbfgs',
      maxIterations: 5,
      historySize: 5,
      toleranceGradient: 1e-7,
      toleranceChange: 1e-9,
    } as const;
    await configure({ optimizer, groups: [{ parameters: names, learningRate: 1, weightDecay: 0.01 }] });
    await train(6);
  },
  async fisher() {
    await model.keepSource();
    for (let seed = 0; seed < 10; seed++) await model.addFisher({ inputs: batch.inputs, preprocess, seed });
  },
  async gradCam() {
    for (let time = 0; time < 20; time++) await model.gradCam({ inputs: batch.inputs, preprocess });
  },
};
await (ways[way] as () => Promise<void>)();
await model.dispose();
