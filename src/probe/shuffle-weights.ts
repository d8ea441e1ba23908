import { randomIntegers, shuffle } from '../data/random.js';
import type { Model } from '../model.js';
import { callNative } from '../native-call.js';

/**
 * Puts the values of each weight tensor in a random order: the network with the sizes of its weights, but nothing of what
 * it learnt. Biases, and what BatchNorm keeps, stay.
 *
 * @param seed default 0
 * @throws BUSY, DISPOSED
 */
export async function shuffleWeights(model: Model, seed = 0): Promise<void> {
  const { parameters } = await model.summary();
  const names = parameters
    .filter(({ shape, dtype }) => shape.length > 1 && dtype === 'float32')
    .map(({ name }) => name);
  const tensors = await callNative(() => model.native.values(names));
  for (const [index, { data }] of tensors.entries()) {
    shuffle(data as Float32Array, randomIntegers(seed, index));
  }
  await callNative(() => model.native.setValues(names, tensors));
}
