/** The rule that chooses between adapted classifiers without labels. */
import t from 'tap';
import { choose, type JudgedMethod, type TargetFigures } from '../src/domain/decide.js';

const shift = { rocAuc: 0.9, low: 0.85, high: 0.95, isShift: true };
const sourceOnly: JudgedMethod = {
  method: 'sourceOnly',
  source: { accuracy: 0.9, macroF1: 0.88 },
  target: { entropy: 0.4, density: 3, information: 0.5, shares: [0.6, 0.4], shareDistance: 0.1 },
};
const better: Partial<TargetFigures> = { entropy: 0.2, density: 3.5, information: 0.8 };

function judged(
  method: JudgedMethod['method'],
  target: Partial<TargetFigures>,
  source: Partial<JudgedMethod['source']> = {},
): JudgedMethod {
  return {
    method,
    source: { ...sourceOnly.source, ...source },
    target: { ...sourceOnly.target, ...target },
  };
}

t.test('a method that is better by all validators is chosen, and only where there is a shift', async (t) => {
  const methods = [sourceOnly, judged('mcc', better)];
  t.equal(choose(methods, shift, 0.02).chosen, 'mcc');
  const none = choose(methods, { ...shift, isShift: false }, 0.02);
  t.same([none.chosen, none.objections.get('mcc')], ['sourceOnly', 'no shift to adapt to']);
});

t.test('each guard alone keeps source-only', async (t) => {
  for (const [method, message] of [
    [judged('mcc', better, { accuracy: 0.87 }), /accuracy on the source falls by 0.030/],
    [judged('mcc', better, { macroF1: 0.85 }), /macro F1 on the source falls by 0.030/],
    [judged('mcc', { ...better, shareDistance: 0.21 }), /shares are 0.21 from the source's, without it 0.10/],
    [judged('mcc', { ...better, information: 0.505 }), /say no more/],
    [judged('mcc', { ...better, entropy: 0.395 }), /not surer/],
    [judged('mcc', { ...better, density: 3.005 }), /not denser/],
    // The surest and densest of all: every image is one class.
    [judged('mcc', { entropy: 0, density: 9, information: 0, shareDistance: 0.1 }), /say no more/],
    [judged('mcc', { ...better, information: Number.NaN }), /say no more/],
  ] as const) {
    const { chosen, objections } = choose([sourceOnly, method], shift, 0.02);
    t.equal(chosen, 'sourceOnly');
    t.match(objections.get('mcc'), message);
  }
  // Source-only says next to nothing, so that its predictions are all alike.
  const blind = { ...sourceOnly, target: { ...sourceOnly.target, information: 0.3, density: 9 } };
  t.equal(choose([blind, judged('mcc', better)], shift, 0.02).chosen, 'mcc');
  t.equal(choose([sourceOnly, judged('mcc', better, { accuracy: 0.87 })], shift, 0.05).chosen, 'mcc');
});

t.test('of several that pass the best by rank is taken, of equal ones the simplest', async (t) => {
  const first = judged('statistics', better);
  const second = judged('dann', better);
  t.equal(choose([sourceOnly, first, second], shift, 0.02).chosen, 'statistics');
  const third = judged('mmd', { ...better, entropy: 0.1, density: 3.6 });
  t.equal(choose([sourceOnly, first, third, second], shift, 0.02).chosen, 'mmd');
  t.equal(choose([sourceOnly], shift, 0.02).chosen, 'sourceOnly');
});
