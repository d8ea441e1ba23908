import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { randomIntegers } from '../src/data/random.js';
import {
  bootstrapDifference,
  bootstrapInterval,
  ClassificationMeter,
  type ClassificationScores,
  classificationMetrics,
  classificationStatistic,
  type StatisticName,
} from '../src/index.js';
import { furthest } from './figures.js';

const fixture = gunzipSync(readFileSync(new URL('./fixtures/metric-sets.json.gz', import.meta.url)));
const { bootstrap } = JSON.parse(fixture.toString()) as {
  bootstrap: Record<'labels' | 'first' | 'second' | 'accuracy' | 'macroF1' | 'difference', number[]>;
};

/** Scores of hard predictions. */
function scoresOf(labels: number[], predicted: number[], classes: number): ClassificationScores {
  const meter = new ClassificationMeter({ classes: Array.from({ length: classes }, (_, i) => `c${i}`) });
  const logits = predicted.flatMap((guess) =>
    Array.from({ length: classes }, (_, i) => (i === guess ? 2 : 0)),
  );
  meter.add(Float32Array.from(logits), Int32Array.from(labels), 0);
  return meter.scores();
}

const uniform = (seed: number) => {
  const next = randomIntegers(seed, 0);
  return () => next() / 2 ** 32;
};

t.test('every statistic of all samples is the metric, and of some samples the metric of those', (t) => {
  const random = uniform(7);
  for (const classes of [2, 4]) {
    const names = Array.from({ length: classes }, (_, i) => `c${i}`);
    const logits = Float32Array.from({ length: 60 * classes }, () => 4 * random() - 2);
    const labels = Int32Array.from({ length: 60 }, () => Math.floor(random() * classes));
    const meter = new ClassificationMeter({ classes: names });
    meter.add(logits, labels, 0);
    const some = Int32Array.from({ length: 40 }, () => Math.floor(random() * 60));
    for (const indices of [labels.map((_, i) => i), some]) {
      const taken = Array.from(indices, (i) => [...logits.subarray(i * classes, (i + 1) * classes)]).flat();
      const chosen = Int32Array.from(indices, (i) => labels[i] as number);
      const metrics = classificationMetrics(Float32Array.from(taken), chosen, 0, { classes: names });
      const { accuracy, balancedAccuracy, mcc, kappa, rocAuc, prAuc, calibration } = metrics;
      const { ece, mce, brier, nll } = calibration;
      const expected = { accuracy, balancedAccuracy, mcc, kappa, rocAuc, prAuc, ece, mce, brier, nll };
      for (const [name, value] of Object.entries({ ...expected, macroF1: metrics.macro.f1 })) {
        const statistic = classificationStatistic(name as StatisticName, meter.scores());
        t.ok(furthest([statistic(indices)], [value]) < 1e-12, `${name} of ${classes} classes`);
      }
    }
  }
  t.end();
});

t.test("intervals come near scipy's, which has other random numbers", (t) => {
  const { labels, first, second } = bootstrap;
  const [one, other] = [scoresOf(labels, first, 3), scoresOf(labels, second, 3)];
  const options = { resamples: 4000, seed: 1 };
  for (const name of ['accuracy', 'macroF1'] as const) {
    const { low, high } = bootstrapInterval(200, classificationStatistic(name, one), options);
    t.ok(furthest([low, high], bootstrap[name]) < 0.008, `${name}: ${low} to ${high}, ${bootstrap[name]}`);
  }
  const { low, high, difference, betterShare } = bootstrapDifference(
    200,
    classificationStatistic('accuracy', one),
    classificationStatistic('accuracy', other),
    options,
  );
  t.ok(furthest([low, high], bootstrap.difference) < 0.012, `${low} to ${high}, ${bootstrap.difference}`);
  const right = (guesses: number[]) => guesses.filter((guess, i) => guess === labels[i]).length / 200;
  t.ok(furthest([difference], [right(first) - right(second)]) < 1e-12);
  t.ok((betterShare as number) > 0.5 === (difference as number) > 0);
  t.end();
});

t.test('a seed gives the same interval, another seed another', (t) => {
  const mean = (indices: Int32Array) => indices.reduce((sum, index) => sum + index, 0) / indices.length;
  const of = (seed: number) => bootstrapInterval(50, mean, { seed, resamples: 200 });
  t.same(of(3), of(3));
  t.not(of(3).low, of(4).low);
  t.equal(of(3).value, 24.5);
  t.equal(of(3).resamples, 200);
  const wide = bootstrapInterval(50, mean, { seed: 3, resamples: 200, confidence: 0.99 });
  t.ok((wide.low as number) < (of(3).low as number) && (wide.high as number) > (of(3).high as number));
  t.end();
});

t.test('the ends are interpolated percentiles of the resamples', (t) => {
  let call = 0;
  // 0, 1, 2, ... in place of statistics: numpy.percentile(range(101), [2.5, 97.5]) is [2.5, 97.5].
  const { low, high } = bootstrapInterval(1, () => call++, { resamples: 101 });
  t.ok(furthest([low, high], [2.5, 97.5]) < 1e-9);
  t.same(
    bootstrapInterval(1, (indices) => indices[0] as number),
    { value: 0, low: 0, high: 0, resamples: 1000 },
    'one sample is a point',
  );
  t.end();
});

t.test('95 % intervals of a mean hold the true mean about 95 times of 100', (t) => {
  const random = uniform(11);
  const sets = 300;
  let held = 0;
  for (let set = 0; set < sets; set++) {
    const hits = Uint8Array.from({ length: 120 }, () => Number(random() < 0.8));
    const mean = (indices: Int32Array) =>
      indices.reduce((sum, index) => sum + (hits[index] as number), 0) / indices.length;
    const { low, high } = bootstrapInterval(120, mean, { resamples: 300, seed: set });
    if ((low as number) <= 0.8 && (high as number) >= 0.8) held += 1;
  }
  t.ok(held / sets > 0.91 && held / sets < 0.98, `${held} of ${sets}`);
  t.end();
});

t.test('strata keep how many samples each group has', (t) => {
  const strata = Int32Array.from({ length: 30 }, (_, i) => (i % 10 === 0 ? 7 : -1));
  const rare = (indices: Int32Array) => indices.filter((index) => strata[index] === 7).length;
  t.match(bootstrapInterval(30, rare, { strata }), { value: 3, low: 3, high: 3 });
  const { low, high } = bootstrapInterval(30, rare);
  t.ok((low as number) < 3 && (high as number) > 3, 'without them it varies');
  const seen = new Set<number>();
  const watch = (indices: Int32Array) => {
    for (const index of indices) seen.add(index);
    return 0;
  };
  bootstrapInterval(30, watch, { strata, resamples: 50 });
  t.equal(seen.size, 30, 'and every sample is drawn');
  t.end();
});

t.test('paired differences', (t) => {
  const random = uniform(5);
  const hard = Float64Array.from({ length: 100 }, () => random() * 100);
  const mean = (shift: number) => (indices: Int32Array) =>
    indices.reduce((sum, index) => sum + (hard[index] as number) + shift, 0) / indices.length;
  const better = bootstrapDifference(100, mean(1), mean(0));
  t.ok(
    furthest([better.difference, better.low, better.high], [1, 1, 1]) < 1e-9,
    'what both share cancels out',
  );
  t.equal(better.betterShare, 1);
  t.equal(bootstrapDifference(100, mean(1), mean(0), { mode: 'min' }).betterShare, 0);
  const same = bootstrapDifference(100, mean(0), mean(0));
  t.same(same, { difference: 0, low: 0, high: 0, betterShare: 0.5, resamples: 1000 });
  t.same(
    bootstrapDifference(100, mean(1), mean(0), { seed: 2 }),
    bootstrapDifference(100, mean(1), mean(0), { seed: 2 }),
  );
  t.end();
});

t.test('resamples of which a statistic is undefined are left out and not counted', (t) => {
  const scores = scoresOf([0, 0, 0, 1], [0, 0, 0, 1], 2);
  const area = classificationStatistic('rocAuc', scores);
  const { value, low, high, resamples } = bootstrapInterval(4, area, { resamples: 400 });
  t.same([value, low, high], [1, 1, 1]);
  t.ok(resamples > 200 && resamples < 300, `${resamples} of 400 have both classes; (3/4)^4 have none of one`);
  t.equal(bootstrapInterval(4, area, { resamples: 400, strata: scores.labels }).resamples, 400);
  const never = { low: null, high: null, resamples: 0 };
  t.same(
    bootstrapInterval(4, () => Number.NaN),
    { value: null, ...never },
  );
  t.same(
    bootstrapDifference(4, () => null, area),
    { difference: null, betterShare: null, ...never },
  );
  t.end();
});

t.test('wrong arguments are refused by code', (t) => {
  const one = () => 1;
  for (const count of [0, -1, 1.5, Number.NaN]) {
    t.throws(() => bootstrapInterval(count, one), { code: 'INVALID_VALUE', message: /`count`/ });
  }
  t.throws(() => bootstrapInterval(1, 'accuracy' as never), { code: 'INVALID_TYPE', message: /function/ });
  t.throws(() => bootstrapDifference(1, one, undefined as never), { code: 'INVALID_TYPE' });
  const options = (value: unknown) => () => bootstrapInterval(2, one, value as never);
  t.throws(options({ resample: 10 }), { code: 'INVALID_TYPE', message: /Did you mean `resamples`/ });
  t.throws(options({ resamples: 0 }), { code: 'INVALID_VALUE' });
  t.throws(options({ confidence: 1 }), { code: 'INVALID_VALUE' });
  t.throws(options({ confidence: 95 }), { code: 'INVALID_VALUE' });
  t.throws(options({ seed: -1 }), { code: 'INVALID_VALUE' });
  t.throws(options({ strata: [0, 0] }), { code: 'INVALID_TYPE', message: /`strata`/ });
  t.throws(options({ strata: Int32Array.of(0) }), { code: 'SHAPE_MISMATCH', message: /1 values for 2/ });
  t.throws(options({ mode: 'min' }), { code: 'INVALID_TYPE' });
  t.throws(() => bootstrapDifference(1, one, one, { mode: 'least' as never }), { code: 'INVALID_VALUE' });

  const scores = scoresOf([0, 1], [0, 1], 2);
  t.throws(() => classificationStatistic('macrof1' as never, scores), {
    code: 'INVALID_VALUE',
    message: /Did you mean `macroF1`/,
  });
  t.throws(() => classificationStatistic('toString' as never, scores), { code: 'INVALID_VALUE' });
  t.throws(() => classificationStatistic('accuracy', scoresOf([], [], 2)), { code: 'INVALID_VALUE' });
  const accuracy = classificationStatistic('accuracy', scores);
  t.throws(() => bootstrapInterval(3, accuracy), { code: 'INVALID_VALUE', message: /there are 2/ });
  t.throws(() => accuracy(new Int32Array(0)), { code: 'INVALID_VALUE', message: /no sample/ });
  t.end();
});
