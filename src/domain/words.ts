import { enoughHeldOut } from './decide.js';
import type { DomainMethod } from './options.js';
import type { DomainMethodReport } from './report.js';
import type { DomainShift } from './shift.js';

/** What each method is called in sentences. */
export const methodNames: Record<DomainMethod, string> = {
  sourceOnly: 'source-only',
  statistics: 'statistics matching',
  adabn: 'AdaBN',
  coral: 'CORAL',
  mmd: 'MMD',
  dann: 'DANN',
  mcc: 'MCC',
  pseudoLabels: 'pseudo-labels',
};

/** The decision with its figures. */
export function decisionText(decided: {
  chosen: DomainMethod;
  asked: DomainMethod | 'auto';
  shift: DomainShift;
  methods: readonly DomainMethodReport[];
  /** Target images that were judged by. */
  heldOut: number;
}): string {
  const { chosen, asked, shift, methods, heldOut } = decided;
  const seen =
    `${shift.isShift ? 'The domains differ' : 'No shift was found'}: a linear classifier tells their images apart with an ` +
    `area under the ROC curve of ${shift.rocAuc.toFixed(3)} (95 % interval ${shift.low.toFixed(3)} to ${shift.high.toFixed(3)}).`;
  if (chosen === 'sourceOnly') return `${seen} ${unchanged(asked, shift, heldOut)}`;
  return `${seen} ${decision(chosen, asked, methods)}`;
}

function decision(
  chosen: DomainMethod,
  asked: DomainMethod | 'auto',
  methods: readonly DomainMethodReport[],
): string {
  const report = methods.find(({ method }) => method === chosen);
  const base = methods[0];
  if (!report || !base) return '';
  const beside =
    `mutual information ${figures(base, report, 'information')}, entropy ${figures(base, report, 'entropy')}, ` +
    `neighbourhood density ${figures(base, report, 'density')} nats, agreement with all methods together ` +
    `${figures(base, report, 'agreement')} on held-out target images, accuracy on the source ` +
    `${base.source.accuracy.toFixed(3)} -> ${report.source.accuracy.toFixed(3)}`;
  const name = methodNames[chosen];
  if (asked !== 'auto') {
    const doubt = report.objection
      ? `The validators would not have chosen it: ${report.objection}.`
      : 'Nothing speaks against it.';
    return `${capital(name)} was asked for: ${beside}. ${doubt}`;
  }
  return `${capital(name)} is chosen: ${beside}.`;
}

function unchanged(asked: DomainMethod | 'auto', shift: DomainShift, heldOut: number): string {
  if (asked === 'sourceOnly') return 'Source-only was asked for.';
  const stays = 'The classifier stays as it is:';
  if (!shift.isShift) return `${stays} there is nothing to adapt to.`;
  if (heldOut < enoughHeldOut) {
    return (
      `${stays} there are too few images to choose by, ${heldOut} held out of the target where ${enoughHeldOut} are needed. ` +
      'Give more images of the target, or a method by name.'
    );
  }
  return (
    `${stays} no method is surely better by the validators that look at no labels. They are cautious, so a method may ` +
    'still help: choose one by name, and measure it on labelled images of the target.'
  );
}

function figures(
  base: DomainMethodReport,
  report: DomainMethodReport,
  key: 'information' | 'entropy' | 'density' | 'agreement',
): string {
  return `${base.target[key].toFixed(3)} -> ${report.target[key].toFixed(3)}`;
}

function capital(text: string): string {
  return `${text[0]?.toUpperCase()}${text.slice(1)}`;
}
