// Valid requests for the smallest fixture, test/fixtures/tiny.pt: input float32 [n, 3, 8, 8], output [n, 3].
import { fileURLToPath } from 'node:url';
import type {
  AddAdaptersRequest,
  NativeBatch,
  NativeFeatureBatch,
  NativeFeatures,
  NativeModel,
  NativeTraining,
  OptimiseRequest,
  Plan,
  PutAdaptersRequest,
  ReplaceHeadRequest,
  Tensor,
} from '../../src/native.js';

export const tinyModel = fileURLToPath(new URL('../fixtures/tiny.pt', import.meta.url));
export const parameters = ['conv.weight', 'conv.bias', 'bn.weight', 'bn.bias', 'fc.weight', 'fc.bias'];

/** Images as the model takes them. `side` makes a step longer. */
export function images(n: number, side = 8): Tensor {
  const data = Float32Array.from({ length: n * 3 * side * side }, (_, i) => Math.sin(i));
  return { data, shape: [n, 3, side, side], dtype: 'float32' };
}

/** Pixels to be preprocessed, canvases of `side` x `side`. */
export function pixels(n: number, side = 8): Tensor {
  const data = Uint8Array.from({ length: n * 3 * side * side }, (_, i) => (i * 37) % 256);
  return { data, shape: [n, side, side, 3], dtype: 'uint8' };
}

export function batch(n = 4, side = 8): NativeBatch {
  const data = BigInt64Array.from({ length: n }, (_, i) => BigInt(i % 3));
  return { inputs: [images(n, side)], target: { data, shape: [n], dtype: 'int64' } };
}

export function training(changes: Partial<NativeTraining> = {}): NativeTraining {
  return {
    optimizer: { kind: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
    groups: [{ parameters: [...parameters], learningRate: 1e-3, weightDecay: 0.01 }],
    loss: { kind: 'crossEntropy', labelSmoothing: 0.1 },
    clipNorm: 1,
    accumulate: 1,
    auxiliaryWeight: 0.4,
    seed: 1,
    preprocess: null,
    augment: null,
    ...changes,
  };
}

/** Training on pixels, with every augmentation on. */
export function augmentedTraining(): NativeTraining {
  return training({
    preprocess: { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25], size: [8, 8] },
    augment: {
      crop: { scale: [0.5, 1], ratio: [0.75, 1.33] },
      horizontalFlip: 0.5,
      verticalFlip: 0.5,
      rotation: 10,
      brightness: 0.2,
      contrast: 0.2,
      saturation: 0.2,
      hue: 0.05,
      randAugment: { operations: 2, magnitude: 9 },
      erasing: { probability: 0.5, scale: [0.02, 0.33], ratio: [0.3, 3.3], value: 'noise' },
      mixup: 0.2,
      cutmix: 1,
    },
  });
}

export function augmentedBatch(n = 4): NativeBatch {
  return {
    inputs: [pixels(n)],
    target: batch(n).target,
    indices: Int32Array.from({ length: n }, (_, i) => i),
    sizes: Int32Array.from({ length: 2 * n }, () => 8),
    epoch: 1,
    learningRates: [1e-3],
    flush: true,
  };
}

/** Features in memory alone. */
export function features(changes: Partial<NativeFeatures> = {}): NativeFeatures {
  return { path: '', identity: '{}', label: '', memoryBytes: 1 << 20, fileBytes: 0, ...changes };
}

/** Images whose features are kept, under keys of 32 equal bytes. */
export function keyedBatch(n = 4): NativeFeatureBatch & { keys: Uint8Array<ArrayBuffer> } {
  const keys = Uint8Array.from({ length: 32 * n }, (_, i) => Math.floor(i / 32));
  const { inputs, indices, sizes } = augmentedBatch(n);
  return { inputs, indices, sizes, epoch: 1, keys, augmentSeed: 1 };
}

export function head(changes: Partial<ReplaceHeadRequest> = {}): ReplaceHeadRequest {
  return {
    layer: '',
    classes: 5,
    seed: 1,
    hidden: [],
    dropout: 0,
    standardise: false,
    example: [images(1)],
    ...changes,
  };
}

/** Adapters of rank 1 in every layer that can have one. */
export function adapters(): AddAdaptersRequest {
  return { layers: ['conv', 'fc'], rank: 1, scale: 2, seed: 1 };
}

/** What an adapter file of a head of 5 classes might hold. */
export function adapterContent(): PutAdaptersRequest {
  const zeros = (...shape: number[]): Tensor => ({
    data: new Float32Array(shape.reduce((product, size) => product * size, 1)),
    shape,
    dtype: 'float32',
  });
  return {
    head: head(),
    adapters: { ...adapters(), layers: ['conv'] },
    ...{ down: [zeros(1, 27)], up: [zeros(4, 1)], names: ['fc.bias'], values: [zeros(5)] },
  };
}

/** New values for fc.bias, [3], and bn.running_mean, [4]. */
export function biases(): Tensor[] {
  return [
    { data: Float32Array.of(0.1, 0.2, 0.3), shape: [3], dtype: 'float32' },
    { data: Float64Array.of(0, 0.1, 0, 0.1), shape: [4], dtype: 'float64' },
  ];
}

/** 'ok', or the code (else the name) of the error that a call throws or rejects with. */
export async function outcomeOf(call: () => unknown): Promise<string> {
  try {
    await call();
    return 'ok';
  } catch (error) {
    const { code, name } = Object(error);
    return typeof code === 'string' ? code : `uncoded ${typeof name === 'string' ? name : typeof error}`;
  }
}

export type Method = Exclude<keyof NativeModel, 'bytes' | 'extra'>;

/** A plan as an earlier run would have proven it. */
export function knownPlan(): Pick<Plan, 'variant' | 'precision' | 'crossings' | 'cacheable'> {
  return { variant: 'fused', precision: 'float32', crossings: [], cacheable: false };
}

/** What makes the model one that only predicts. */
export function serving(): OptimiseRequest {
  const preprocess = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], size: [8, 8] as [number, number] };
  return { precision: 'float32', example: pixels(2), preprocess };
}
