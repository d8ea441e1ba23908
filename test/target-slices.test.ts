/** Slices of multi-label sets and regressions, beside numbers worked out by hand and the metrics of the parts alone. */
import t from 'tap';
import {
  multiLabelMetrics,
  regressionMetrics,
  type TargetScores,
  type TargetSliceOptions,
  targetSliceMetrics,
} from '../src/index.js';
import { sliceTables } from '../src/report/slice-tables.js';

const near = (value: number | null | undefined, expected: number) =>
  typeof value === 'number' && Math.abs(value - expected) < 1e-6;

/** `count` numbers whose errors alternate between `low` and `high`, on both sides of the truth. */
function numbers(value: string, count: number, low: number, high: number) {
  return Array.from({ length: count }, (_, at) => {
    const error = (at % 2 ? high : low) * (at % 4 < 2 ? 1 : -1);
    return { value, target: at / 8, output: at / 8 + error };
  });
}

function measure(
  samples: { value: string; target: number; output: number }[],
  options: TargetSliceOptions = {},
) {
  const scores: TargetScores = {
    task: 'regression',
    outputs: Float32Array.from(samples, ({ output }) => output),
    targets: Float32Array.from(samples, ({ target }) => target),
  };
  return targetSliceMetrics(
    scores,
    samples.map(({ value }) => value),
    ['width'],
    options,
  );
}

t.test('a regression: mean absolute errors, the gap between them, and what is too few', async (t) => {
  // The means are 1.25 and 0.75; of bad less good 0.5 +- 1.96 sqrt(0.25^2 / 40 + 0.25^2 / 80) = 0.095.
  const samples = [
    ...numbers('bad', 40, 1, 1.5),
    ...numbers('few', 28, 0, 0),
    ...numbers('good', 80, 0.5, 1),
  ];
  const report = measure(samples);
  const [bad, few, good] = report.slices;
  t.same([report.task, report.metric, report.target], ['regression', 'mae', 'width']);
  t.ok(near(bad?.score.value, 1.25) && near(good?.score.value, 0.75));
  t.ok(Math.abs((bad?.score.low as number) - (1.25 - (1.96 * 0.25) / Math.sqrt(40))) < 0.02);
  t.same([bad?.standing, few?.standing], ['worse', 'too few to tell']);
  t.equal(few?.toRest, null);
  t.ok(near(bad?.toRest?.difference, 1.25 - (80 * 0.75) / 108));
  t.match(report, { worst: 'bad', gap: { best: 'good', worst: 'bad' }, groups: [], worstGroup: null });
  t.ok(near(report.gap?.value, 0.5), 'never negative');
  t.ok(
    Math.abs((report.gap?.low as number) - 0.405) < 0.02 &&
      Math.abs((report.gap?.high as number) - 0.595) < 0.02,
  );
  t.ok((report.gap?.chance as number) < 0.01);
  t.match(report.verdict, /A gap of 0\.5 of mae between good and bad.*more than chance.*few \(28 images\)/);
  t.match(
    sliceTables({ name: 'site', ...report }),
    /^A gap.*\n\nsite, width +images +mae .*bad +40 +1\.2500.*worse; the worst/s,
  );
  t.equal(measure(samples, { least: 10 }).gap?.best, 'few');
  t.match(measure(numbers('only', 29, 1, 1)), { worst: null, gap: null, verdict: /Too few images to tell/ });
});

t.test('other metrics of a regression are those of the parts alone', async (t) => {
  const samples = [...numbers('a', 40, 0.5, 2), ...numbers('b', 40, 1, 1)];
  const own = (name: string) => samples.filter(({ value }) => value === name);
  for (const metric of ['rmse', 'r2'] as const) {
    const report = measure(samples, { metric, resamples: 200 });
    for (const { value, score } of report.slices) {
      const outputs = Float32Array.from(own(value), ({ output }) => output);
      const targets = Float32Array.from(own(value), ({ target }) => target);
      t.ok(near(score.value, regressionMetrics(outputs, targets)[metric] as number), `${metric} of ${value}`);
    }
    t.equal(report.gap?.best, 'b', `${metric}: the smaller error`);
  }
});

t.test('of several targets one is named', async (t) => {
  const scores: TargetScores = {
    task: 'regression',
    outputs: Float32Array.of(1, 10, 2, 30, 3, 20),
    targets: Float32Array.of(1.5, 12, 2, 32, 4, 23),
  };
  const of = (options: TargetSliceOptions) =>
    targetSliceMetrics(scores, ['x', 'x', 'y'], ['light', 'dark'], { least: 2, ...options });
  t.same(
    of({ target: 'light' }).slices.map(({ score }) => score.value),
    [0.25, 1],
  );
  t.same(
    of({ target: 'dark' }).slices.map(({ score }) => score.value),
    [2, 3],
  );
  t.throws(() => of({}), { code: 'INVALID_VALUE', message: /several targets.*light, dark/ });
  t.throws(() => of({ target: 'ligth' }), { code: 'INVALID_VALUE', message: /no target `ligth`.*`light`/ });
});

/** Images with labels `a` and `b`, and what is said of them: '' for none, 'ab' for both. */
function labelled(value: string, count: number, truth: string, said: string) {
  return Array.from({ length: count }, () => ({ value, truth, said }));
}

function measureLabels(samples: ReturnType<typeof labelled>, options: TargetSliceOptions = {}) {
  const columns = (text: string) => ['a', 'b'].map((label) => Number(text.includes(label)));
  const scores: TargetScores = {
    task: 'multi-label',
    outputs: Float32Array.from(
      samples.flatMap(({ said }, at) => columns(said).map((on) => (on ? 2 : -2) + at / 1e4)),
    ),
    targets: Float32Array.from(samples.flatMap(({ truth }) => columns(truth))),
  };
  const values = samples.map(({ value }) => value);
  return { scores, values, report: targetSliceMetrics(scores, values, ['a', 'b'], options) };
}

t.test('a multi-label set: macro F1 over the labels that a slice has, groups by label', async (t) => {
  const samples = [
    // Of `a` 20 hits, 20 missed, 10 given wrongly: 2 * 20 / (30 + 40); no image has `b`, which is given 10 times.
    ...[...labelled('m', 20, 'a', 'a'), ...labelled('m', 20, 'a', ''), ...labelled('m', 10, '', 'ab')],
    // Of `a` all 30, of `b` 60 of 80: (1 + 120 / 140) / 2.
    ...[...labelled('n', 30, 'ab', 'ab'), ...labelled('n', 30, 'b', 'b'), ...labelled('n', 20, 'b', '')],
  ];
  const { report } = measureLabels(samples);
  t.same([report.task, report.metric, 'target' in report], ['multi-label', 'macroF1', false]);
  t.ok(
    near(report.slices[0]?.score.value, 40 / 70) && near(report.slices[1]?.score.value, (1 + 120 / 140) / 2),
  );
  t.match(report, { worst: 'm', gap: { best: 'n' } });
  t.same(
    report.groups.map(({ value, class: label, count, accuracy }) => [value, label, count, accuracy]),
    [
      ['m', 'a', 40, 0.5],
      ['n', 'a', 30, 1],
      ['n', 'b', 80, 0.75],
    ],
  );
  t.match(report.worstGroup, { value: 'm', class: 'a' });
  t.match(sliceTables({ name: 'site', ...report }), /site +label +images +recall/);
});

t.test('other metrics of a multi-label set are those of the parts alone', async (t) => {
  const samples = [
    ...[...labelled('m', 20, 'a', 'a'), ...labelled('m', 15, 'b', 'a'), ...labelled('m', 9, '', 'b')],
    ...[...labelled('n', 30, 'ab', 'ab'), ...labelled('n', 10, 'a', 'b'), ...labelled('n', 7, '', '')],
  ];
  for (const metric of ['meanAveragePrecision', 'rocAuc', 'hammingLoss'] as const) {
    const { report, scores, values } = measureLabels(samples, { metric, resamples: 50 });
    for (const { value, score } of report.slices) {
      const own = <T extends Float32Array>(all: T) => all.filter((_, at) => values[at >> 1] === value);
      const expected = multiLabelMetrics(own(scores.outputs), Uint8Array.from(own(scores.targets)), {
        labels: ['a', 'b'],
      });
      t.ok(near(score.value, expected[metric] as number), `${metric} of ${value}`);
    }
    t.equal(report.gap?.best, 'n', metric);
  }
});

t.test('bad input', async (t) => {
  const { scores } = measureLabels(labelled('m', 3, 'a', 'a'));
  const of = (values: string[], options?: TargetSliceOptions) => () =>
    targetSliceMetrics(scores, values, ['a', 'b'], options);
  t.throws(of(['m', 'm']), { code: 'SHAPE_MISMATCH', message: /2 entries for 3 samples/ });
  t.throws(of(['m', 'm', 'm'], { metric: 'mae' }), { code: 'INVALID_VALUE', message: /Use macroF1/ });
  t.throws(of(['m', 'm', 'm'], { leest: 3 } as never), { message: /unknown option `leest`.*`least`/ });
  t.throws(() => targetSliceMetrics(undefined as never, [], []), { code: 'INVALID_TYPE' });
  const none: TargetScores = { task: 'regression', outputs: new Float32Array(), targets: new Float32Array() };
  t.throws(() => targetSliceMetrics(none, [], ['a']), { code: 'INVALID_VALUE', message: /no samples/ });
});
