import { invalidValue } from './errors.js';
import type { ModelDescription, NativeOptimizer } from './native.js';
import { whyChanging } from './notices.js';

/** Options of training that L-BFGS may contradict. */
export interface LbfgsSurroundings {
  optimizer: NativeOptimizer;
  learningRates: Record<string, number>;
  accumulate: number;
  clipNorm?: number | undefined;
}

/** An option that does not go with L-BFGS: whether it was given, why not, and the way out. */
export type LbfgsConflict = [isGiven: boolean, why: string];

/**
 * Refuses what L-BFGS cannot do, when that is the optimizer; `more` are conflicts of the caller's own options.
 *
 * @throws INVALID_VALUE
 */
export function checkLbfgs(options: LbfgsSurroundings, where: string, more: LbfgsConflict[] = []): void {
  if (options.optimizer.kind !== 'lbfgs') return;
  const conflicts: LbfgsConflict[] = [
    [options.accumulate > 1, 'sees all samples in each step. Leave `accumulate` out.'],
    [Boolean(options.clipNorm), 'finds the length of its steps by a line search. Leave `clipNorm` out.'],
    [
      Object.keys(options.learningRates).length > 0,
      'has one learning rate for all that learns. Leave `learningRates` out, and freeze what shall not learn.',
    ],
    ...more,
  ];
  const found = conflicts.find(([isGiven]) => isGiven);
  if (found) throw invalidValue(`${where}: optimizer \`lbfgs\` ${found[1]}`);
}

/**
 * Refuses a model that draws random numbers in eval mode too, when L-BFGS is the optimizer: each step would fit the head to
 * what one draw leaves of its inputs.
 *
 * @throws INVALID_VALUE
 */
export function checkLbfgsModel(
  { optimizer }: Pick<LbfgsSurroundings, 'optimizer'>,
  model: ModelDescription,
  where: string,
): void {
  const why = optimizer.kind === 'lbfgs' ? whyChanging(model) : undefined;
  if (!why) return;
  throw invalidValue(
    `${where}: optimizer \`lbfgs\` learns in eval mode. ${why} Or use another optimizer, for example \`adamw\`.`,
  );
}
