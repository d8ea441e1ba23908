import t from 'tap';
import { randomIntegers } from '../src/data/random.js';
import {
  type ClassificationScores,
  classificationInterval,
  classificationStatistic,
  targetSliceMetrics,
} from '../src/index.js';
import { macroF1Of } from '../src/metrics/margins.js';
import { furthest } from './figures.js';

/** Scores of hard predictions. */
function scoresOf(labels: number[], predicted: number[], classes: number): ClassificationScores {
  return {
    labels: Int32Array.from(labels),
    predicted: Int32Array.from(predicted),
    probabilities: Float32Array.from(
      predicted.flatMap((guess) => Array.from({ length: classes }, (_, i) => Number(i === guess))),
    ),
    nll: new Float64Array(labels.length),
  };
}

t.test("accuracy has Wilson's interval", (t) => {
  // scipy 1.17: binomtest(45, 50).proportion_ci(method='wilson'), and of 50 and 0 of 50.
  const cases = [
    [45, 0.7863977, 0.9565242],
    [50, 0.9286524, 1],
    [0, 0, 0.0713476],
  ] as const;
  for (const [right, low, high] of cases) {
    const labels = Array.from({ length: 50 }, (_, i) => i % 2);
    const guesses = labels.map((label, i) => (i < right ? label : 1 - label));
    const interval = classificationInterval('accuracy', scoresOf(labels, guesses, 2));
    t.ok(furthest([interval.low, interval.high], [low, high]) < 1e-6, `${right} of 50`);
    t.match(interval, { value: right / 50, method: 'wilson' });
  }
  t.end();
});

t.test('macro F1 of samples that are all right leaves doubt, and is symmetric in its classes', (t) => {
  const labels = Array.from({ length: 40 }, (_, i) => i % 2);
  const interval = classificationInterval('macroF1', scoresOf(labels, labels, 2));
  // Of each class Wilson's lower end of 20 of 20 is 0.838875, as F1 0.912378; of two classes (1 - 0.912378) / sqrt(2).
  t.ok(furthest([interval.low], [1 - (1 - 0.912378) / Math.SQRT2]) < 1e-5, `${interval.low}`);
  t.match(interval, { value: 1, high: 1, method: 'bootstrap and wilson' });
  const other = classificationInterval('brier', scoresOf(labels, labels, 2));
  t.match(other, { value: 0, low: 0, high: 0, method: 'bootstrap' });
  t.throws(() => classificationInterval('f1' as never, scoresOf(labels, labels, 2)), {
    code: 'INVALID_VALUE',
  });
  t.throws(() => classificationInterval('accuracy', scoresOf(labels, labels, 2), { seeds: 1 } as never), {
    message: /unknown option `seeds`/,
  });
  t.end();
});

t.test('95 % intervals hold the true value, near 1 too', (t) => {
  const sets = 150;
  for (const [classes, each, accuracy] of [
    [2, 10, 0.97],
    [3, 20, 0.9],
    [7, 5, 0.99],
  ] as const) {
    const labels = Array.from({ length: classes * each }, (_, i) => i % classes);
    // What is wrong falls on all other classes alike, so every class has the F1 2 a / (1 + 1).
    const truth = macroF1Of({
      hits: Array(classes).fill(accuracy),
      predicted: Array(classes).fill(1),
      support: Array(classes).fill(1),
    });
    const next = randomIntegers(3, classes);
    const random = () => next() / 2 ** 32;
    const held = { accuracy: 0, macroF1: 0 };
    for (let set = 0; set < sets; set++) {
      const guesses = labels.map((label) => {
        if (random() < accuracy) return label;
        return (label + 1 + Math.floor(random() * (classes - 1))) % classes;
      });
      const scores = scoresOf(labels, guesses, classes);
      for (const name of ['accuracy', 'macroF1'] as const) {
        const { value, low, high } = classificationInterval(name, scores, { resamples: 200, seed: set });
        t.equal(value, classificationStatistic(name, scores)(scores.labels.map((_, i) => i)));
        const expected = name === 'accuracy' ? accuracy : truth;
        if ((low as number) <= expected && (high as number) >= expected) held[name] += 1;
      }
    }
    for (const [name, count] of Object.entries(held)) {
      t.ok(count / sets > 0.9, `${name} of ${classes} classes of ${each}: ${count} of ${sets}`);
    }
  }
  t.end();
});

t.test('slices of several labels likewise', (t) => {
  const targets = Float32Array.from({ length: 80 }, (_, i) => Number(i % 4 < 2));
  const outputs = targets.map((target) => (target === 1 ? 5 : -5));
  const report = targetSliceMetrics(
    { task: 'multi-label', outputs, targets },
    Array.from({ length: 40 }, () => 'all'),
    ['a', 'b'],
  );
  const { value, low, high, method } = report.slices[0]?.score ?? {};
  t.same([value, high, method], [1, 1, 'bootstrap and wilson']);
  t.ok((low as number) < 0.95, `from ${low}`);
  t.end();
});
