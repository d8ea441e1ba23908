import { type SweepPoint, trimCurve } from './suggestions.js';
import type { SweepEnd } from './sweep.js';

/** By how much the smoothed loss must fall somewhere, of what it was, for its shape to mean something. */
const leastFall = 0.02;

/** What a person should know of a sweep, in sentences; '' when all is well. */
export function describeSweep(
  curve: readonly SweepPoint[],
  sweep: { steps: number; ended: SweepEnd; ratios: readonly number[]; highest: number },
): string {
  const losses = trimCurve(curve, sweep.steps).map(({ smoothed }) => smoothed);
  const first = losses[0] as number;
  const least = Math.min(...losses);
  const notices = [];
  if (least > first - leastFall * Math.abs(first)) {
    notices.push(
      'The loss hardly fell at any rate: the suggestions say little. Look at the curve, and check labels, mean and std.',
    );
  } else if (sweep.ended === 'finished' && losses.at(-1) === least) {
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
