import { z } from 'zod';
import type { NativeLoss, NativeOptimizer } from './native.js';
import { innerOptions, suggest } from './options.js';

const share = z.number().min(0).lt(1);
const positive = z.number().gt(0);

/** A name, or an object whose `kind` is a name, as that object; `read` may know other texts. */
export function named(names: readonly string[], read?: (text: string) => object | undefined) {
  return z.unknown().transform((value, context) => {
    const given = typeof value === 'string' ? (read?.(value) ?? { kind: value }) : value;
    if (typeof given !== 'object' || given === null) {
      const message = `expected one of ${names.join(', ')}, or an object with such a \`kind\``;
      context.addIssue({ code: 'invalid_type', expected: 'string', input: value, message });
      return z.NEVER;
    }
    const kind = String((given as { kind?: unknown }).kind);
    if (names.includes(kind)) return given;
    context.addIssue({ code: 'custom', message: `unknown name \`${kind}\`. ${suggest(kind, names)}` });
    return z.NEVER;
  });
}

const optimizerSchemas = {
  sgd: innerOptions({
    kind: z.literal('sgd'),
    momentum: share.default(0.9),
    dampening: share.default(0),
    nesterov: z.boolean().default(false),
  }),
  adam: innerOptions({
    kind: z.literal('adam'),
    beta1: share.default(0.9),
    beta2: share.default(0.999),
    epsilon: positive.default(1e-8),
  }),
  adamw: innerOptions({
    kind: z.literal('adamw'),
    beta1: share.default(0.9),
    beta2: share.default(0.999),
    epsilon: positive.default(1e-8),
  }),
  rmsprop: innerOptions({
    kind: z.literal('rmsprop'),
    alpha: share.default(0.99),
    epsilon: positive.default(1e-8),
    momentum: share.default(0),
    centered: z.boolean().default(false),
  }),
  lbfgs: innerOptions({
    kind: z.literal('lbfgs'),
    maxIterations: z.int().min(1).max(1_000_000).default(20),
    // torch.optim's 100 would keep 200 copies of the weights, more than 20 iterations fill. scipy and scikit-learn keep 10.
    historySize: z.int().min(1).max(1000).default(10),
    toleranceGradient: z.number().min(0).default(1e-7),
    toleranceChange: z.number().min(0).default(1e-9),
  }),
};

/** Names of the optimizers. */
export const optimizerNames = Object.keys(optimizerSchemas) as NativeOptimizer['kind'][];

/**
 * `'adamw'` or an object with `kind`; torch.optim's names and defaults, except momentum 0.9 for SGD and a history of 10
 * for L-BFGS.
 */
export const optimizerOption = named(optimizerNames)
  .pipe(z.discriminatedUnion('kind', Object.values(optimizerSchemas) as never))
  .transform((value) => value as NativeOptimizer);

/** An optimizer by name, or with its own options. */
export type OptimizerOption =
  | NativeOptimizer['kind']
  | {
      [K in keyof typeof optimizerSchemas]: z.input<(typeof optimizerSchemas)[K]>;
    }[keyof typeof optimizerSchemas];

const classWeights = z.array(z.number().min(0)).readonly().optional();

const lossSchemas = {
  crossEntropy: innerOptions({
    kind: z.literal('crossEntropy'),
    labelSmoothing: share.default(0),
    classWeights,
  }),
  bceWithLogits: innerOptions({ kind: z.literal('bceWithLogits'), classWeights }),
  focal: innerOptions({ kind: z.literal('focal'), gamma: z.number().min(0).default(2), classWeights }),
  mse: innerOptions({ kind: z.literal('mse') }),
  huber: innerOptions({ kind: z.literal('huber'), delta: positive.default(1) }),
  // TorchScript's parser wants the last line ended.
  source: innerOptions({ kind: z.literal('source'), source: z.string().transform((text) => `${text}\n`) }),
};

const lossNames = Object.keys(lossSchemas);

function readSource(text: string): { kind: string; source: string } | undefined {
  return /\bdef\s+\w+\s*\(/.test(text) ? { kind: 'source', source: text } : undefined;
}

/**
 * A loss by name, with its options, or as TorchScript source text (`'def loss(output, target): ...'`), compiled
 * natively. Mean over the batch. classWeights: one weight for each class; for BCE PyTorch's `pos_weight`.
 */
export const lossOption = named(lossNames, readSource)
  .pipe(z.discriminatedUnion('kind', Object.values(lossSchemas) as never))
  .transform((value) => {
    const { classWeights: weights, ...rest } = value as { classWeights?: readonly number[] };
    return (weights ? { ...rest, classWeights: Float32Array.from(weights) } : rest) as NativeLoss;
  });

/** A loss by name, as TorchScript source, or with its own options. */
export type LossOption =
  | string
  | { [K in keyof typeof lossSchemas]: z.input<(typeof lossSchemas)[K]> }[keyof typeof lossSchemas];
