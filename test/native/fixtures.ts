/** The tiny models of scripts/fixtures-models.py, and what the native tests share to look into them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { loadAddon } from '../../src/addon.js';
import type {
  DType,
  NativeBatch,
  NativeModel,
  NativeTraining,
  StepResult,
  Tensor,
  Value,
} from '../../src/native.js';

export const native = loadAddon();
export const folder = fileURLToPath(new URL('../fixtures/models', import.meta.url));

export interface StoredTensor {
  data: string;
  shape: number[];
  dtype: DType;
}

export type Stored = StoredTensor | { dict: Record<string, Stored> } | Stored[] | number | string | null;

interface Expected {
  outputs: Record<string, { inputs: StoredTensor[]; output: Stored }>;
  heads: { seed: number } & Record<'linear' | 'convolution' | 'noBias' | 'inception' | 'mlp', StoredTensor[]>;
  losses: { inception: { input: StoredTensor; target: StoredTensor; loss: number } };
}

export const expected = JSON.parse(
  gunzipSync(readFileSync(join(folder, 'expected.json.gz'))).toString(),
) as Expected;

const arrays = {
  float32: Float32Array,
  float64: Float64Array,
  int64: BigInt64Array,
  int32: Int32Array,
  uint8: Uint8Array,
  bool: Uint8Array,
};

export function tensorOf({ data, shape, dtype }: StoredTensor): Tensor {
  const bytes = new Uint8Array(Buffer.from(data, 'base64'));
  return { data: new arrays[dtype](bytes.buffer), shape, dtype };
}

/** The inputs that PyTorch's stored output of this model belongs to. */
export function inputsOf(name: string): Tensor[] {
  const stored = expected.outputs[name];
  if (!stored) throw new Error(`expected.json.gz has no output of ${name}`);
  return stored.inputs.map(tensorOf);
}

export function pathOf(name: string): string {
  return join(folder, `${name}.pt`);
}

interface Teardown {
  teardown(free: () => unknown): unknown;
}

/** Loads a model and disposes it when the test ends. */
export async function open(t: Teardown, name: string, path = pathOf(name)): Promise<NativeModel> {
  const model = await native.load(path, { device: 'cpu', threads: 1 });
  t.teardown(() => model.dispose());
  return model;
}

/** Numbers in [-1, 1) from a seed (mulberry32). */
export function randomTensor(shape: number[], seed: number): Tensor {
  let state = seed + 1;
  const data = new Float32Array(shape.reduce((product, size) => product * size, 1));
  for (let i = 0; i < data.length; i++) {
    state = (state + 0x6d2b79f5) | 0;
    let z = Math.imul(state ^ (state >>> 15), 1 | state);
    z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
    data[i] = ((z ^ (z >>> 14)) >>> 0) / 2 ** 31 - 1;
  }
  return { data, shape, dtype: 'float32' };
}

/** A batch of class indices 0, 1, 2, ... for random inputs of this shape. */
export function randomBatch(shape: number[], seed: number, classes = 5): NativeBatch {
  const count = shape[0] ?? 0;
  const indices = Array.from({ length: count }, (_, i) => BigInt((i + seed) % classes));
  return {
    inputs: [randomTensor(shape, seed)],
    target: { data: BigInt64Array.from(indices), shape: [count], dtype: 'int64' },
  };
}

/** Trains every parameter in one group with SGD, momentum and weight decay, unless overridden. */
export async function configure(model: NativeModel, training: Partial<NativeTraining> = {}): Promise<void> {
  const { parameters } = await model.describe();
  const names = parameters.map(({ name }) => name);
  await model.configure({
    optimizer: { kind: 'sgd', momentum: 0.9, dampening: 0, nesterov: false },
    groups: [{ parameters: names, learningRate: 0.05, weightDecay: 0.01 }],
    loss: { kind: 'crossEntropy', labelSmoothing: 0 },
    clipNorm: 0,
    accumulate: 1,
    auxiliaryWeight: 0.4,
    seed: 3,
    preprocess: null,
    augment: null,
    ...training,
  });
}

/** Steps on random images, a new batch each time. */
export async function train(
  model: NativeModel,
  steps: number,
  { from = 0, shape = [4, 3, 8, 8] } = {},
): Promise<StepResult[]> {
  const results: StepResult[] = [];
  for (let step = from; step < from + steps; step++) results.push(await model.step(randomBatch(shape, step)));
  return results;
}

/** Every parameter and buffer as bytes in hexadecimal, by name: equal strings are equal bits. */
export async function bitsOf(model: NativeModel, pick?: (name: string) => boolean) {
  const { parameters, buffers } = await model.describe();
  const names = [...parameters, ...buffers].map(({ name }) => name).filter(pick ?? (() => true));
  const values = await model.values(names);
  return Object.fromEntries(names.map((name, i) => [name, hex(values[i])]));
}

export function hex(tensor: Tensor | null | undefined): string {
  if (!tensor) return 'nothing';
  const { buffer, byteOffset, byteLength } = tensor.data;
  return `${tensor.dtype} ${tensor.shape} ${Buffer.from(buffer, byteOffset, byteLength).toString('hex')}`;
}

/** Names of those whose bits differ. */
export function changed(before: Record<string, string>, after: Record<string, string>): string[] {
  return Object.keys({ ...before, ...after }).filter((name) => before[name] !== after[name]);
}

export function isTensor(value: Value | undefined): value is Tensor {
  return typeof value === 'object' && value !== null && 'dtype' in value && 'shape' in value;
}

/** Largest difference of two tensors' elements. */
export function distance(actual: Tensor, wanted: Tensor): number {
  if (actual.data.length !== wanted.data.length) return Number.POSITIVE_INFINITY;
  let largest = 0;
  for (const [i, value] of wanted.data.entries()) {
    const gap = Math.abs(Number(actual.data[i]) - Number(value));
    if (!(gap <= largest)) largest = Number.isNaN(gap) ? Number.POSITIVE_INFINITY : gap;
  }
  return largest;
}
