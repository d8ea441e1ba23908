import type { Task } from '../../data/task.js';
import { namesOf, ownParameters } from '../../patterns.js';
import { isFarFromCeiling, isProvenBetter } from './judgement.js';
import { leaveOut } from './learnable.js';
import { afterProbe, probe } from './probe.js';
import type { Decision, Evidence, Stage, Strategy, StrategyContext } from './stage.js';

/** Share of the epochs that a gain may take to show: the first ones after a probe lose more often than they gain. */
const trialShare = 0.5;

/**
 * `auto`: a linear probe; where validation could show a gain over it, a short fine-tuning of everything from its head with
 * layer-wise decay; and where that is better, the rest of it. Each stage begins from the best weights so far.
 *
 * Without classes to judge by there is no decision: the probe, and all of the fine-tuning.
 *
 * BatchNorm stays as it was trained, weights and statistics: those of a small set of augmented images undo more than the
 * weights gain (docs/architecture.md has the figures).
 */
export function auto(context: StrategyContext): Strategy {
  const { epochs, clipNorm = 1 } = context.options;
  const tried = Math.ceil(trialShare * epochs);
  const choices = { part: 'full', isLayerwise: true, trainable: learning(context), clipNorm } as const;
  if (context.task !== undefined && context.task !== 'single-label') {
    const [first, rest] = [probe(context), afterProbe(context, { ...choices, name: 'fine-tune', epochs })];
    return { stages: [first, rest], epochs: first.epochs + epochs, notices: [undecided(context.task)] };
  }
  const stages: [Stage, ...Stage[]] = [
    probe(context),
    afterProbe(context, { ...choices, name: 'trial', epochs: tried }),
  ];
  if (epochs > tried)
    stages.push(afterProbe(context, { ...choices, name: 'fine-tune', epochs: epochs - tried }));
  return {
    stages,
    epochs: stages.reduce((sum, stage) => sum + stage.epochs, 0),
    decide: (index, evidence) => decide(index, evidence, context),
    notices: [],
  };
}

/** Judgement is of predicted classes. */
function undecided(task: Task): string {
  return (
    `auto: decides by predicted classes, and the data is ${task}: all epochs of fine-tuning follow the probe, as with ` +
    "`lp-ft:llrd`. The best epoch is kept, the probe's among them."
  );
}

/** Everything but BatchNorm, unless that was asked for. */
function learning({ model, summary, head, options }: StrategyContext): string[] {
  const names = namesOf(summary);
  const norms = new Set(options.trainBatchNorm ? [] : ownParameters(summary.batchNorms, names));
  return leaveOut(model, [...names.parameters.filter((name) => !norms.has(name)), ...head], options.freeze);
}

function decide(index: number, { before, best }: Evidence, { options }: StrategyContext): Decision {
  // Judged by a training metric that was never finite: nothing can be said.
  if (!best) return { goesOn: true, why: 'auto: nothing is known of the probe, so fine-tuning goes on.' };
  const judging = { metric: options.earlyStopping.metric, seed: options.seed };
  if (index === 0) return isFarFromCeiling(best, judging);
  if (index === 1) return isProvenBetter(before ?? best, best, judging);
  return { goesOn: true, why: '' };
}
