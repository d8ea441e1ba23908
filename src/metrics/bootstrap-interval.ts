import { randomIntegers } from '../data/random.js';

/** Numbers of its own, beside those of epochs. */
const stream = 0xb0075;
const resamples = 1000;

/**
 * The percentile bootstrap (Efron 1979) of a statistic of n samples: it is computed of 1000 draws of n rows with
 * replacement. Paired comparisons draw the same rows for both.
 *
 * @param statistic of rows [n], indices from 0 to count - 1
 * @returns `low` and `high`, the 2.5 and 97.5 percentiles, and `above`, the share of the draws in which it is above 0
 */
export function bootstrap(
  count: number,
  statistic: (rows: Int32Array) => number,
  seed: number,
): { low: number; high: number; above: number } {
  const next = randomIntegers(seed, stream);
  const rows = new Int32Array(count);
  const values = new Float64Array(resamples);
  for (let draw = 0; draw < resamples; draw++) {
    for (let row = 0; row < count; row++) rows[row] = Math.floor((next() / 2 ** 32) * count);
    values[draw] = statistic(rows);
  }
  values.sort();
  const at = (share: number) => values[Math.round(share * (resamples - 1))] as number;
  return { low: at(0.025), high: at(0.975), above: values.filter((value) => value > 0).length / resamples };
}
