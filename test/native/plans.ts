/** Models to be split, the ways to train them, and a split model beside an unsplit one. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import type {
  ModelDescription,
  NativeBatch,
  NativeModel,
  Plan,
  Precision,
  Tensor,
} from '../../src/native.js';
import { configure, distance, inputsOf, open, pathOf, randomTensor, tensorOf } from './fixtures.js';

const folder = fileURLToPath(new URL('../fixtures/splits', import.meta.url));

/** The models of scripts/fixtures-splits.py: one input for all, and PyTorch's output by model. */
export const splits = JSON.parse(gunzipSync(readFileSync(join(folder, 'expected.json.gz'))).toString()) as {
  input: Parameters<typeof tensorOf>[0];
  outputs: Record<string, Parameters<typeof tensorOf>[0]>;
};

export const splitNames = Object.keys(splits.outputs);
/** Of the models of scripts/fixtures-models.py those that learn to tell classes. */
export const modelNames = [
  ...['plain', 'squeeze', 'vgg', 'inception', 'residual', 'residual.traced-eval', 'residual.traced-train'],
  ...['residual.train-mode', 'residual.without-grad', 'folded', 'fresh', 'functional-dropout', 'two-heads'],
  ...['no-bias', 'tied', 'old-norm', 'plain-norm', 'mlp.traced'],
];

export const fileOf = (name: string) => (name in splits.outputs ? join(folder, `${name}.pt`) : pathOf(name));

/** As many random samples as given, of the model's kind. */
export function inputFor(name: string, count: number, seed: number): Tensor[] {
  if (name in splits.outputs || name === 'residual.traced-train')
    return [randomTensor([count, 3, 8, 8], seed)];
  const [stored] = inputsOf(name) as [Tensor];
  const shape = [count, ...stored.shape.slice(1)];
  if (stored.dtype !== 'int64') return [randomTensor(shape, seed)];
  const length = shape.reduce((product, size) => product * size, 1);
  return [
    { data: BigInt64Array.from({ length }, (_, i) => BigInt((i * 5 + seed) % 7)), shape, dtype: 'int64' },
  ];
}

export function batchFor(name: string, count: number, seed: number): NativeBatch {
  const data = Int32Array.from({ length: count }, (_, i) => (i + seed) % 5);
  return { inputs: inputFor(name, count, seed), target: { data, shape: [count], dtype: 'int32' } };
}

/** Which parameters learn, by name of the strategy: from the output, from the input, in the middle, all, norms alone. */
export function strategiesOf({
  layers,
  heads,
  batchNorms,
  parameters,
}: ModelDescription): Map<string, string[]> {
  const names = parameters.map(({ name }) => name);
  const own = (...modules: string[]) =>
    names.filter((name) => modules.some((module) => name.startsWith(`${module}.`)));
  const head = heads.map(({ module }) => module);
  const ways: [string, string[]][] = [
    ['head', own(...(head.length > 0 ? head : layers.slice(-1)))],
    ['last:2', own(...layers.slice(-2))],
    ['middle', own(layers[Math.floor(layers.length / 2)] as string)],
    ['first', own(layers[0] as string)],
    ['norms', own(...batchNorms)],
    ['full', names],
  ];
  return new Map(ways.filter(([, chosen]) => chosen.length > 0));
}

export interface Training {
  learns: string[];
  trainBatchNorm?: boolean;
  accumulate?: number;
}

/** Loads a model that is ready to learn, unsplit. */
export async function openTraining(
  t: Parameters<typeof open>[0],
  name: string,
  { learns, trainBatchNorm = false, accumulate = 1 }: Training,
): Promise<NativeModel> {
  const model = await open(t, name, fileOf(name));
  await model.setTrainable(learns, trainBatchNorm);
  await configure(model, { accumulate });
  return model;
}

export function planOf(
  model: NativeModel,
  batch: NativeBatch,
  precision: Precision = 'float32',
): Promise<Plan> {
  return model.plan(batch, { precision, split: true });
}

/** Largest difference of two tensors' elements, in units of the second's largest. */
export function apart(actual: Tensor | null | undefined, wanted: Tensor | null | undefined): number {
  if (!actual || !wanted) return actual === wanted || (!actual && !wanted) ? 0 : Number.POSITIVE_INFINITY;
  let largest = 0;
  for (const value of wanted.data) largest = Math.max(largest, Math.abs(Number(value)));
  return distance(actual, wanted) / (largest || 1);
}

/** Largest difference of two models' values of these names, relative to each tensor's largest. */
export async function valuesApart(
  actual: NativeModel,
  wanted: NativeModel,
  names: string[],
): Promise<number> {
  const [ours, theirs] = await Promise.all([actual.values(names), wanted.values(names)]);
  return Math.max(0, ...theirs.map((tensor, i) => apart(ours[i], tensor)));
}
