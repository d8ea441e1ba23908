/** 20 updates of every optimizer and loss end where PyTorch ends: 1e-6 of each tensor's largest value. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { loadAddon } from '../src/addon.js';
import type {
  NativeGroup,
  NativeLoss,
  NativeModel,
  NativeOptimizer,
  NativeTraining,
  Tensor,
} from '../src/native.js';

interface Case {
  name: string;
  model: string;
  optimizer: NativeOptimizer;
  loss: NativeLoss;
  target: 'indices' | 'labels' | 'values';
  groups: NativeGroup[];
  learningRates: number[][];
  trainable?: string[];
  clipNorm: number;
  accumulate: number;
  losses: number[];
  /** Parameters and buffers after the last update, by name. */
  final: Record<string, string>;
}

interface StoredBatch {
  input: string;
  indices: number[];
  labels: string;
  values: string;
}

interface Fixture {
  shapes: Record<string, number[]>;
  classes: number;
  batches: Record<string, StoredBatch[]>;
  cases: Case[];
}

const folder =
  process.env.TORCHGRAFT_PARITY_FIXTURES ?? fileURLToPath(new URL('./fixtures/training', import.meta.url));
const fixture = JSON.parse(gunzipSync(readFileSync(join(folder, 'cases.json.gz'))).toString()) as Fixture;
const tolerance = 1e-6;

function decode(text: string | undefined): Float32Array {
  return new Float32Array(new Uint8Array(Buffer.from(text ?? '', 'base64')).buffer);
}

/** Largest difference of the two, in units of the largest expected value. */
function deviation(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length || expected.length === 0) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let largest = 0;
  for (let i = 0; i < expected.length; i++) {
    const gap = Math.abs((actual[i] ?? Number.NaN) - (expected[i] ?? Number.NaN));
    if (Number.isNaN(gap)) return Number.POSITIVE_INFINITY;
    difference = Math.max(difference, gap);
    largest = Math.max(largest, Math.abs(expected[i] ?? 0));
  }
  return difference / largest;
}

function inputOf(batch: StoredBatch, shape: number[]): Tensor {
  return { data: decode(batch.input), shape, dtype: 'float32' };
}

function targetOf(batch: StoredBatch, kind: Case['target']): Tensor {
  const count = batch.indices.length;
  if (kind !== 'indices')
    return { data: decode(batch[kind]), shape: [count, fixture.classes], dtype: 'float32' };
  return { data: BigInt64Array.from(batch.indices, BigInt), shape: [count], dtype: 'int64' };
}

function trainingOf(each: Case): NativeTraining {
  const loss = { ...each.loss } as NativeLoss & { classWeights?: ArrayLike<number> };
  if (loss.classWeights) loss.classWeights = Float32Array.from(loss.classWeights);
  return {
    optimizer: each.optimizer,
    groups: each.groups,
    loss,
    clipNorm: each.clipNorm,
    accumulate: each.accumulate,
    auxiliaryWeight: 0.4,
    seed: 0,
    preprocess: null,
    augment: null,
  };
}

async function train(model: NativeModel, each: Case): Promise<number[]> {
  const batches = fixture.batches[each.model] ?? [];
  const shape = fixture.shapes[each.model] ?? [];
  const losses: number[] = [];
  for (const learningRates of each.learningRates) {
    for (let part = 0; part < each.accumulate; part++) {
      const batch = batches[losses.length % batches.length] as StoredBatch;
      const inputs = [inputOf(batch, shape)];
      const result = await model.step({ inputs, target: targetOf(batch, each.target), learningRates });
      losses.push(result.loss);
    }
  }
  return losses;
}

const native = loadAddon();

for (const each of fixture.cases) {
  t.test(each.name, async (t) => {
    const model = await native.load(join(folder, `${each.model}.pt`), { device: 'cpu', threads: 1 });
    t.teardown(() => model.dispose());
    const every = each.groups.flatMap((group) => group.parameters);
    await model.setTrainable(each.trainable ?? every, true);
    await model.configure(trainingOf(each));
    const losses = await train(model, each);
    t.equal(losses.length, each.losses.length);
    for (const [i, loss] of losses.entries()) {
      const off = deviation([loss], [each.losses[i] ?? Number.NaN]);
      if (off > tolerance) t.fail(`loss of batch ${i} is off by ${off}`, { loss, expected: each.losses[i] });
    }
    const names = Object.keys(each.final);
    const values = await model.values(names);
    for (const [i, name] of names.entries()) {
      const off = deviation(values[i]?.data as Float32Array, decode(each.final[name]));
      t.ok(off <= tolerance, `${name} is off by ${off.toExponential(1)}`);
    }
  });
}
