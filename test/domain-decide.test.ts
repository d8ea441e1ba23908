/** The rule that chooses between adapted classifiers without labels. */
import t from 'tap';
import { choose, type Judged, type JudgedMethod, type TargetFigures } from '../src/domain/decide.js';

const shift = { rocAuc: 0.9, low: 0.85, high: 0.95, isShift: true };
const settings = { shift, heldOut: 100, tolerance: 0.02, seed: 0 };
const without: JudgedMethod = {
  method: 'sourceOnly',
  source: { accuracy: 0.9, macroF1: 0.88 },
  target: {
    entropy: 0.4,
    density: 3,
    information: 0.5,
    agreement: 0.8,
    shares: [0.6, 0.4],
    shareDistance: 0.1,
  },
};
const better: Partial<TargetFigures> = { entropy: 0.2, density: 3.5, information: 0.8 };

/** Evidence whose means are the figures; differences to others are `spread` more for one half of the images, less for the other. */
function withEvidence(figures: JudgedMethod, spread = 0): Judged {
  const of = (value: number) =>
    Float64Array.from({ length: 100 }, (_, i) => value + spread * (i % 2 ? 1 : -1));
  const { information, entropy, density } = figures.target;
  return {
    figures,
    evidence: {
      ...{ information: of(information), entropy: of(entropy), density: of(density) },
      agreement: of(figures.target.agreement),
    },
  };
}

const sourceOnly = withEvidence(without);

function judged(
  method: JudgedMethod['method'],
  target: Partial<TargetFigures>,
  source: Partial<JudgedMethod['source']> = {},
  spread = 0,
): Judged {
  return withEvidence(
    { method, source: { ...without.source, ...source }, target: { ...without.target, ...target } },
    spread,
  );
}

t.test('a method that is better by all validators is chosen, and only where there is a shift', async (t) => {
  const methods = [sourceOnly, judged('mmd', better)];
  t.equal(choose(methods, settings).chosen, 'mmd');
  const none = choose(methods, { ...settings, shift: { ...shift, isShift: false } });
  t.same([none.chosen, none.objections.get('mmd')], ['sourceOnly', 'no shift to adapt to']);
});

t.test('too few held-out images keep source-only, however good a method looks', async (t) => {
  const { chosen, objections } = choose([sourceOnly, judged('mmd', better)], { ...settings, heldOut: 99 });
  t.equal(chosen, 'sourceOnly');
  t.equal(objections.get('mmd'), 'too few images to choose by: 99 of 100 held out');
});

t.test('an advantage that other images might not have shown does not count', async (t) => {
  // Of 100 images with a deviation of s, the 95 % interval is about 0.2 s to either side: of 1.2 it holds 0.
  const { chosen, objections } = choose([sourceOnly, judged('mmd', better, {}, 2)], settings);
  t.same([chosen, objections.get('mmd')], ['sourceOnly', 'predictions do not surely say more of the images']);
  t.equal(choose([sourceOnly, judged('mmd', better, {}, 0.5)], settings).chosen, 'mmd');
});

t.test('methods that train on certainty are not judged by it', async (t) => {
  for (const method of ['mcc', 'pseudoLabels'] as const) {
    const { chosen, objections } = choose([sourceOnly, judged(method, better)], settings);
    t.equal(chosen, 'sourceOnly');
    t.match(objections.get(method), /trains on the certainty/);
  }
});

t.test('each guard alone keeps source-only', async (t) => {
  for (const [method, message] of [
    [judged('mmd', better, { accuracy: 0.87 }), /accuracy on the source falls by 0.030/],
    [judged('mmd', better, { macroF1: 0.85 }), /macro F1 on the source falls by 0.030/],
    [judged('mmd', { ...better, shareDistance: 0.21 }), /shares are 0.21 from the source's, without it 0.10/],
    [
      judged('mmd', { ...better, agreement: 0.6 }),
      /agrees with all methods together on 60 % of the images, source-only on 80 %/,
    ],
    [judged('mmd', { ...better, information: 0.5 }), /say more/],
    [judged('mmd', { ...better, entropy: 0.4 }), /more certain/],
    [judged('mmd', { ...better, density: 3 }), /denser/],
    // The surest and densest of all: every image is one class.
    [judged('mmd', { entropy: 0, density: 9, information: 0, shareDistance: 0.1 }), /say more/],
    [judged('mmd', { ...better, information: Number.NaN }), /say more/],
  ] as const) {
    const { chosen, objections } = choose([sourceOnly, method], settings);
    t.equal(chosen, 'sourceOnly');
    t.match(objections.get('mmd'), message);
  }
  // Source-only says next to nothing: its predictions are all alike, and sure of the one class that they say.
  const blind = { ...without.target, information: 0.3, density: 9, entropy: 0 };
  t.equal(
    choose([withEvidence({ ...without, target: blind }), judged('mmd', better)], settings).chosen,
    'mmd',
  );
  const alone = judged('mmd', { ...better, agreement: 0.2 });
  t.equal(
    choose([withEvidence({ ...without, target: blind }), alone], settings).chosen,
    'mmd',
    'methods that collapse too agree',
  );
  const dim = withEvidence({ ...without, target: { ...blind, information: 0.41 } });
  t.match(choose([dim, judged('mmd', better)], settings).objections.get('mmd'), /more certain/);
  const tolerant = { ...settings, tolerance: 0.05 };
  t.equal(choose([sourceOnly, judged('mmd', better, { accuracy: 0.87 })], tolerant).chosen, 'mmd');
});

t.test('surely more agreement with the ensemble is enough, for those that train on certainty too', (t) => {
  const { target } = without;
  for (const method of ['dann', 'mcc', 'pseudoLabels'] as const) {
    const more = judged(method, { ...target, agreement: 0.95 });
    t.equal(choose([sourceOnly, more], settings).chosen, method);
    // Of a deviation of 1 the interval of 100 images is 0.2 to either side.
    more.evidence.agreement = Float64Array.from({ length: 100 }, (_, i) => 0.95 + (i % 2 ? 1 : -1));
    t.equal(choose([sourceOnly, more], settings).chosen, 'sourceOnly');
  }
  const [first, second] = [judged('mmd', better), judged('mcc', { ...better, agreement: 0.95 })];
  t.equal(choose([sourceOnly, first, second], settings).chosen, 'mcc', 'also between two that pass');
  t.end();
});

t.test('AdaBN sees other features, and is not judged by whom it agrees with', (t) => {
  const alone = judged('adabn', { ...better, agreement: 0.5 });
  t.equal(choose([sourceOnly, alone], settings).chosen, 'adabn');
  const agreed = judged('adabn', { ...without.target, agreement: 0.95 });
  t.equal(choose([sourceOnly, agreed], settings).chosen, 'sourceOnly', 'it needs to be surer');
  const other = judged('mmd', { ...better, agreement: 0.95 });
  t.equal(choose([sourceOnly, alone, other], settings).chosen, 'adabn', 'nor is it replaced for it');
  t.end();
});

t.test('of several that pass the simplest is taken, unless another is surely better', async (t) => {
  const first = judged('statistics', better);
  const second = judged('dann', better);
  t.equal(choose([sourceOnly, first, second], settings).chosen, 'statistics');
  const more = { information: 0.9, entropy: 0.1, density: 3.6 };
  t.equal(choose([sourceOnly, first, judged('mmd', more), second], settings).chosen, 'mmd');
  t.equal(choose([sourceOnly, first, judged('mmd', more, {}, 2), second], settings).chosen, 'statistics');
  t.equal(
    choose([sourceOnly, first, judged('mmd', { ...more, density: 3.4 })], settings).chosen,
    'statistics',
  );
  t.equal(choose([sourceOnly], settings).chosen, 'sourceOnly');
});
