import { bootstrapDifference, bootstrapInterval } from '../../metrics/bootstrap.js';
import { predictionStatistic } from '../../metrics/statistics.js';
import type { Decision, Predictions } from './stage.js';

export interface Judging {
  /** That picks the best epoch: `valAccuracy` is judged by accuracy, all else by macro F1. */
  metric: string;
  seed: number;
}

/**
 * A gain that this share of the resamples shows, ties counting one half, is worth the time of going on: little is lost by a
 * false hope. One image more is not enough, two are.
 */
const worthwhile = 0.9;
/** The loss tells sooner than the score, but is not what was asked for. */
const certain = 0.975;

/** Whether a perfect model could be told from this one on these images: the 95 % interval of what is left excludes 0. */
export function isFarFromCeiling(now: Predictions, judging: Judging): Decision {
  const score = scoreBy(judging.metric, now);
  const of = score.of(now);
  const { value, low } = bootstrapInterval(
    now.labels.length,
    (rows) => 1 - of(rows),
    resampling(now, judging),
  );
  const wrong = now.labels.filter((label, row) => label !== now.predicted[row]).length;
  const state =
    `the probe is wrong on ${wrong} of ${now.labels.length} validation images; a model without mistakes would gain ` +
    `${show(value)} in ${score.name}`;
  if ((low ?? 0) > 0) return { goesOn: true, why: `auto: ${state}, so fine-tuning is tried.` };
  return {
    goesOn: false,
    why:
      `auto: stopped at the probe: ${state}, too little for these images to show that a fine-tuned model is better. ` +
      'More validation images might.',
  };
}

/** Whether a trial is worth going on with, by the paired bootstrap of its gain. */
export function isProvenBetter(before: Predictions, after: Predictions, judging: Judging): Decision {
  if (after.predicted.every((guess, row) => guess === before.predicted[row])) {
    const why = `auto: stopped after the trial: no epoch of it was better than the probe by ${judging.metric}.`;
    return { goesOn: false, why };
  }
  const score = scoreBy(judging.metric, before);
  const count = before.labels.length;
  const options = resampling(before, judging);
  const gain = bootstrapDifference(count, score.of(after), score.of(before), options);
  const loss = bootstrapDifference(count, meanLoss(after), meanLoss(before), { ...options, mode: 'min' });
  const state =
    `the trial gained ${show(gain.low)} to ${show(gain.high)} in ${score.name} over the probe (95 % interval of the paired ` +
    `bootstrap; better in ${percent(gain.betterShare)} of the resamples, its loss lower in ${percent(loss.betterShare)})`;
  if ((gain.betterShare ?? 0) >= worthwhile || (loss.betterShare ?? 0) >= certain)
    return { goesOn: true, why: `auto: ${state}, so fine-tuning goes on.` };
  return {
    goesOn: false,
    why: `auto: stopped after the trial: ${state}, which is not enough.`,
  };
}

/** Within the true classes, so that none is lost. */
function resampling({ labels }: Predictions, { seed }: Judging) {
  return { seed, strata: Int32Array.from(labels) };
}

const show = (value: number | null) => (value ?? Number.NaN).toFixed(3);
const percent = (share: number | null) => `${Math.round(100 * (share ?? 0))} %`;

function scoreBy(metric: string, { labels }: Predictions) {
  // Of the classes that there are; a prediction may be of one that validation lacks.
  const classes = 1 + labels.reduce((most, label) => Math.max(most, label), 0);
  const isAccuracy = metric === 'valAccuracy';
  return {
    name: isAccuracy ? 'accuracy' : 'macro F1',
    of: (predictions: Predictions) =>
      predictionStatistic(isAccuracy ? 'accuracy' : 'macroF1', predictions, classes) as (
        rows: Int32Array,
      ) => number,
  };
}

const meanLoss =
  ({ losses }: Predictions) =>
  (rows: Int32Array) =>
    rows.reduce((sum, row) => sum + (losses[row] as number), 0) / rows.length;
