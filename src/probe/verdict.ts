import type { ProbeMetric } from './interval.js';
import type { ControlScore, TransferCheck, TrunkScore } from './transfer-check.js';

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
  const isHarm = controls.some(({ difference }) => difference.high < 0);
  const isHelp = controls.every(({ difference }) => difference.low > 0);
  const verdict = isHarm ? 'harm' : isHelp ? 'help' : 'neutral';
  const value = (score: TrunkScore) => figure(score[metric]);
  const compared = controls.map(
    (control) =>
      `${value(control)} with ${control.weights} weights (difference ${signed(control.difference.value)}, 95 % interval ` +
      `${signed(control.difference.low)} to ${signed(control.difference.high)}; LogME ${figure(control.logME)})`,
  );
  const text =
    `${openings[verdict]}: a linear probe of the frozen trunk reaches a ${metricNames[metric]} of ${value(pretrained)} ` +
    `on ${images} validation images (LogME ${figure(pretrained.logME)}), beside ${compared.join(' and ')}.`;
  return { verdict, text: [text, ...advice(verdict, controls, pretrained[metric])].join(' ') };
}

function advice(verdict: Verdict, controls: readonly ControlScore[], reached: number): string[] {
  if (verdict === 'help') return [];
  if (verdict === 'harm') {
    return ['First check the normalisation that the model was trained with; else take another model.'];
  }
  const width = Math.max(...controls.map(({ difference }) => difference.high - difference.low));
  if (reached > 0.99) return ['The images are easy: smaller networks may do as well.'];
  if (width > 0.2) return ['The interval is wide: more validation images would tell.'];
  return ['Check the normalisation that the model was trained with, try another model, or train all layers.'];
}

function figure(value: number): string {
  return value.toFixed(3);
}

function signed(value: number): string {
  return `${value < 0 ? '' : '+'}${figure(value)}`;
}
