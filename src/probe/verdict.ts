import type { ProbeMetric } from './interval.js';
import type { ControlScore, TransferCheck } from './transfer-check.js';

/** Whether pretrained weights help: clearly better, no clear difference, clearly worse. */
export type Verdict = 'help' | 'neutral' | 'harm';

const metricNames: Record<ProbeMetric, string> = { accuracy: 'accuracy', macroF1: 'macro F1' };

const openings: Record<Verdict, string> = {
  help: 'The pretrained weights help here',
  neutral: 'The pretrained weights make no clear difference here',
  harm: 'The pretrained weights harm here',
};

/** The verdict and its words. */
export function judge(
  measured: Pick<TransferCheck, 'metric' | 'pretrained' | 'controls' | 'images'>,
): Pick<TransferCheck, 'verdict' | 'text'> {
  const { metric, pretrained, controls, images } = measured;
  const untrained = controls.filter(({ weights }) => weights === 'untrained');
  const isHarm = untrained.every(({ difference }) => difference.high < 0);
  const isHelp = controls.every(({ difference }) => difference.low > 0);
  const verdict = isHarm ? 'harm' : isHelp ? 'help' : 'neutral';
  const compared = (['untrained', 'shuffled'] as const).flatMap((weights) =>
    describeControls(
      controls.filter((control) => control.weights === weights),
      metric,
    ),
  );
  const text =
    `${openings[verdict]}: a linear probe of the frozen trunk reaches a ${metricNames[metric]} of ${figure(pretrained[metric])} ` +
    `on ${images} validation images (LogME ${figure(pretrained.logME)}), beside ${compared.join(' and ')}.`;
  return { verdict, text: [text, ...advice(verdict, controls, pretrained[metric])].join(' ') };
}

/** Controls of one kind, with the difference to the strongest of them. */
function describeControls(controls: readonly ControlScore[], metric: ProbeMetric): string[] {
  const sorted = [...controls].sort((a, b) => b[metric] - a[metric]);
  const [best] = sorted;
  const worst = sorted.at(-1);
  if (!best || !worst) return [];
  const { value, low, high } = best.difference;
  const isOne = controls.length === 1;
  const reached = isOne ? figure(best[metric]) : `${figure(worst[metric])} to ${figure(best[metric])}`;
  return [
    `${reached} with ${best.weights} weights (${isOne ? '' : `${controls.length} networks; `}difference` +
      `${isOne ? '' : ' from the best'} ${signed(value)}, 95 % interval ${signed(low)} to ${signed(high)}; ` +
      `LogME ${figure(best.logME)})`,
  ];
}

function advice(verdict: Verdict, controls: readonly ControlScore[], reached: number): string[] {
  if (verdict === 'help') return [];
  if (verdict === 'harm') {
    return ['First check the normalisation that the model was trained with; else take another model.'];
  }
  const width = Math.max(...controls.map(({ difference }) => difference.high - difference.low));
  if (reached > 0.98) return ['The images are easy: smaller networks may do as well.'];
  if (width > 0.2) return ['The interval is wide: more validation images would tell.'];
  return [
    'Check the normalisation that the model was trained with, or try another model. Training all layers may win more of the ' +
      'pretrained weights than of random ones: trainFromScratch (train --scratch) tells.',
  ];
}

function figure(value: number): string {
  return value.toFixed(3);
}

function signed(value: number): string {
  return `${value < 0 ? '' : '+'}${figure(value)}`;
}
