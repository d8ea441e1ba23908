import type { Strategy as StrategyName } from '../options.js';
import { auto } from './auto.js';
import { gradual } from './gradual.js';
import type { Part } from './learnable.js';
import { lora } from './lora.js';
import { layerwise, oneStage } from './one-stage.js';
import { probeThenFineTune } from './probe.js';
import type { Strategy, StrategyContext } from './stage.js';

/** The stages of a strategy for a model that has its head. @throws NOT_TRAINABLE, PATTERN_UNMATCHED, INVALID_VALUE */
export function compileStrategy(context: StrategyContext): Strategy {
  const name = context.options.strategy as StrategyName;
  if (name === 'auto') return auto(context);
  if (name === 'gradual') return gradual(context);
  if (name === 'llrd') return layerwise(context);
  if (name === 'lora') return lora(context);
  if (name === 'lp-ft') return probeThenFineTune(context, 'full');
  if (name.startsWith('lp-ft:'))
    return probeThenFineTune(context, name.slice('lp-ft:'.length) as Part | 'llrd');
  return oneStage(context, name as Part);
}
