/** Classifiers on features beside scikit-learn's, and what they refuse. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { randomIntegers } from '../src/data/random.js';
import { labelStrength } from '../src/fine-tune/label-strength.js';
import { type Features, logisticProbe, nearestMeanProbe, neighboursProbe, ridgeProbe } from '../src/index.js';
import { stratifiedFolds } from '../src/probe/folds.js';
import { type Difference, hasRoom, pairedDifference, pairedLossDifference } from '../src/probe/interval.js';
import { scoresOf } from '../src/probe/linear.js';
import type { LinearMap } from '../src/probe/linear-file.js';
import { fitTargets } from '../src/probe/logistic.js';
import { placesOf } from '../src/probe/places.js';
import { bestScale, logLoss, softmaxRows } from '../src/probe/probabilities.js';
import { matrixOf } from '../src/probe/result.js';
import { measureColumns, standardise } from '../src/probe/standardise.js';
import { judge } from '../src/probe/verdict.js';

interface Split {
  features: number[];
  labels: number[];
}

const reference = JSON.parse(
  gunzipSync(readFileSync(fileURLToPath(new URL('./fixtures/probes.json.gz', import.meta.url)))).toString(),
) as {
  train: Split;
  val: Split;
  features: number;
  classes: number;
  logistic: { C: number; probabilities: number[] };
  labels: { C: number; targets: number[]; logits: number[] };
  ridge: { lambda: number; scores: number[] };
  neighbours: { k: number; shares: number[] };
  nearestMean: number[];
};

/** What the classifiers look at of features. */
function featuresOf(train: Split, val: Split, columns: number, classes: string[]): Features {
  const split = ({ features, labels }: Split) => ({
    features: Float32Array.from(features),
    shape: [labels.length, columns] as [number, number],
    labels: Int32Array.from(labels),
    paths: labels.map((_, index) => `${index}.png`),
  });
  return { classes, train: split(train), val: split(val) } as unknown as Features;
}

const features = featuresOf(reference.train, reference.val, reference.features, ['a', 'b', 'c']);
const accuracyOf = (predicted: Int32Array) =>
  predicted.filter((label, row) => label === features.val.labels[row]).length / predicted.length;

function largestDifference(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  return Array.from(found, (value, at) => Math.abs(value - (expected[at] as number))).reduce((a, b) =>
    Math.max(a, b),
  );
}

t.test('logistic regression equals scikit-learn', async (t) => {
  const { C, probabilities } = reference.logistic;
  const probe = await logisticProbe(features, { C: [C], maxIterations: 1000 });
  t.equal(probe.probabilities.length, probabilities.length);
  t.ok(largestDifference(probe.probabilities, probabilities) < 1e-3);
  t.equal(probe.name, `logistic regression, C ${C}`);
  t.equal(probe.metrics.accuracy, accuracyOf(probe.predicted));
  t.equal(probe.metrics.loss, logLoss(probe.probabilities, features.val.labels, 3));
});

t.test('logistic regression of several labels equals scikit-learn of each alone', async (t) => {
  const { C, targets, logits } = reference.labels;
  const [train, val] = [matrixOf(features.train), matrixOf(features.val)];
  const measured = measureColumns(train);
  const target = { data: Float32Array.from(targets), shape: [train.rows, 3], dtype: 'float32' as const };
  const settings = { loss: 'bceWithLogits', maxIterations: 1000, signal: undefined } as const;
  const maps = await fitTargets(standardise(train, measured), target, [C / 10, C], settings);
  const found = await scoresOf(maps[1] as LinearMap, standardise(val, measured));
  t.equal(found.length, logits.length);
  t.ok(largestDifference(found, logits) < 5e-3, `${largestDifference(found, logits)}`);
});

t.test('C of several labels is weak where features tell them, strong where they are noise', async (t) => {
  const chosen = async (pick: (row: number, label: number) => number) => {
    const paths = features.train.paths;
    const samples = paths.map((path, row) => ({
      path,
      label: -1,
      targets: [0, 1].map((at) => pick(row, at)),
    }));
    const data = { classes: ['a', 'b'], splits: { train: samples, val: [] } };
    return labelStrength({ features, data }, { seed: 0 });
  };
  const { labels } = features.train;
  t.ok((await chosen((row, label) => Number(labels[row] === label))) >= 0.1);
  const next = randomIntegers(1, 0);
  const strong = await chosen(() => next() % 2);
  t.ok(strong <= 1e-2, `${strong}`);
});

t.test('C has the lowest held-out log loss, whatever the order of the grid', async (t) => {
  const grid = [1e-4, 1e-2, 1, 100];
  const chosen = await logisticProbe(features, { C: grid, folds: 4, seed: 3 });
  const again = await logisticProbe(features, { C: [...grid].reverse(), folds: 4, seed: 3 });
  t.same(again, chosen);
  // With so strong a penalty it knows only how frequent the classes are.
  const [weakest] = await Promise.all([logisticProbe(features, { C: [1e-4] })]);
  t.ok(chosen.metrics.loss < weakest.metrics.loss, `${chosen.name}: ${chosen.metrics.loss}`);
  t.not(chosen.name, weakest.name);
});

t.test('ridge regression equals scikit-learn, up to its temperature', async (t) => {
  const { lambda, scores } = reference.ridge;
  const probe = await ridgeProbe(features, { lambdas: [lambda] });
  if (!probe.linear) return t.fail('it is linear');
  const given = await scoresOf(probe.linear, matrixOf(features.val));
  // Softmax and temperature leave scores up to a factor and what all classes share.
  const centre = (values: ArrayLike<number>) =>
    Array.from(values, (value, at) => {
      const row = Array.from({ length: 3 }, (_, i) => values[at - (at % 3) + i] as number);
      return value - row.reduce((a, b) => a + b, 0) / 3;
    });
  const [found, expected] = [centre(given), centre(scores)];
  const factor = Math.hypot(...found) / Math.hypot(...expected);
  t.ok(factor > 1, `temperature ${factor}`);
  t.ok(
    largestDifference(
      found.map((value) => value / factor),
      expected,
    ) < 1e-4,
  );
  t.ok(probe.metrics.loss < logLoss(softmaxRows(Float32Array.from(scores), 3), features.val.labels, 3));
  const chosen = await ridgeProbe(features);
  t.match(chosen.name, /^ridge, lambda (1|10|100|1000)$/);
});

t.test('nearest class mean equals scikit-learn', async (t) => {
  const probe = await nearestMeanProbe(features);
  t.same([...probe.predicted], reference.nearestMean);
  t.ok(probe.metrics.loss < Math.log(3));
  const { predicted, linear } = await nearestMeanProbe(features, { metric: 'cosine' });
  t.equal(linear, undefined);
  t.notSame(predicted, probe.predicted);
});

t.test('nearest neighbours equal scikit-learn', async (t) => {
  const { k, shares } = reference.neighbours;
  const probe = await neighboursProbe(features, { k, metric: 'euclidean' });
  // Without the vote that each class has beforehand.
  const plain = probe.probabilities.map((value) => (value * (k + 1)) / k - 1 / (3 * k));
  t.ok(largestDifference(plain, shares) < 1e-5);
});

t.test('neighbours: the same image decides alone, and cosine does not see lengths', async (t) => {
  const data = featuresOf(
    { features: [1, 0, 0, 1, 3, 3], labels: [0, 1, 2] },
    { features: [10, 0.01, 0, 1], labels: [0, 1] },
    2,
    ['x', 'y', 'z'],
  );
  const cosine = await neighboursProbe(data);
  t.equal(cosine.name, '3 nearest neighbours, cosine', 'no more than there are');
  t.same([...cosine.predicted], [0, 1]);
  const euclidean = await neighboursProbe(data, { k: 3, metric: 'euclidean' });
  t.same([...euclidean.predicted], [2, 1]);
  t.ok((euclidean.probabilities[4] as number) > 0.8);
});

t.test('linear probes are linear', async (t) => {
  for (const probe of [
    await logisticProbe(features, { C: [1] }),
    await ridgeProbe(features, { lambdas: [1] }),
    await nearestMeanProbe(features),
  ]) {
    if (!probe.linear) return t.fail(`${probe.name} is linear`);
    const scores = await scoresOf(probe.linear, matrixOf(features.val));
    t.ok(largestDifference(softmaxRows(scores, 3), probe.probabilities) < 1e-4, probe.name);
  }
});

t.test('a class without training images is never predicted', async (t) => {
  const wider = { ...features, classes: ['a', 'b', 'c', 'none'] };
  for (const probe of [
    await logisticProbe(wider, { C: [1] }),
    await ridgeProbe(wider, { lambdas: [1] }),
    await nearestMeanProbe(wider),
    await neighboursProbe(wider),
  ]) {
    t.notOk(probe.predicted.includes(3), probe.name);
    t.ok(Number.isFinite(probe.metrics.loss));
    const sums = Array.from({ length: 40 }, (_, row) =>
      probe.probabilities.subarray(row * 4, row * 4 + 4).reduce((a, b) => a + b, 0),
    );
    t.ok(sums.every((sum) => Math.abs(sum - 1) < 1e-5));
  }
});

t.test('folds hold each image out once, with each class in its share', (t) => {
  const labels = Int32Array.from({ length: 103 }, (_, index) => (index < 70 ? 0 : index < 100 ? 1 : 2));
  const all = { features: { data: Float32Array.from(labels, (_, i) => i), rows: 103, columns: 1 }, labels };
  const folds = stratifiedFolds(all, 5, 7);
  const held = folds.flatMap((fold) => [...fold.held.features.data]);
  t.same(
    held.sort((a, b) => a - b),
    [...all.features.data],
  );
  for (const { learn, held } of folds) {
    t.equal(learn.labels.length + held.labels.length, 103);
    t.notOk(learn.features.data.some((value) => held.features.data.includes(value)));
    t.equal(held.labels.filter((label) => label === 0).length, 14);
    t.equal(held.labels.filter((label) => label === 1).length, 6);
    t.ok(held.labels.filter((label) => label === 2).length <= 1);
  }
  t.notSame(stratifiedFolds(all, 5, 8), folds);
  t.same(stratifiedFolds({ ...all, labels: labels.subarray(0, 1) }, 5, 0), []);
  t.end();
});

t.test('the temperature with the lowest log loss', (t) => {
  const labels = Int32Array.of(0, 0, 0, 1);
  const scores = Float32Array.of(1, 0, 1, 0, 1, 0, 1, 0);
  // Three of four are right: the probability of the first class becomes 3/4.
  t.ok(Math.abs(bestScale(scores, labels, 2) - Math.log(3)) < 0.02);
  t.end();
});

t.test('paired differences', (t) => {
  const labels = Int32Array.from({ length: 200 }, (_, index) => index % 2);
  const right = labels.slice();
  const wrong = labels.map((label, index) => (index % 4 < 2 ? label : 1 - label));
  const certain = (predicted: Int32Array) => ({ predicted, probabilities: new Float32Array(400) });
  const pair = (first: Int32Array, second: Int32Array) => ({
    ...{ first: certain(first), second: certain(second), labels, classes: 2 },
  });
  const of = (first: Int32Array, second: Int32Array) => pairedDifference(pair(first, second), 'accuracy', 0);
  const better = of(right, wrong);
  t.equal(better.value, 0.5);
  // The standard error of the mean of 200 coins is 0.035.
  t.ok(better.low > 0.4 && better.low < 0.46 && better.high > 0.54 && better.high < 0.6);
  const worse = of(wrong, right);
  t.same([worse.value, worse.low, worse.high], [-0.5, -better.high, -better.low]);
  t.same(of(wrong, wrong), { value: 0, low: 0, high: 0 });
  const but = (mistakes: number) => certain(labels.map((label, at) => (at < mistakes ? 1 - label : label)));
  const room = (mistakes: number) => hasRoom(but(mistakes), labels, 2, 'accuracy', 0);
  t.same([room(0), room(2), room(8)], [false, false, true], 'two mistakes may be none on other images');
  const places = (...predicted: Int32Array[]) =>
    placesOf(predicted.map(certain), labels, { classes: 2, metric: 'accuracy', seed: 0 });
  t.same(places(wrong, right, but(2).predicted), [3, 1, 1]);
  const one = Int32Array.from(labels, () => 0);
  const macro = pairedDifference(pair(right, one), 'macroF1', 0);
  t.ok(Math.abs(macro.value - (1 - 1 / 3)) < 1e-12);

  // Probabilities of the true class: 0.8 throughout, beside 0.4 and 0.1 in turns within each class.
  const says = (truths: number[]) => ({
    predicted: right,
    probabilities: Float32Array.from({ length: 400 }, (_, at) => {
      const row = at >> 1;
      const truth = truths[(row >> 1) % truths.length] as number;
      return at % 2 === labels[row] ? truth : 1 - truth;
    }),
  });
  const loss = pairedLossDifference({ first: says([0.8]), second: says([0.4, 0.1]), labels, classes: 2 }, 0);
  const [near, far] = [Math.log(0.4 / 0.8), Math.log(0.1 / 0.8)] as const;
  t.ok(Math.abs(loss.value - (near + far) / 2) < 1e-6);
  // Half of the distance between the two is their standard deviation.
  const half = (1.96 * (near - far)) / 2 / Math.sqrt(200);
  t.ok(
    Math.abs(loss.high - loss.value - half) < half / 4 && Math.abs(loss.value - loss.low - half) < half / 4,
  );
  t.end();
});

t.test('a verdict by the metric, and by the log loss where the metric has no room', (t) => {
  const score = { accuracy: 0.9, macroF1: 0.9, logLoss: 0.3, logME: 0 };
  const between = (low: number, high: number) => ({ value: (low + high) / 2, low, high });
  const control = (difference: Difference, lossDifference: Difference, hasRoom = false) => ({
    ...{ weights: 'untrained' as const, seed: 0, ...score, difference, lossDifference, hasRoom },
  });
  const [above, around, below] = [between(0.1, 0.3), between(-0.1, 0.12), between(-0.3, -0.1)];
  const verdict = (...controls: ReturnType<typeof control>[]) =>
    judge({ metric: 'macroF1', pretrained: score, controls, images: 100 }).verdict;
  t.equal(verdict(control(above, around)), 'help');
  t.equal(verdict(control(around, below)), 'help', 'the loss is surely lower');
  t.equal(verdict(control(around, below, true)), 'neutral', 'where the metric has room, it decides');
  t.equal(verdict(control(between(-0.12, 0.1), above, true)), 'neutral');
  t.equal(verdict(control(above, around, true)), 'help');
  t.equal(verdict(control(between(-0.12, 0.1), below)), 'neutral', 'but the metric is lower');
  t.equal(verdict(control(around, above)), 'neutral', 'and the other way round');
  t.equal(verdict(control(between(-0.12, 0.1), above)), 'harm');
  t.equal(verdict(control(below, around)), 'harm');
  t.equal(verdict(control(above, below), control(around, around)), 'neutral', 'one may be as good');
  t.equal(verdict(control(below, above), control(around, around)), 'neutral');
  t.equal(verdict(control(above, below), control(around, below)), 'help');
  const text = judge({
    ...{ metric: 'macroF1' as const, pretrained: score, images: 100 },
    controls: [control(above, below), control(around, around)],
  }).text;
  t.match(text, /untrained weights \(2 networks; difference from the best/);
  const easy = { metric: 'macroF1' as const, pretrained: score, images: 100 };
  t.match(judge({ ...easy, controls: [control(around, below)] }).text, /so the log loss decided\.$/);
  t.notMatch(judge({ ...easy, controls: [control(above, below)] }).text, /log loss decided/);
  t.end();
});

t.test('what is no set of features, and wrong options, are refused', async (t) => {
  const with_ = (changes: Partial<Features['train']>) => ({
    ...features,
    train: { ...features.train, ...changes },
  });
  await t.rejects(logisticProbe({} as Features), { code: 'INVALID_TYPE', message: /extractFeatures/ });
  await t.rejects(neighboursProbe(with_({ shape: [60, 9] })), { code: 'SHAPE_MISMATCH' });
  await t.rejects(nearestMeanProbe(with_({ labels: features.train.labels.map(() => 3) })), {
    code: 'INVALID_VALUE',
    message: /no class/,
  });
  await t.rejects(ridgeProbe(with_({ features: features.train.features.map(() => Number.NaN) })), {
    code: 'MODEL_FAILED',
    message: /normalised/,
  });
  const none = { features: new Float32Array(0), labels: new Int32Array(0), paths: [], shape: [0, 10] };
  await t.rejects(logisticProbe({ ...features, val: none as unknown as Features['val'] }), {
    code: 'INVALID_VALUE',
    message: /no `val` images/,
  });
  await t.rejects(logisticProbe(features, { c: [1] } as never), {
    code: 'INVALID_TYPE',
    message: /Did you mean `C`/,
  });
  await t.rejects(logisticProbe(features, { C: [0] }), { code: 'INVALID_VALUE' });
  await t.rejects(logisticProbe(features, { signal: AbortSignal.abort() }), { code: 'ABORTED' });
});
