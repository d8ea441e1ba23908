import type { ModelDescription, NativeGroup, NativeOptimizer } from '../native.js';
import { matchNames, namesOf } from '../patterns.js';
import type { CheckedOptions } from './options.js';

// Rates that fine-tune well across the families; the body learns ten times slower than a head made of noise.
export const defaultRates: Record<NativeOptimizer['kind'], { head: number; body: number }> = {
  adamw: { head: 1e-3, body: 1e-4 },
  adam: { head: 1e-3, body: 1e-4 },
  sgd: { head: 1e-2, body: 1e-3 },
  rmsprop: { head: 1e-4, body: 1e-5 },
  // What its line search tries first.
  lbfgs: { head: 1, body: 1 },
};

/** How fast parameters learn where `learningRates` does not say. */
export interface Pace {
  /** Instead of the optimizer's default rates. */
  rates?: { head: number; body: number };
  /** Factor on a parameter's rate. */
  factorOf?: (name: string) => number;
}

/**
 * Static parameter groups: every parameter is in one from the first step on, whether it learns yet or not. Parameters
 * with equal learning rate and weight decay share a group.
 *
 * @param head names of the head's parameters
 * @throws PATTERN_UNMATCHED when a pattern of `learningRates` matches nothing
 */
export function buildGroups(
  model: ModelDescription,
  head: readonly string[],
  options: Pick<
    CheckedOptions,
    'optimizer' | 'learningRate' | 'learningRates' | 'weightDecay' | 'decayNormAndBias'
  >,
  pace: Pace = {},
): NativeGroup[] {
  const parameters = model.parameters.filter(({ dtype }) => dtype.startsWith('float'));
  const names = namesOf({ ...model, parameters });
  const isHead = new Set(head);
  const defaults = pace.rates ?? defaultRates[options.optimizer.kind];
  const factorOf = pace.factorOf ?? (() => 1);
  const rates = new Map(
    names.parameters.map((name) => [
      name,
      factorOf(name) * (options.learningRate ?? (isHead.has(name) ? defaults.head : defaults.body)),
    ]),
  );
  for (const [pattern, rate] of Object.entries(options.learningRates)) {
    for (const name of matchNames([pattern], names)) rates.set(name, rate);
  }
  const groups = new Map<string, NativeGroup>();
  for (const { name, shape } of parameters) {
    const learningRate = rates.get(name) as number;
    const weightDecay = options.decayNormAndBias || shape.length > 1 ? options.weightDecay : 0;
    const key = `${learningRate} ${weightDecay}`;
    const group = groups.get(key) ?? { parameters: [], learningRate, weightDecay };
    group.parameters.push(name);
    groups.set(key, group);
  }
  return [...groups.values()];
}
