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

/** Predicted shares may be further from the source's than source-only's by this much. */
const shareTolerance = 0.1;

/** Differences of entropy, information and density that count, nats. */
const margin = 0.01;

/** What the validators say of each method, and which one they choose. */
export interface Choice {
  chosen: DomainMethod;
  /** By method, why it may not or does not stand against source-only; '' where nothing speaks against it. */
  objections: Map<DomainMethod, string>;
}

/**
 * Chooses without labels, and cautiously: source-only stays unless all of this holds of another method.
 *
 * 1. There is a shift: held-out images of the two domains can be told apart.
 * 2. Source validation: accuracy and macro F1 there fall by no more than `tolerance`.
 * 3. Balance: the predicted shares are no further from the source's than source-only's are, plus 0.1.
 * 4. Mutual information is higher than source-only's, entropy is lower, and soft neighbourhood density is higher, each by
 *    more than 0.01 nats. Density does not count where source-only has less than half of the method's information: near a
 *    collapse, and where nothing is known, it is largest of all.
 *
 * Of the methods that pass, the one with the best mean rank by information, entropy and density is taken, of equal ones the
 * simplest.
 */
export function choose(methods: readonly JudgedMethod[], shift: DomainShift, tolerance: number): Choice {
  const [base, ...others] = methods as [JudgedMethod, ...JudgedMethod[]];
  const objections = new Map(
    others.map((method) => [method.method, shift.isShift ? objection(method, base, tolerance) : noShift]),
  );
  const passed = others.filter(({ method }) => objections.get(method) === '');
  const ranks = passed.map((method) => meanRank(method, passed));
  const best = passed[ranks.indexOf(Math.min(...ranks))];
  return { chosen: best?.method ?? base.method, objections };
}

const noShift = 'no shift to adapt to';

function objection(
  { source, target }: JudgedMethod,
  { source: before, target: without }: JudgedMethod,
  tolerance: number,
): string {
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
  if (!(target.information > without.information + margin)) return 'predictions say no more of the images';
  if (!(target.entropy < without.entropy - margin)) return 'predictions are not surer';
  // Predictions that hardly depend on the image lie close together.
  if (without.information < target.information / 2) return '';
  return target.density > without.density + margin ? '' : 'predictions are not denser';
}

/** 1 where it is best by all three; equal figures share the better rank. */
function meanRank(method: JudgedMethod, among: readonly JudgedMethod[]): number {
  const figures = [
    ({ target }: JudgedMethod) => target.information,
    ({ target }: JudgedMethod) => -target.entropy,
    ({ target }: JudgedMethod) => target.density,
  ];
  const better = figures.map((figure) => among.filter((other) => figure(other) > figure(method)).length);
  return 1 + better.reduce((sum, count) => sum + count, 0) / figures.length;
}
