import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { ClassificationMeter, classificationMetrics } from '../src/metrics/meter.js';
import { metricMode, metricNames, nameMetrics } from '../src/metrics/names.js';
import { furthest } from './figures.js';

interface ReferenceCase {
  classes: number;
  eighths: number[];
  labels: number[];
  accuracy: number;
  topK: [number, number][];
  perClass: number[][];
  macro: number[];
  micro: number[];
  weighted: number[];
  confusionMatrix: number[][];
  balancedAccuracy: number;
  mcc: number;
  kappa: number | null;
  rocAuc: number | null;
  prAuc: number | null;
  rocAucs: (number | null)[];
  prAucs: (number | null)[];
  calibration: {
    ece: number;
    mce: number;
    brier: number;
    nll: number;
    bins: [count: number, confidence: number, accuracy: number][];
  };
}

const fixture = gunzipSync(readFileSync(new URL('./fixtures/metrics.json.gz', import.meta.url)));
const { scale, cases } = JSON.parse(fixture.toString()) as { scale: number; cases: ReferenceCase[] };

function classNames(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `class ${index}`);
}

t.test("200 random cases equal scikit-learn's values", (t) => {
  t.equal(cases.length, 200);
  for (const [index, reference] of cases.entries()) {
    const logits = Float32Array.from(reference.eighths, (value) => value / scale);
    const labels = Int32Array.from(reference.labels);
    for (const [k, accuracy] of reference.topK) {
      const metrics = classificationMetrics(logits, labels, 1, {
        classes: classNames(reference.classes),
        topK: k,
      });
      t.same(metrics.topK.k, k);
      t.ok(Math.abs(metrics.topK.accuracy - accuracy) < 1e-12, `case ${index}, top ${k}`);
    }
    const metrics = classificationMetrics(logits, labels, 1, { classes: classNames(reference.classes) });
    t.equal(metrics.topK.k, Math.min(5, reference.classes));
    t.equal(metrics.count, labels.length);
    t.same(metrics.confusionMatrix, reference.confusionMatrix, `case ${index}, confusion matrix`);
    const table = (['precision', 'recall', 'f1', 'support'] as const).map((name) =>
      metrics.perClass.map((scores) => scores[name]),
    );
    const averages = [metrics.macro, metrics.micro, metrics.weighted].flatMap(({ precision, recall, f1 }) => [
      precision,
      recall,
      f1,
    ]);
    const expected = [...reference.macro, ...reference.micro, ...reference.weighted];
    t.ok(furthest([metrics.accuracy], [reference.accuracy]) < 1e-12, `case ${index}, accuracy`);
    t.ok(furthest(table.flat(), reference.perClass.flat()) < 1e-12, `case ${index}, per class`);
    t.ok(furthest(averages, expected) < 1e-12, `case ${index}, averages`);
  }
  t.end();
});

t.test("agreement, areas and calibration of the same cases equal scikit-learn's", (t) => {
  for (const [index, reference] of cases.entries()) {
    const logits = Float32Array.from(reference.eighths, (value) => value / scale);
    const metrics = classificationMetrics(logits, Int32Array.from(reference.labels), 1, {
      classes: classNames(reference.classes),
    });
    const { calibration } = metrics;
    const figures = (of: Pick<typeof metrics, 'balancedAccuracy' | 'mcc' | 'kappa' | 'rocAuc' | 'prAuc'>) => [
      ...[of.balancedAccuracy, of.mcc, of.kappa, of.rocAuc, of.prAuc],
    ];
    const errors = (of: typeof reference.calibration | typeof calibration) => [
      ...[of.ece, of.mce, of.brier, of.nll],
    ];
    t.ok(furthest(figures(metrics), figures(reference)) < 1e-9, `case ${index}, agreement and areas`);
    t.ok(furthest(errors(calibration), errors(reference.calibration)) < 1e-9, `case ${index}, calibration`);
    const areas = metrics.perClass.flatMap(({ rocAuc, prAuc }) => [rocAuc, prAuc]);
    const expected = reference.rocAucs.flatMap((area, i) => [area, reference.prAucs[i] as number | null]);
    t.ok(furthest(areas, expected) < 1e-9, `case ${index}, areas per class`);
    const filled = calibration.bins.filter(({ count }) => count > 0);
    const curve = filled.flatMap(({ count, confidence, accuracy }) => [count, confidence, accuracy]);
    t.ok(furthest(curve, reference.calibration.bins.flat()) < 1e-9, `case ${index}, reliability curve`);
    t.equal(calibration.bins.length, 15);
  }
  t.end();
});

t.test('one class, and one sample: what is undefined is null, and survives JSON', (t) => {
  const one = classificationMetrics(Float32Array.of(3, -1), Int32Array.of(0, 0), 0, { classes: ['a'] });
  t.match(one, { accuracy: 1, balancedAccuracy: 1, mcc: 0, kappa: null, rocAuc: null, prAuc: 1 });
  t.match(one.calibration, { ece: 0, mce: 0, brier: 0, nll: 0 });
  t.match(one.calibration.bins.at(-1), { low: 14 / 15, high: 1, count: 2, confidence: 1, accuracy: 1 });
  t.match(one.calibration.bins[0], { low: 0, count: 0, confidence: null, accuracy: null });

  const single = classificationMetrics(Float32Array.of(0, 0, 0), Int32Array.of(2), 0, {
    classes: ['a', 'b', 'c'],
  });
  t.match(single, { accuracy: 0, balancedAccuracy: 0, mcc: 0, kappa: 0, rocAuc: null, prAuc: 1 });
  t.same(
    single.perClass.map(({ rocAuc, prAuc }) => [rocAuc, prAuc]),
    [
      [null, null],
      [null, null],
      [null, 1],
    ],
  );
  t.ok(Math.abs(single.calibration.nll - Math.log(3)) < 1e-15);
  t.ok(Math.abs(single.calibration.ece - 1 / 3) < 1e-7, 'confidence a third, accuracy 0');
  t.same(JSON.parse(JSON.stringify([one, single])), [one, single]);
  t.end();
});

t.test('logits far apart: probabilities end, the log-likelihood does not', (t) => {
  const metrics = classificationMetrics(
    Float32Array.of(1000, 0, 0, 1000, 0, 3000),
    Int32Array.of(0, 1, 0),
    0,
    {
      classes: ['a', 'b'],
    },
  );
  t.equal(metrics.calibration.nll, 1000);
  t.equal(metrics.calibration.brier, 1 / 3);
  t.equal(metrics.rocAuc, 0.75, 'both probabilities of 1 are equal');
  t.end();
});

t.test('scores are those of each sample, in order, and a copy', (t) => {
  const meter = new ClassificationMeter({ classes: ['a', 'b'] });
  t.same(meter.scores().labels, new Int32Array(0));
  meter.add(Float32Array.of(0, 0), Int32Array.of(1), 0);
  meter.add(Float32Array.of(1, 2, 3, 2), Int32Array.of(1, 1), 0);
  const scores = meter.scores();
  t.same(scores.labels, Int32Array.of(1, 1, 1));
  t.same(scores.predicted, Int32Array.of(0, 1, 0));
  const p = Math.fround(1 / (1 + Math.exp(1)));
  const q = Math.fround(1 / (1 + Math.exp(-1)));
  t.same(scores.probabilities, Float32Array.of(0.5, 0.5, p, q, q, p));
  t.ok(furthest([...scores.nll], [Math.log(2), Math.log(1 + Math.exp(-1)), Math.log(1 + Math.E)]) < 1e-15);
  const before = meter.metrics();
  scores.probabilities.fill(0);
  scores.nll.fill(9);
  t.same(meter.metrics(), before);
  t.end();
});

t.test('batch by batch gives what all at once gives, with the loss weighted by samples', (t) => {
  const { classes, eighths, labels } = cases.find((entry) => entry.labels.length > 20) as ReferenceCase;
  const logits = Float32Array.from(eighths, (value) => value / scale);
  const names = classNames(classes);
  const meter = new ClassificationMeter({ classes: names });
  meter.add(logits.slice(0, 7 * classes), Int32Array.from(labels.slice(0, 7)), 2);
  meter.add(logits.slice(7 * classes), Int32Array.from(labels.slice(7)), 1);
  meter.add(new Float32Array(0), new Int32Array(0), Number.NaN);
  const loss = (7 * 2 + (labels.length - 7)) / labels.length;
  t.same(meter.metrics(), classificationMetrics(logits, Int32Array.from(labels), loss, { classes: names }));
  t.end();
});

t.test('what cannot be counted is refused and leaves the counts as they were', (t) => {
  const meter = new ClassificationMeter({ classes: ['ants', 'bees'] });
  t.throws(() => meter.metrics(), { code: 'INVALID_VALUE', message: /no samples/ });
  meter.add(Float32Array.of(1, 0), Int32Array.of(0), 0.5);
  const before = meter.metrics();
  const one = Int32Array.of(0);
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
    t.throws(() => meter.add(Float32Array.of(1, 0, 0, bad), Int32Array.of(0, 1), 1), {
      code: 'MODEL_FAILED',
      message: new RegExp(`class \`bees\` of sample 1 of the batch is ${bad}; expected finite`),
    });
  }
  t.throws(() => meter.add(Float32Array.of(1, 0, 2), one, 1), {
    code: 'SHAPE_MISMATCH',
    message: /\[1, 2\].*got 3/,
  });
  t.throws(() => meter.add(Float32Array.of(1, 0), Int32Array.of(2), 1), {
    code: 'INVALID_VALUE',
    message: /label 2/,
  });
  t.throws(() => meter.add(Float32Array.of(1, 0), Int32Array.of(-1), 1), { code: 'INVALID_VALUE' });
  t.throws(() => meter.add([1, 0] as never, one, 1), { code: 'INVALID_TYPE' });
  t.throws(() => meter.add(Float32Array.of(1, 0), [0] as never, 1), { code: 'INVALID_TYPE' });
  t.same(meter.metrics(), before);
  t.throws(() => new ClassificationMeter({ classes: ['a', 'b'], topK: 3 }), {
    message: /`topK` is 3.*1 to 2/,
  });
  t.throws(() => new ClassificationMeter({ classes: [] }), { code: 'INVALID_VALUE' });
  t.throws(() => new ClassificationMeter({ classes: ['a'], topk: 1 } as never), {
    message: /Did you mean `topK`/,
  });
  t.end();
});

t.test('of equal logits the first class is predicted, and the first k are the top k', (t) => {
  const tied = { classes: ['a', 'b', 'c'], topK: 2 };
  const at = (label: number) => classificationMetrics(new Float32Array(3), Int32Array.of(label), 0, tied);
  t.same(
    [0, 1, 2].map((label) => at(label).accuracy),
    [1, 0, 0],
  );
  t.same(
    [0, 1, 2].map((label) => at(label).topK.accuracy),
    [1, 1, 0],
  );
  t.end();
});

t.test('names of metrics in epoch reports', (t) => {
  const classes = ['ants', 'bees', '__proto__'];
  const metrics = classificationMetrics(Float32Array.of(3, 1, 0, 0, 2, 1), Int32Array.of(0, 2), 0.25, {
    classes,
  });
  const named = nameMetrics('val', metrics);
  t.same(Object.keys(named), metricNames('val', classes));
  t.equal(named.valLoss, 0.25);
  t.equal(named.valAccuracy, 0.5);
  t.equal(named.valTop3, 1);
  t.equal(named.valMacroF1, metrics.macro.f1);
  t.equal(named.valMicroRecall, metrics.micro.recall);
  t.equal(named.valWeightedPrecision, metrics.weighted.precision);
  t.equal(named['valF1:ants'], 1);
  t.equal(named['valRecall:__proto__'], 0);
  t.equal(named.valBalancedAccuracy, 0.5);
  t.equal(named.valMcc, metrics.mcc);
  t.equal(named.valKappa, metrics.kappa);
  t.equal(named.valRocAuc, 1);
  t.equal(named.valPrAuc, metrics.prAuc);
  t.equal(named['valRocAuc:ants'], 1);
  t.equal(named['valRocAuc:bees'], null, 'no sample is of that class');
  t.equal(named['valPrAuc:__proto__'], 1);
  const { ece, mce, brier, nll } = metrics.calibration;
  t.same([named.valEce, named.valMce, named.valBrier, named.valNll], [ece, mce, brier, nll]);
  const minimised = metricNames('val', classes).filter((name) => metricMode(name) === 'min');
  t.same(minimised, ['valLoss', 'valEce', 'valMce', 'valBrier', 'valNll']);
  t.same(['trainLoss', 'valF1:Loss', 'valRocAuc:Ece'].map(metricMode), ['min', 'max', 'max']);
  t.end();
});
