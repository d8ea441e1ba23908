import { bootstrapDifference } from '../metrics/bootstrap.js';
import type { DomainMethod } from './options.js';
import type { DomainShift } from './shift.js';

/** Label-free figures of a method's predictions for held-out target images. */
export interface TargetFigures {
  /** Mean entropy, nats: the lower, the surer. */
  entropy: number;
  /** Soft neighbourhood density, nats: the higher, the denser are the clusters of predictions. */
  density: number;
  /** Mutual information of image and predicted class, nats: the higher, the surer and the more varied. */
  information: number;
  /** Share of the images of which it says what the ensemble of all methods that have not collapsed says. */
  agreement: number;
  /** Predicted share of each class. */
  shares: number[];
  /** Total variation of these shares and the source's, 0 to 1. */
  shareDistance: number;
}

/** What is known of a method without the target's labels. */
export interface JudgedMethod {
  method: DomainMethod;
  /** On the source's validation images. */
  source: { accuracy: number; macroF1: number };
  target: TargetFigures;
}

/** By held-out target image, [n] each, what it adds to the mean of that name. */
export type Evidence = Record<'information' | 'entropy' | 'density' | 'agreement', Float64Array>;

/** A method's figures, and what they are means of. */
export interface Judged {
  figures: JudgedMethod;
  evidence: Evidence;
}

/** Predicted shares may be further from the source's than source-only's by this much. */
const shareTolerance = 0.1;

/** Held-out images from which a share is known to 0.1, the tolerance above: 1.96 x 0.5 / sqrt(n), at the worst. */
export const enoughHeldOut = 100;

/** Methods that lower the entropy of target predictions themselves: that it is low then says nothing of them. */
export const selfCertain: readonly DomainMethod[] = ['mcc', 'pseudoLabels'];

/** Methods whose network sees other features. The others begin with one classifier on the same, and agree for that. */
const ownFeatures: readonly DomainMethod[] = ['adabn'];

/** What the validators say of each method, and which one they choose. */
export interface Choice {
  chosen: DomainMethod;
  /** By method, why it may not or does not stand against source-only; '' where nothing speaks against it. */
  objections: Map<DomainMethod, string>;
}

/** What is chosen by, beside the methods. */
export interface ChoiceSettings {
  shift: DomainShift;
  /** Target images that were judged by. */
  heldOut: number;
  /** What accuracy and macro F1 on the source may lose. */
  tolerance: number;
  seed: number;
}

/**
 * Chooses without labels, and cautiously: source-only stays unless all of this holds of another method.
 *
 * 1. There is a shift: held-out images of the two domains can be told apart.
 * 2. 100 target images or more are held out to judge by.
 * 3. Source validation: accuracy and macro F1 there fall by no more than `tolerance`.
 * 4. Balance: the predicted shares are no further from the source's than source-only's are, plus 0.1.
 * 5. Agreement: it says what the ensemble of all methods says on no fewer images than source-only does. A method that is
 *    certain and mistaken is so alone. AdaBN is not asked, and not compared by it: all others share their features.
 * 6. It is surely better: by agreement, or by certainty, which is mutual information higher, entropy lower, and soft
 *    neighbourhood density higher. Surely means that the 95 % interval of the difference, by a paired bootstrap of the held-out
 *    images, lies above 0. MCC and pseudo-labels train on the certainty of their own predictions, so that certainty always
 *    approves of them: for them agreement counts alone.
 *
 * Where source-only has less than half of the method's information, agreement is not asked, and of certainty information alone
 * counts: in a collapse entropy is lowest and density largest of all, and methods that collapse with it make the ensemble.
 *
 * Of the methods that pass, the simplest is taken, and a later one in its place only where 6. holds between the two.
 */
export function choose(methods: readonly Judged[], settings: ChoiceSettings): Choice {
  const [base, ...others] = methods as [Judged, ...Judged[]];
  const objections = new Map(
    others.map((each) => [each.figures.method, objection(each, base, settings)] as const),
  );
  let best = base;
  for (const each of others) {
    if (objections.get(each.figures.method) !== '') continue;
    if (best === base || notBetter(each, best, settings.seed) === '') best = each;
  }
  return { chosen: best.figures.method, objections };
}

function objection(
  judged: Judged,
  base: Judged,
  { shift, heldOut, tolerance, seed }: ChoiceSettings,
): string {
  const { method, source, target } = judged.figures;
  const { source: before, target: without } = base.figures;
  if (!shift.isShift) return 'no shift to adapt to';
  if (heldOut < enoughHeldOut) return `too few images to choose by: ${heldOut} of ${enoughHeldOut} held out`;
  for (const [key, name] of [
    ['accuracy', 'accuracy'],
    ['macroF1', 'macro F1'],
  ] as const) {
    const loss = before[key] - source[key];
    if (loss > tolerance) return `${name} on the source falls by ${loss.toFixed(3)}`;
  }
  if (target.shareDistance > without.shareDistance + shareTolerance) {
    return `predicted shares are ${target.shareDistance.toFixed(2)} from the source's, without it ${without.shareDistance.toFixed(2)}`;
  }
  const isAsked = !ownFeatures.includes(method) && !isCollapsed(base, judged);
  if (isAsked && target.agreement < without.agreement) {
    return `agrees with all methods together on ${percent(target.agreement)} of the images, source-only on ${percent(without.agreement)}`;
  }
  return notBetter(judged, base, seed);
}

const percent = (share: number) => `${(share * 100).toFixed(0)} %`;

/** Why the validators do not agree that one is better than the other; '' where they do. */
function notBetter(one: Judged, other: Judged, seed: number): string {
  const isBetter = (key: keyof Evidence, mode: 'max' | 'min') =>
    isSurelyBetter(one.evidence[key], other.evidence[key], mode, seed);
  const isShared = ![one, other].some(({ figures: { method } }) => ownFeatures.includes(method));
  if (isShared && isBetter('agreement', 'max')) return '';
  if (selfCertain.includes(one.figures.method)) return 'trains on the certainty that validators measure';
  if (!isBetter('information', 'max')) return 'predictions do not surely say more of the images';
  if (isCollapsed(other, one)) return '';
  if (!isBetter('entropy', 'min')) return 'predictions are not surely more certain';
  return isBetter('density', 'max') ? '' : 'predictions are not surely denser';
}

/** Predictions that hardly depend on the image, beside others: they are certain where one class is said of all, and close together. */
function isCollapsed(one: Judged, beside: Judged): boolean {
  return one.figures.target.information < beside.figures.target.information / 2;
}

function isSurelyBetter(one: Float64Array, other: Float64Array, mode: 'max' | 'min', seed: number): boolean {
  const meanOf = (values: Float64Array) => (indices: Int32Array) => {
    let sum = 0;
    for (const index of indices) sum += values[index] as number;
    return sum / indices.length;
  };
  const { low, high } = bootstrapDifference(one.length, meanOf(one), meanOf(other), { seed, mode });
  return mode === 'max' ? low !== null && low > 0 : high !== null && high < 0;
}
