import { randomIntegers } from '../data/random.js';

/** What the probes are compared by. */
export type ProbeMetric = 'accuracy' | 'macroF1';

/** A difference of a metric and its percentile interval. */
export interface Difference {
  /** First minus second. */
  value: number;
  low: number;
  high: number;
}

/** Two classifiers' predictions for the same images, class indices [n]. */
export interface PairedPredictions {
  first: Int32Array;
  second: Int32Array;
  labels: Int32Array;
  /** Number of classes. */
  classes: number;
}

const resamples = 2000;

/**
 * The difference of a metric between two classifiers with a 95 % interval by the paired percentile bootstrap: images are
 * drawn with replacement, the same for both (Efron and Tibshirani, An Introduction to the Bootstrap, 1993). It says what
 * other validation images might have shown, not other training images.
 */
export function pairedDifference(pair: PairedPredictions, metric: ProbeMetric, seed: number): Difference {
  const count = pair.labels.length;
  const next = randomIntegers(seed, 0);
  const all = Int32Array.from({ length: count }, (_, index) => index);
  const drawn = new Int32Array(count);
  const differences = Float64Array.from({ length: resamples }, () => {
    for (let i = 0; i < count; i++) drawn[i] = next() % count;
    return differenceOn(drawn, pair, metric);
  }).sort();
  const at = (share: number) => differences[Math.round(share * (resamples - 1))] as number;
  return { value: differenceOn(all, pair, metric), low: at(0.025), high: at(0.975) };
}

function differenceOn(
  rows: Int32Array,
  { first, second, labels, classes }: PairedPredictions,
  metric: ProbeMetric,
): number {
  const score = metric === 'accuracy' ? accuracyOn : macroF1On;
  return score(rows, first, labels, classes) - score(rows, second, labels, classes);
}

function accuracyOn(rows: Int32Array, predicted: Int32Array, labels: Int32Array): number {
  let hits = 0;
  for (const row of rows) hits += Number(predicted[row] === labels[row]);
  return hits / rows.length;
}

/** Mean over the classes that are drawn or predicted. */
function macroF1On(rows: Int32Array, predicted: Int32Array, labels: Int32Array, classes: number): number {
  const hits = new Int32Array(classes);
  const sizes = new Int32Array(classes);
  for (const row of rows) {
    const [guess, truth] = [predicted[row] as number, labels[row] as number];
    sizes[guess] = (sizes[guess] as number) + 1;
    sizes[truth] = (sizes[truth] as number) + 1;
    if (guess === truth) hits[truth] = (hits[truth] as number) + 1;
  }
  let sum = 0;
  let present = 0;
  for (let i = 0; i < classes; i++) {
    if (sizes[i] === 0) continue;
    present += 1;
    sum += (2 * (hits[i] as number)) / (sizes[i] as number);
  }
  return sum / present;
}
