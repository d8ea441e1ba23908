import type { NativeGroup } from '../native.js';

/** Learning rates as options of fineTune: one for most of what learns, and others by parameter. */
export interface FoundRates {
  learningRate: number;
  learningRates: Record<string, number>;
}

/** The parameter groups of a run, and the ratios between their learning rates. */
export class LearningGroups {
  readonly #groups: readonly NativeGroup[];
  /** Parameters that learn, by their rate's share of the fastest one. */
  readonly #learning = new Map<number, string[]>();
  /** The largest learning rate of anything that learns. */
  readonly fastest: number;

  constructor(groups: readonly NativeGroup[], trainable: readonly string[]) {
    const learns = new Set(trainable);
    const some = groups.filter(({ parameters }) => parameters.some((name) => learns.has(name)));
    this.#groups = groups;
    this.fastest = Math.max(0, ...some.map(({ learningRate }) => learningRate));
    for (const { parameters, learningRate } of some) {
      const ratio = learningRate / this.fastest;
      const names = this.#learning.get(ratio) ?? [];
      this.#learning.set(ratio, [...names, ...parameters.filter((name) => learns.has(name))]);
    }
  }

  /** Shares of the fastest rate that something learns at, largest first; the first is 1. */
  get ratios(): number[] {
    return [...this.#learning.keys()].sort((a, b) => b - a);
  }

  /** Learning rates of all groups, when the fastest has this one. */
  at(rate: number): number[] {
    return this.#groups.map(({ learningRate }) => (learningRate / this.fastest) * rate);
  }

  /** The same as options of fineTune. */
  optionsAt(rate: number): FoundRates {
    const [most, ...others] = [...this.#learning].sort(([, a], [, b]) => b.length - a.length);
    const named = others.flatMap(([ratio, names]) => names.map((name) => [name, ratio * rate] as const));
    return { learningRate: (most?.[0] ?? 1) * rate, learningRates: Object.fromEntries(named) };
  }
}
