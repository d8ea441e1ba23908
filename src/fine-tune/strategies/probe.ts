import type { Task } from '../../data/task.js';
import type { NativeOptimizer } from '../../native.js';
import { checkSchedule } from '../../schedule.js';
import { defaultRates } from '../groups.js';
import type { EpochReport } from '../report.js';
import { defaultLayerDecay } from './layers.js';
import type { Part } from './learnable.js';
import { makeStage, type Stage, type StageChoices, type Strategy, type StrategyContext } from './stage.js';

/** Of 20 iterations each with L-BFGS: scikit-learn's logistic regression takes 100 at most. */
const defaultProbeEpochs = 5;
/** The loss falls by less than this share: L-BFGS has converged. */
const converged = 1e-3;

const lbfgs: NativeOptimizer = {
  kind: 'lbfgs',
  maxIterations: 20,
  historySize: 10,
  toleranceGradient: 1e-7,
  toleranceChange: 1e-9,
};

/**
 * A linear probe: the head alone, by L-BFGS on kept features of the unaugmented images, with the L2 term of
 * scikit-learn's logistic regression: C by cross-validation, else 1; where features cannot be kept, dropout is on, or
 * GroupDRO's loss changes with each step, by the run's own optimizer.
 */
export function probe(whole: StrategyContext): Stage {
  // The caller's learning rates are those of the fine-tuning.
  const options = { ...whole.options, learningRate: undefined, learningRates: {} };
  const context = { ...whole, options };
  const epochs = options.probeEpochs ?? defaultProbeEpochs;
  const stepwise = makeStage(context, {
    name: 'probe',
    part: 'head',
    epochs,
  });
  const canFit =
    options.head.dropout === 0 &&
    options.groups?.loss !== 'dro' &&
    !options.trainBatchNorm &&
    options.cache !== 'none' &&
    options.split &&
    whole.summary.changingInEval === '';
  if (!canFit) return stepwise;
  const fitted = makeStage(context, {
    name: 'probe',
    part: 'head',
    epochs,
    optimizer: lbfgs,
    weightDecay: 1 / (whole.images * (whole.probeC ?? 1)),
    schedule: checkSchedule('constant', 'fineTune'),
    clipNorm: 0,
    accumulate: 1,
    views: 1,
    isOver: hasConverged,
  });
  return { ...fitted, otherwise: stepwise };
}

/**
 * Fine-tuning from a head that fits: at the rate of the body throughout, or with layer-wise decay from the head's
 * rate. Half of that rate, as fastai's `fine_tune` has, was slower to the same place on small sets (docs/benchmarks.md).
 */
export function afterProbe(
  context: StrategyContext,
  choices: Pick<StageChoices, 'name' | 'epochs' | 'clipNorm' | 'trainable'> & {
    part: Part;
    isLayerwise: boolean;
  },
): Stage {
  const { isLayerwise, ...rest } = choices;
  const { optimizer, layerDecay = isLayerwise ? defaultLayerDecay(context.summary) : 1 } = context.options;
  const { head, body } = defaultRates[optimizer.kind];
  const top = isLayerwise ? head : body;
  return makeStage(context, { ...rest, layerDecay, rates: { head: top, body: top } });
}

/** `lp-ft`: linear probing, then fine-tuning from its head (Kumar et al. 2022). */
export function probeThenFineTune(context: StrategyContext, then: Part | 'llrd'): Strategy {
  const { epochs } = context.options;
  const part = then === 'llrd' ? 'full' : then;
  const first = probe(context);
  const second = afterProbe(context, { name: 'fine-tune', part, isLayerwise: then === 'llrd', epochs });
  return { stages: [first, second], epochs: first.epochs + epochs, notices: [] };
}

function hasConverged(reports: readonly EpochReport<Task>[]): boolean {
  const [before, last] = reports.slice(-2).map(({ trainLoss }) => trainLoss ?? Number.NaN);
  return before !== undefined && last !== undefined && before - last < converged * before;
}
