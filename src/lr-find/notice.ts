import { type SweepPoint, trimCurve } from './suggestions.js';
import type { SweepEnd } from './sweep.js';

/** By how much the smoothed loss must fall somewhere, of what it was, for its shape to mean something. */
const leastFall = 0.02;

/**
 * Whether the loss falls by more than it varies from batch to batch: below the mean of the sweep's first third, where
 * rates are too low to learn, by at least twice that mean's standard error.
 */
function falls(curve: readonly SweepPoint[]): boolean {
  const third = Math.max(1, Math.floor(curve.length / 3));
  const losses = curve.slice(0, third).map(({ loss }) => loss);
  const mean = losses.reduce((sum, loss) => sum + loss, 0) / third;
  const variance = losses.reduce((sum, loss) => sum + (loss - mean) ** 2, 0) / third;
  const least = Math.min(...curve.slice(third).map(({ smoothed }) => smoothed));
  return least < mean - Math.max(leastFall * Math.abs(mean), 2 * Math.sqrt(variance / third));
}

/** What a person should know of a sweep, in sentences; '' when all is well. */
export function describeSweep(
  curve: readonly SweepPoint[],
  sweep: { steps: number; ended: SweepEnd; ratios: readonly number[]; highest: number },
): string {
  const losses = trimCurve(curve, sweep.steps).map(({ smoothed }) => smoothed);
  const notices = [];
  if (!falls(curve)) {
    notices.push(
      'The loss hardly fell at any rate: the suggestions say little. Look at the curve, and check labels, mean and std.',
    );
  } else if (sweep.ended === 'finished' && losses.at(-1) === Math.min(...losses)) {
    notices.push(
      `The loss was still falling at the highest rate, ${sweep.highest}. Raise \`sweep.highest\` to see the end.`,
    );
  }
  if (sweep.ratios.length > 1) {
    const slowest = (sweep.ratios.at(-1) as number).toPrecision(2);
    notices.push(
      `The rates are those of the layers that learn fastest; others learn at down to ${slowest} of them. \`options\` has ` +
        'the rates of all.',
    );
  }
  return notices.join(' ');
}
