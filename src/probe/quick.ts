import type { Features } from './features.js';
import { logisticProbe } from './logistic.js';
import type { ProbeResult } from './result.js';

/** What C is chosen from, and how. */
export const quickSettings = { C: [1e-3, 1e-2, 1e-1, 1], folds: 3, maxIterations: 100 };

/**
 * A linear probe in a second or so: logistic regression, C of 1e-3, 1e-2, 0.1 and 1 by 3-fold cross-validation, at most
 * 100 iterations; with `C` that one. What models and weights are compared by; `logisticProbe` is the careful one.
 */
export function quickProbe(
  features: Features,
  options: { seed: number; signal?: AbortSignal | undefined; C?: number | undefined },
): Promise<ProbeResult> {
  const { seed, signal, C } = options;
  return logisticProbe(features, {
    ...{ ...quickSettings, seed },
    ...(C === undefined ? {} : { C: [C] }),
    ...(signal ? { signal } : {}),
  });
}
