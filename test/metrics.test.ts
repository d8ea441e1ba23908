import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { ClassificationMeter, classificationMetrics } from '../src/metrics/meter.js';
import { metricMode, metricNames, nameMetrics } from '../src/metrics/names.js';

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
}

const fixture = gunzipSync(readFileSync(new URL('./fixtures/metrics.json.gz', import.meta.url)));
const { scale, cases } = JSON.parse(fixture.toString()) as { scale: number; cases: ReferenceCase[] };

function classNames(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `class ${index}`);
}

function furthest(actual: readonly number[], expected: readonly number[]): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  return Math.max(...expected.map((value, index) => Math.abs(value - (actual[index] ?? Number.NaN))));
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
  t.same(['trainLoss', 'valLoss', 'valAccuracy', 'valF1:Loss'].map(metricMode), ['min', 'min', 'max', 'max']);
  t.end();
});
