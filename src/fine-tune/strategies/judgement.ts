import { bootstrapDifference, bootstrapInterval } from '../../metrics/bootstrap.js';
import type { Decision, Predictions } from './stage.js';

export interface Judging {
  /** That picks the best epoch: `valAccuracy` is judged by accuracy, all else by macro F1. */
  metric: string;
  seed: number;
}

/** A gain that this share of the resamples shows is worth the time of going on: little is lost by a false hope. */
const worthwhile = 0.8;
/** The loss tells sooner than the score, but is not what was asked for. */
const certain = 0.975;

/** Whether a perfect model could be told from this one on these images: the 95 % interval of what is left excludes 0. */
export function isFarFromCeiling(now: Predictions, judging: Judging): Decision {
  const score = scoreBy(judging.metric);
  const left = (rows: Int32Array) => 1 - score.of(now, rows);
  const { low, high } = bootstrapInterval(now.labels.length, left, { seed: judging.seed });
  const wrong = now.labels.filter((label, row) => label !== now.predicted[row]).length;
  const state =
    `the probe is wrong on ${wrong} of ${now.labels.length} validation images; what is left to win in ${score.name} is ` +
    `${show(low)} to ${show(high)} (95 % interval)`;
  if ((low ?? 0) > 0) return { goesOn: true, why: `auto: ${state}, so fine-tuning is tried.` };
  return {
    goesOn: false,
    why:
      `auto: stopped at the probe: ${state}, so these images could not show that a fine-tuned model is better. ` +
      'Strategy `lp-ft` fine-tunes nevertheless.',
  };
}

/** Whether a trial is worth going on with, by the paired bootstrap of its gain. */
export function isProvenBetter(before: Predictions, after: Predictions, judging: Judging): Decision {
  const nevertheless = 'Strategy `lp-ft` fine-tunes nevertheless.';
  if (after.predicted.every((guess, row) => guess === before.predicted[row])) {
    const why = `auto: stopped after the trial: no epoch of it was better than the probe by ${judging.metric}.`;
    return { goesOn: false, why: `${why} ${nevertheless}` };
  }
  const score = scoreBy(judging.metric);
  const count = before.labels.length;
  const { seed } = judging;
  const by = (of: typeof accuracy) =>
    [(rows: Int32Array) => of(after, rows), (rows: Int32Array) => of(before, rows)] as const;
  const gain = bootstrapDifference(count, ...by(score.of), { seed });
  const loss = bootstrapDifference(count, ...by(meanLoss), { seed, mode: 'min' });
  const state =
    `the trial gained ${show(gain.low)} to ${show(gain.high)} in ${score.name} over the probe (95 % interval of the paired ` +
    `bootstrap; better in ${percent(gain.betterShare)} of the resamples, its loss lower in ${percent(loss.betterShare)})`;
  if ((gain.betterShare ?? 0) >= worthwhile || (loss.betterShare ?? 0) >= certain)
    return { goesOn: true, why: `auto: ${state}, so fine-tuning goes on.` };
  return {
    goesOn: false,
    why: `auto: stopped after the trial: ${state}, which is not enough. ${nevertheless}`,
  };
}

const show = (value: number | null) => (value ?? Number.NaN).toFixed(3);
const percent = (share: number | null) => `${Math.round(100 * (share ?? 0))} %`;

function scoreBy(metric: string) {
  return metric === 'valAccuracy' ? { name: 'accuracy', of: accuracy } : { name: 'macro F1', of: macroF1 };
}

function accuracy({ labels, predicted }: Predictions, rows: Int32Array): number {
  let hits = 0;
  for (const row of rows) hits += Number(labels[row] === predicted[row]);
  return hits / rows.length;
}

function meanLoss({ losses }: Predictions, rows: Int32Array): number {
  return rows.reduce((sum, row) => sum + (losses[row] as number), 0) / rows.length;
}

/** Over the classes that the rows have: one that a resample lacks says nothing. */
function macroF1({ labels, predicted }: Predictions, rows: Int32Array): number {
  const classes = 1 + labels.reduce((most, label, row) => Math.max(most, label, predicted[row] as number), 0);
  const hits = new Float64Array(classes);
  // Samples of a class and samples taken for it.
  const sizes = new Float64Array(classes);
  for (const row of rows) {
    const label = labels[row] as number;
    const guess = predicted[row] as number;
    sizes[label] = (sizes[label] as number) + 1;
    sizes[guess] = (sizes[guess] as number) + 1;
    if (label === guess) hits[label] = (hits[label] as number) + 1;
  }
  let sum = 0;
  let met = 0;
  for (const [label, size] of sizes.entries()) {
    if (size === 0) continue;
    met += 1;
    sum += (2 * (hits[label] as number)) / size;
  }
  return sum / met;
}
