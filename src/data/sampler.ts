import type { Sample } from './dataset.js';
import { permutation, randomIntegers } from './random.js';

/**
 * In which order a pass takes samples: their own, each once at random (`shuffle`), or as many drawn with replacement so that
 * all classes are equally frequent on average (`balanced`: torch's WeightedRandomSampler with weights 1 / samples of the class).
 */
export type Order = 'own' | 'shuffle' | 'balanced';

/** Positions of the samples of one pass, a pure function of labels, order, seed and epoch. */
export function orderOf(samples: readonly Sample[], order: Order, seed = 0, epoch = 0): Int32Array {
  if (order === 'own') return Int32Array.from(samples, (_, index) => index);
  if (order === 'shuffle') return permutation(samples.length, seed, epoch);
  return balanced(samples, seed, epoch);
}

/** A class at even odds, then one of its samples at even odds. Classes without samples have none to give. */
function balanced(samples: readonly Sample[], seed: number, epoch: number): Int32Array {
  const byLabel = new Map<number, number[]>();
  for (const [index, { label }] of samples.entries()) {
    const members = byLabel.get(label);
    if (members) members.push(index);
    else byLabel.set(label, [index]);
  }
  const classes = [...byLabel].sort(([a], [b]) => a - b).map(([, members]) => members);
  const next = randomIntegers(seed, epoch);
  const below = (count: number) => Math.floor((next() / 2 ** 32) * count);
  return Int32Array.from(samples, () => {
    const members = classes[below(classes.length)] as number[];
    return members[below(members.length)] as number;
  });
}

/**
 * What augmentation is seeded by, for each place of an order: the sample's position, and where it comes again in the pass
 * that of the same sample in another copy of the list, so that it does not look the same each time.
 */
export function drawNumbers(order: Int32Array): Int32Array {
  const times = new Int32Array(order.length);
  return order.map((index) => {
    const before = times[index] as number;
    times[index] = before + 1;
    return (index + before * order.length) & 0x7fffffff;
  });
}
