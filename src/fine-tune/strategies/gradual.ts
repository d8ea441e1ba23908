import type { Task } from '../../data/task.js';
import type { EarlyStoppingOptions } from '../../early-stopping.js';
import { metricMode } from '../../metrics/names.js';
import { namesOf, ownParameters } from '../../patterns.js';
import { compareStandings } from '../../standing.js';
import type { EpochReport } from '../report.js';
import { bodyLayers } from './layers.js';
import { leaveOut } from './learnable.js';
import { makeStage, type Stage, type Strategy, type StrategyContext } from './stage.js';

const defaultStages = 4;
/** A stage with fewer epochs than this sees each image in too few views for keeping them to pay. */
const fewEpochs = 5;

/**
 * `gradual`: gradual unfreezing from the top (ULMFiT, Howard and Ruder 2018). The head learns first, then group by group
 * what lies below it; optimizer and schedule go on from stage to stage. Layers that learn keep learning.
 */
export function gradual(context: StrategyContext): Strategy {
  const { epochs, unfreezeEvery = 1, stages: wanted = defaultStages } = context.options;
  const parts = partsFromTop(context, wanted);
  const every = unfreezeEvery === 'plateau' ? epochs : unfreezeEvery;
  const reached =
    unfreezeEvery === 'plateau' ? parts.length : Math.min(parts.length, Math.ceil(epochs / every));
  const stages = parts.slice(0, reached).map((trainable, index) => {
    const isLast = index === reached - 1;
    const most = unfreezeEvery === 'plateau' ? epochs : isLast ? epochs - every * index : every;
    return makeStep(context, trainable, { index, count: parts.length, isLast, epochs: most });
  });
  const notices =
    reached < parts.length
      ? [
          `gradual: with ${epochs} epochs and a group every ${every}, only ${reached} of ${parts.length} groups of layers ` +
            'learn. More `epochs`, or fewer `stages`, lets all of them learn.',
        ]
      : [];
  return { stages: stages as [Stage, ...Stage[]], epochs, notices };
}

/** What learns in each stage: the head, then with it equal shares of the layers below, from the top. */
function partsFromTop({ model, summary, head, options }: StrategyContext, wanted: number): string[][] {
  const layers = bodyLayers(summary, head);
  const count = Math.min(wanted, layers.length + 1);
  const names = namesOf(summary);
  return Array.from({ length: count }, (_, stage) => {
    if (stage === 0) return leaveOut(model, head, options.freeze);
    // The last stage has what forward does not use through a layer, too.
    if (stage === count - 1) return leaveOut(model, names.parameters, options.freeze);
    const below = layers.slice(0, Math.round((layers.length * stage) / (count - 1)));
    return leaveOut(model, [...ownParameters(below.flat(), names), ...head], options.freeze);
  });
}

function makeStep(
  context: StrategyContext,
  trainable: string[],
  { index, count, isLast, epochs }: { index: number; count: number; isLast: boolean; epochs: number },
): Stage {
  const { options } = context;
  const { layerDecay = 1, unfreezeEvery, views } = options;
  const live = epochs < fewEpochs && index > 0 ? 'live' : undefined;
  return makeStage(context, {
    name: `unfreeze ${index + 1} of ${count}`,
    part: 'full',
    trainable,
    extent: index === 0 ? 'head' : index === count - 1 ? 'all' : 'some',
    layerDecay,
    epochs,
    views: views ?? live,
    scheduleSpan: 'run',
    continues: index > 0,
    ...(unfreezeEvery === 'plateau' && !isLast
      ? { isOver: (reports) => hasStalled(reports, options.earlyStopping) }
      : {}),
  });
}

/** The last epoch is no better than the best before it in the same stage; of equal ones the lower validation loss is. */
function hasStalled(
  reports: readonly EpochReport<Task>[],
  { metric, mode = 'auto' }: EarlyStoppingOptions,
): boolean {
  const chosen = mode === 'auto' ? metricMode(metric) : mode;
  const standings = reports.map(({ metrics }) => ({ value: metrics[metric] ?? null, loss: metrics.valLoss }));
  const last = standings.pop();
  return last !== undefined && standings.some((before) => compareStandings(before, last, chosen) <= 0);
}
