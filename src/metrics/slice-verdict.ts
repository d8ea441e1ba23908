import type { ComparedSlice, SliceGap } from './slice-comparison.js';

/** Metrics in a unit of their own, of which three decimals may be too many or none. */
const inUnits = ['mae', 'rmse'];

/** What slices come to, in one sentence. */
export function describeGap(report: {
  metric: string;
  slices: readonly ComparedSlice[];
  gap: SliceGap | null;
}): string {
  const { metric, slices, gap } = report;
  const small = slices.filter(({ standing }) => standing === 'too few to tell');
  const of = small.length > 0 ? `; of ${names(small)} there are too few images to tell` : '';
  if (!gap) {
    return small.length === slices.length
      ? `Too few images to tell: no slice has enough (${names(slices)}).`
      : `Only one slice has enough images to tell, so there is nothing to compare it with${of}.`;
  }
  const unit = metric === 'accuracy' ? ' points' : '';
  const between = `${figure(gap.value, metric)}${unit} of ${metric} between ${gap.best} and ${gap.worst}`;
  const interval = gap.low === null || gap.high === null ? '' : `, 95 % ${range(gap.low, gap.high, metric)}`;
  const share = gap.chance < 0.01 ? 'less than 1 %' : `${Math.round(gap.chance * 100)} %`;
  return gap.chance <= 0.05
    ? `A gap of ${between}${interval}, is more than chance: ${share} of random divisions have one as large${of}.`
    : `A gap of ${between}${interval}, may be chance: ${share} of random divisions have one as large${of}.`;
}

function range(low: number, high: number, metric: string): string {
  return `${figure(low, metric)} to ${figure(high, metric)}`;
}

function figure(value: number, metric: string): string {
  if (metric === 'accuracy') return (value * 100).toFixed(1);
  return inUnits.includes(metric) ? String(Number(value.toPrecision(3))) : value.toFixed(3);
}

/** `A (4 images)`, at most three of them. */
function names(slices: readonly { value: string; count: number }[]): string {
  const told = slices
    .slice(0, 3)
    .map(({ value, count }) => `${value} (${count} ${count === 1 ? 'image' : 'images'})`);
  return slices.length > 3 ? `${told.join(', ')} and ${slices.length - 3} more` : told.join(', ');
}
