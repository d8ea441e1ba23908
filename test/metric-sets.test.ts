/** Curves, thresholds, multi-label and regression metrics beside scikit-learn's and scipy's. */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import {
  averagePrecision,
  metricMode,
  multiLabelMetrics,
  nameMultiLabelMetrics,
  nameRegressionMetrics,
  oneVersusRest,
  regressionMetrics,
  rocAuc,
  type TunedThreshold,
  tuneThreshold,
} from '../src/index.js';
import { furthest } from './figures.js';

interface CurveCase {
  scores: number[];
  truth: number[];
  rocAuc: number | null;
  prAuc: number | null;
  thresholds: (TunedThreshold & { wanted: { recall?: number; precision?: number } })[];
}

interface MultiLabelCase {
  labels: number;
  threshold: number;
  eighths: number[];
  truth: number[];
  subsetAccuracy: number;
  hammingLoss: number;
  micro: number[];
  macro: number[];
  samples: number[];
  perLabel: number[][];
  rocAucs: (number | null)[];
  prAucs: (number | null)[];
  rocAuc: number | null;
  meanAveragePrecision: number | null;
}

interface RegressionCase {
  truth: number[];
  predicted: number[];
  mae: number;
  rmse: number;
  medianAbsoluteError: number;
  r2: number | null;
  pearson: number | null;
  spearman: number | null;
}

const fixture = gunzipSync(readFileSync(new URL('./fixtures/metric-sets.json.gz', import.meta.url)));
const { scale, curves, multiLabel, regression } = JSON.parse(fixture.toString()) as {
  scale: number;
  curves: CurveCase[];
  multiLabel: MultiLabelCase[];
  regression: RegressionCase[];
};

t.test("areas under 80 curves equal scikit-learn's, and null where undefined", (t) => {
  t.equal(curves.length, 80);
  t.ok(curves.some((each) => each.rocAuc === null) && curves.some((each) => each.prAuc === null));
  for (const [index, reference] of curves.entries()) {
    const scores = Float32Array.from(reference.scores);
    const positives = Uint8Array.from(reference.truth);
    const actual = [rocAuc(scores, positives), averagePrecision(scores, positives)];
    t.ok(furthest(actual, [reference.rocAuc, reference.prAuc]) < 1e-12, `case ${index}: ${actual}`);
  }
  t.end();
});

t.test("thresholds are the best points of scikit-learn's curve", (t) => {
  const tuned = curves.flatMap(({ scores, truth, thresholds }) =>
    thresholds.map(({ wanted, ...expected }) => {
      const actual = tuneThreshold(Float32Array.from(scores), Uint8Array.from(truth), wanted);
      t.equal(actual.reached, expected.reached, JSON.stringify(wanted));
      const numbers = (point: typeof expected) => [point.threshold, point.recall, point.precision];
      t.ok(
        furthest(numbers(actual), numbers(expected)) < 1e-12,
        JSON.stringify({ wanted, actual, expected }),
      );
      return actual;
    }),
  );
  t.ok(tuned.filter(({ reached }) => !reached).length > 10, 'some cannot be reached');
  t.ok(tuned.filter(({ reached }) => reached).length > 100);
  t.end();
});

t.test('a threshold holds on the samples it was chosen on', (t) => {
  const scores = Float32Array.of(0.1, 0.7, 0.7, 0.9);
  const positives = Uint8Array.of(0, 1, 0, 1);
  t.same(tuneThreshold(scores, positives, { recall: 0.5 }), {
    threshold: Math.fround(0.9),
    recall: 0.5,
    precision: 1,
    reached: true,
  });
  t.same(tuneThreshold(scores, positives, { recall: 0.51 }), {
    threshold: Math.fround(0.7),
    recall: 1,
    precision: 2 / 3,
    reached: true,
  });
  t.match(tuneThreshold(Float32Array.of(1, 1), Uint8Array.of(1, 0), { precision: 0.6 }), {
    precision: 0.5,
    reached: false,
  });
  t.end();
});

t.test("60 multi-label sets equal scikit-learn's", (t) => {
  for (const [index, reference] of multiLabel.entries()) {
    const { labels, threshold, rocAucs, prAucs } = reference;
    const metrics = multiLabelMetrics(
      Float32Array.from(reference.eighths, (value) => value / scale),
      Uint8Array.from(reference.truth),
      {
        labels: Array.from({ length: labels }, (_, i) => `label ${i}`),
        threshold: index % 2 ? threshold : Array(labels).fill(threshold),
      },
    );
    t.equal(metrics.count, reference.truth.length / labels);
    for (const name of ['micro', 'macro', 'samples'] as const) {
      const { precision, recall, f1 } = metrics[name];
      t.ok(furthest([precision, recall, f1], reference[name]) < 1e-12, `case ${index}, ${name}`);
    }
    const figures = (of: MultiLabelCase | typeof metrics) => [
      ...[of.subsetAccuracy, of.hammingLoss, of.rocAuc, of.meanAveragePrecision],
    ];
    t.ok(furthest(figures(metrics), figures(reference)) < 1e-12, `case ${index}, figures`);
    const table = (['precision', 'recall', 'f1', 'support', 'rocAuc', 'prAuc'] as const).flatMap((name) =>
      metrics.perLabel.map((scores) => scores[name]),
    );
    const expected = [...reference.perLabel.flat(), ...rocAucs, ...prAucs];
    t.ok(furthest(table, expected) < 1e-12, `case ${index}, per label`);
  }
  t.end();
});

t.test('thresholds of each label of its own', (t) => {
  const logits = Float32Array.of(0, 0, 0, 0);
  const targets = Uint8Array.of(1, 1, 0, 0);
  const metrics = multiLabelMetrics(logits, targets, { labels: ['a', 'b'], threshold: [0.5, 0.6] });
  t.same(
    metrics.perLabel.map(({ recall }) => recall),
    [1, 0],
  );
  t.equal(metrics.hammingLoss, 0.5);
  t.end();
});

t.test("60 regressions equal scikit-learn's and scipy's", (t) => {
  for (const [index, reference] of regression.entries()) {
    const metrics = regressionMetrics(reference.predicted, Float64Array.from(reference.truth));
    const figures = (of: RegressionCase | typeof metrics) => [
      ...[of.mae, of.rmse, of.medianAbsoluteError, of.r2, of.pearson, of.spearman],
    ];
    t.ok(furthest(figures(metrics), figures(reference)) < 1e-9, `case ${index}: ${figures(metrics)}`);
    t.equal(metrics.count, reference.truth.length);
  }
  const tiny = regressionMetrics([1e-200, 2e-200, 3e-200], [1e200, 2e200, 3e200]);
  t.ok(furthest([tiny.pearson, tiny.spearman], [1, 1]) < 1e-12, 'squares would vanish and overflow');
  t.equal(regressionMetrics([0.1, 0.2, 0.3], [0.1, 0.1, 0.1]).pearson, null, 'equal, whatever their mean is');
  t.end();
});

t.test('names for epoch reports, and which way is better', (t) => {
  const labels = multiLabelMetrics(Float32Array.of(1, -1), Uint8Array.of(1, 0), { labels: ['a', 'b'] });
  const named = nameMultiLabelMetrics('val', labels);
  t.match(named, {
    valSubsetAccuracy: 1,
    valHammingLoss: 0,
    valMeanAveragePrecision: 1,
    valMicroF1: 1,
    valMacroRecall: 0.5,
    valSamplesPrecision: 1,
    'valF1:a': 1,
    'valRocAuc:a': null,
  });
  t.same(
    Object.keys(named).filter((name) => metricMode(name) === 'min'),
    ['valHammingLoss'],
  );
  const numbers = nameRegressionMetrics('val', regressionMetrics([1, 2], [1, 3]));
  t.match(numbers, { valMae: 0.5, valR2: 0.5, valPearson: 1, valSpearman: 1 });
  t.same(
    Object.keys(numbers).filter((name) => metricMode(name) === 'min'),
    ['valMae', 'valRmse', 'valMedianAbsoluteError'],
  );
  t.end();
});

t.test('what is no set of predictions is refused by code', (t) => {
  const one = Float32Array.of(1);
  const yes = Uint8Array.of(1);
  for (const [name, curve] of Object.entries({ rocAuc, averagePrecision })) {
    t.throws(() => curve([1] as never, yes), { code: 'INVALID_TYPE', message: new RegExp(name) });
    t.throws(() => curve(one, [1] as never), { code: 'INVALID_TYPE' });
    t.throws(() => curve(one, Uint8Array.of(1, 0)), { code: 'SHAPE_MISMATCH', message: /1 scores and 2/ });
    t.throws(() => curve(Float32Array.of(Number.NaN), yes), { code: 'INVALID_VALUE', message: /NaN/ });
    t.throws(() => curve(one, Uint8Array.of(2)), { code: 'INVALID_VALUE', message: /0 or 1/ });
    t.throws(() => curve(new Float32Array(0), new Uint8Array(0)), { code: 'INVALID_VALUE' });
  }
  const tune = (wanted: unknown) => () => tuneThreshold(one, yes, wanted as never);
  t.throws(tune({}), { code: 'INVALID_TYPE', message: /either `recall` or `precision`/ });
  t.throws(tune({ recall: 0.5, precision: 0.5 }), { code: 'INVALID_TYPE' });
  t.throws(tune({ recal: 0.5 }), { code: 'INVALID_TYPE', message: /Did you mean `recall`/ });
  t.throws(tune({ recall: 1.1 }), { code: 'INVALID_VALUE', message: /`recall`/ });
  t.throws(tune({ precision: 0 }), { code: 'INVALID_VALUE' });
  t.throws(() => tuneThreshold(one, Uint8Array.of(0), { recall: 1 }), {
    code: 'INVALID_VALUE',
    message: /no sample is positive/,
  });
  const scores = { labels: Int32Array.of(1), predicted: Int32Array.of(0), nll: new Float64Array(1) };
  const two = { ...scores, probabilities: Float32Array.of(0.75, 0.25) };
  t.same(oneVersusRest(two, 1), { scores: Float32Array.of(0.25), positives: Uint8Array.of(1) });
  for (const index of [-1, 2, 0.5]) t.throws(() => oneVersusRest(two, index), { code: 'INVALID_VALUE' });

  const labels = { labels: ['a'] };
  t.throws(() => multiLabelMetrics([1] as never, yes, labels), { code: 'INVALID_TYPE' });
  t.throws(() => multiLabelMetrics(one, [1] as never, labels), { code: 'INVALID_TYPE' });
  t.throws(() => multiLabelMetrics(one, Uint8Array.of(1, 1), labels), { code: 'SHAPE_MISMATCH' });
  t.throws(() => multiLabelMetrics(one, yes, { labels: ['a', 'b'] }), { code: 'SHAPE_MISMATCH' });
  t.throws(() => multiLabelMetrics(one, Uint8Array.of(3), labels), {
    code: 'INVALID_VALUE',
    message: /sample 0 for `a` is 3/,
  });
  t.throws(() => multiLabelMetrics(new Float32Array(0), new Uint8Array(0), labels), {
    code: 'INVALID_VALUE',
  });
  t.throws(() => multiLabelMetrics(Float32Array.of(Number.POSITIVE_INFINITY), yes, labels), {
    code: 'MODEL_FAILED',
  });
  t.throws(() => multiLabelMetrics(one, yes, { labels: ['a'], threshold: [0.1, 0.2] }), {
    message: /2 values for 1/,
  });
  t.throws(() => multiLabelMetrics(one, yes, { labels: ['a'], threshold: 2 }), { code: 'INVALID_VALUE' });
  t.throws(() => multiLabelMetrics(one, yes, { labels: [] }), { code: 'INVALID_VALUE' });

  t.throws(() => regressionMetrics('12' as never, [1, 2]), { code: 'INVALID_TYPE', message: /predictions/ });
  t.throws(() => regressionMetrics([1], ['1'] as never), { code: 'INVALID_TYPE', message: /targets/ });
  t.throws(() => regressionMetrics([1], BigInt64Array.of(1n) as never), { code: 'INVALID_TYPE' });
  t.throws(() => regressionMetrics([1], [1, 2]), { code: 'SHAPE_MISMATCH' });
  t.throws(() => regressionMetrics([], []), { code: 'INVALID_VALUE' });
  t.throws(() => regressionMetrics([1, Number.NaN], [1, 2]), { code: 'MODEL_FAILED', message: /sample 1/ });
  t.throws(() => regressionMetrics([1], [Number.NEGATIVE_INFINITY]), { code: 'INVALID_VALUE' });
  t.end();
});
