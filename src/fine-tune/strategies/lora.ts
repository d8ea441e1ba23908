import { defaultRates } from '../groups.js';
import { leaveOut } from './learnable.js';
import { makeStage, type Strategy, type StrategyContext } from './stage.js';

/**
 * `lora`: low-rank adapters of the frozen layers (Hu et al. 2021) learn, and the head. Both at the head's rate: adapters
 * want about ten times the rate of full fine-tuning (Biderman et al. 2024).
 */
export function lora(context: StrategyContext): Strategy {
  const { model, summary, head, options } = context;
  const { adapters } = summary;
  const names = adapters.flatMap(({ down, up }) => [down, up]);
  const { head: rate } = defaultRates[options.optimizer.kind];
  const stage = makeStage(context, {
    name: 'lora',
    part: 'head',
    trainable: leaveOut(model, [...names, ...head], options.freeze),
    extent: options.lora?.targets ? 'some' : 'all',
    rates: { head: rate, body: rate },
  });
  const [first] = adapters;
  const numbers = summary.parameters
    .filter(({ name }) => names.includes(name))
    .reduce((sum, { shape }) => sum + shape.reduce((product, size) => product * size, 1), 0);
  const notice =
    `lora: adapters of rank ${first?.rank} in ${adapters.length} layers, ${numbers.toLocaleString('en-US')} numbers in ` +
    'all. They are merged into the weights of the saved model.';
  return { stages: [stage], epochs: options.epochs, notices: [notice] };
}
