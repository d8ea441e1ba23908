import { z } from 'zod';
import { cleaningUp } from './clean-up.js';
import { completePreprocessing, nativePreprocess, type Preprocessing } from './data/preprocessing.js';
import { TorchgraftError } from './errors.js';
import { buildGroups } from './fine-tune/groups.js';
import { chooseTrainable, type Part, partPattern } from './fine-tune/strategies/learnable.js';
import type { Model } from './model.js';
import type { Plan } from './native.js';
import { callNative } from './native-call.js';
import { frozenNotice } from './notices.js';
import { checkOptions } from './options.js';

const planOptions = z.strictObject({
  strategy: partPattern.default('head'),
  freeze: z.array(z.string()).default([]),
  imageSize: z.int().min(1).max(8192).optional(),
  precision: z.enum(['auto', 'float32', 'bfloat16', 'float16']).default('auto'),
});

/**
 * - `strategy`, `freeze`: as in `fineTune`, of the strategies in which the same parameters learn throughout; default
 *   `head`, none
 * - `imageSize`: side of the square images, pixels; default: the model's own, else 224
 * - `precision`: default `auto`
 */
export type PlanOptions = z.input<typeof planOptions>;

/**
 * How a fine-tuning of this model would be computed: where it is cut, what share of the arithmetic is frozen, which
 * values cross, in which precision, and how closely that equals the model as it was loaded. Tried on four patterned
 * images with the head the model has; weights and what learns stay as they were.
 *
 * @throws MODEL_FROZEN, NOT_TRAINABLE, MODEL_FAILED, INVALID_VALUE, BUSY, DISPOSED
 */
export async function planModel(model: Model, options: PlanOptions = {}): Promise<Plan> {
  const { strategy, freeze, imageSize, precision } = checkOptions(planOptions, options, 'planModel');
  const preprocessing = completePreprocessing({
    ...model.card?.preprocessing,
    ...(imageSize ? { size: imageSize, resize: imageSize } : {}),
  });
  return withFrozenTrunk(model, { strategy, freeze, preprocessing }, () => {
    const example = patternedBatch(4, preprocessing.size);
    return callNative(() => model.native.plan(example, { precision, split: true }));
  });
}

/**
 * Runs `use` while the model is configured as a fine-tuning would configure it, with the head it has; afterwards what
 * learns is as before. `use` is given how many features the main head takes in.
 *
 * @throws NO_HEAD where there is no one head of the main output, NOT_TRAINABLE, BUSY, DISPOSED
 */
export async function withFrozenTrunk<T>(
  model: Model,
  setting: { strategy: string; freeze: string[]; preprocessing: Preprocessing },
  use: (inFeatures: number) => Promise<T>,
): Promise<T> {
  const { strategy, freeze, preprocessing } = setting;
  const before = model.trainable;
  const summary = await model.summary();
  const heads = new Set(summary.heads.map(({ module }) => module));
  if (summary.frozen) throw new TorchgraftError('MODEL_FROZEN', `planModel: ${frozenNotice}`);
  const head = summary.parameters
    .map(({ name }) => name)
    .filter((name) => heads.has(name.replace(/\.?[^.]+$/, '')));
  await model.setTrainable(chooseTrainable(model, summary, head, strategy as Part, freeze));
  const configureAndUse = async () => {
    const optimizer = { kind: 'sgd', momentum: 0, dampening: 0, nesterov: false } as const;
    const rest = { learningRates: {}, weightDecay: 0, decayNormAndBias: false };
    await model.configure({
      ...{ optimizer, clipNorm: 0, accumulate: 1, auxiliaryWeight: 0.4, seed: 0, augment: null },
      groups: buildGroups(summary, head, { optimizer, ...rest }),
      loss: { kind: 'crossEntropy', labelSmoothing: 0 },
      preprocess: nativePreprocess(preprocessing),
    });
    return use(summary.heads.find(({ output }) => output === 0)?.inFeatures ?? 0);
  };
  return cleaningUp(configureAndUse, () => model.setTrainable(before));
}

function patternedBatch(count: number, side: number) {
  const data = Uint8Array.from({ length: count * side * side * 3 }, (_, i) => (i * 37 + (i >> 8)) % 251);
  return {
    inputs: [{ data, shape: [count, side, side, 3], dtype: 'uint8' as const }],
    target: { data: new Int32Array(count), shape: [count], dtype: 'int32' as const },
  };
}
