import type { Difference, ProbeMetric } from './interval.js';
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
  const isHelp = controls.every(isSurelyWorse);
  const isHarm = untrained.every(isSurelyBetter);
  const verdict = isHelp ? 'help' : isHarm ? 'harm' : 'neutral';
  const compared = (['untrained', 'shuffled'] as const).flatMap((weights) =>
    describeControls(
      controls.filter((control) => control.weights === weights),
      metric,
    ),
  );
  const byLoss =
    verdict !== 'neutral' && controls.some(({ difference }) => difference.low <= 0 && difference.high >= 0);
  const reason = byLoss
    ? ` With so few mistakes the ${metricNames[metric]} cannot tell them apart, so the log loss decided.`
    : '';
  const text =
    `${openings[verdict]}: a linear probe of the frozen trunk reaches a ${metricNames[metric]} of ${figure(pretrained[metric])} ` +
    `and a log loss of ${figure(pretrained.logLoss)} on ${images} validation images (LogME ${figure(pretrained.logME)}), ` +
    `beside ${compared.join(' and ')}.${reason}`;
  return { verdict, text: [text, ...advice(verdict, controls, pretrained[metric])].join(' ') };
}

/** By the metric; by the log loss only where the metric has no room, for probabilities may differ where answers do not. */
function isSurelyWorse({ difference, lossDifference, hasRoom }: ControlScore): boolean {
  return difference.low > 0 || (!hasRoom && difference.value >= 0 && lossDifference.high < 0);
}

function isSurelyBetter({ difference, lossDifference, hasRoom }: ControlScore): boolean {
  return difference.high < 0 || (!hasRoom && difference.value <= 0 && lossDifference.low > 0);
}

/** Controls of one kind, with the differences from the strongest of them. */
function describeControls(controls: readonly ControlScore[], metric: ProbeMetric): string[] {
  const [first] = controls;
  if (!first) return [];
  const best = controls.reduce((a, b) => (b[metric] > a[metric] ? b : a));
  const surest = controls.reduce((a, b) => (b.logLoss < a.logLoss ? b : a));
  const count = controls.length > 1 ? `${controls.length} networks; ` : '';
  return [
    `${range(controls.map((control) => control[metric]))} and ${range(controls.map(({ logLoss }) => logLoss))} with ` +
      `${first.weights} weights (${partText(first)}${count}difference${count && ' from the best'} ${signed(best.difference.value)} (95 % interval ${interval(best.difference)}), of the log loss ` +
      `${signed(surest.lossDifference.value)} (${interval(surest.lossDifference)}); LogME ${range(controls.map(({ logME }) => logME))})`,
  ];
}

/** Whether not all images were looked at. */
function partText({ part }: ControlScore): string {
  return part ? `compared on ${part.train} training and ${part.val} validation images; ` : '';
}

function range(values: readonly number[]): string {
  const [least, most] = [Math.min(...values), Math.max(...values)].map(figure);
  return least === most ? `${least}` : `${least} to ${most}`;
}

function interval({ low, high }: Difference): string {
  return `${signed(low)} to ${signed(high)}`;
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
