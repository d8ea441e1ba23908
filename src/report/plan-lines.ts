import type { ComputationReport } from '../fine-tune/computation.js';
import type { Plan } from '../native.js';
import { visible } from './visible.js';

/** The plan for people: the cut, and how both parts are computed. */
export function planLines(plan: Plan): string[] {
  const lines = [];
  if (plan.split) {
    const share = (100 * plan.prefixFlops) / plan.totalFlops;
    lines.push(
      `cut    frozen up to ${plan.prefixLayers.at(-1)} (${plan.prefixLayers.length} layers, ${share.toFixed(share > 99 ? 2 : 0)} % of ` +
        `the arithmetic), learning from ${plan.suffixLayers[0]} (${plan.suffixLayers.length}); crossing: ${crossings(plan)}`,
    );
  } else {
    lines.push(`cut    none: ${plan.reason}`);
  }
  const used = plan.trials.find(
    (trial) => trial.accepted && trial.variant === plan.variant && trial.precision === plan.precision,
  );
  const proof = used
    ? `; outputs equal the unsplit model's within ${largest(used.outputDifference)}, gradients within ${largest(used.gradientDifference)}`
    : '';
  lines.push(`compute ${plan.precision} (${plan.precisionReason}), ${plan.variant}${proof}`);
  return lines;
}

/** What is kept of the frozen part's outputs, and which views of the images there are. */
export function computationLines({ plan, views, features, notices }: ComputationReport): string[] {
  const kept = features
    ? `kept   features of each image, ${bytes(features.rowBytes)} each, ${features.file ? 'in the user cache' : 'in memory'}; ` +
      `views: ${views === 'live' ? 'new in each epoch, validation kept' : views}`
    : undefined;
  return [
    ...planLines(plan),
    ...(kept ? [kept] : []),
    ...notices.map((notice) => visible(`note   ${notice}`)),
  ];
}

function crossings({ crossings: values, cacheable }: Plan): string {
  const shapes = values.map(({ shape, dtype }) => `${dtype.toLowerCase()} [${shape.join(', ')}]`);
  return shapes.join(', ') + (cacheable ? '' : ', cannot be kept');
}

function largest(difference: number | null): string {
  return difference === null ? 'an unknown bound' : difference.toExponential(1);
}

function bytes(count: number): string {
  return count < 1e6 ? `${(count / 1e3).toFixed(1)} kB` : `${(count / 1e6).toFixed(1)} MB`;
}
