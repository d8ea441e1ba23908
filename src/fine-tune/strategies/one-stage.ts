import { defaultRates } from '../groups.js';
import { defaultLayerDecay } from './layers.js';
import type { Part } from './learnable.js';
import { makeStage, type Strategy, type StrategyContext } from './stage.js';

/** `head`, `last:k`, `full`, `norm` and `bias` (BitFit, Zaken et al. 2022): one part learns from the first epoch to the last. */
export function oneStage(context: StrategyContext, part: Part): Strategy {
  const { layerDecay = 1, epochs } = context.options;
  return { stages: [makeStage(context, { name: part, part, layerDecay })], epochs, notices: [] };
}

/**
 * `llrd`: everything learns, each layer slower than the one above it by a factor (discriminative fine-tuning, Howard and
 * Ruder 2018; layer-wise decay of ELECTRA, 2020, and BEiT, 2021). The decay begins at the head's rate.
 */
export function layerwise(context: StrategyContext): Strategy {
  const { optimizer, epochs, layerDecay = defaultLayerDecay(context.summary) } = context.options;
  const { head } = defaultRates[optimizer.kind];
  const stage = makeStage(context, { name: 'llrd', part: 'full', layerDecay, rates: { head, body: head } });
  return { stages: [stage], epochs, notices: [] };
}
