/** Features of frozen trunks, heads written from probes, transfer checks and rankings. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadImages } from '../src/data/images.js';
import { nativePreprocess, type Preprocessing } from '../src/data/preprocessing.js';
import {
  extractFeatures,
  type Features,
  fineTune,
  loadClassifier,
  logisticProbe,
  type Model,
  nearestMeanProbe,
  neighboursProbe,
  normalisation,
  rankingTable,
  rankModels,
  shuffleWeights,
  transferCheck,
  writeHead,
} from '../src/index.js';
import { scoresOf } from '../src/probe/linear.js';
import type { LinearMap } from '../src/probe/linear-file.js';
import { softmaxRows } from '../src/probe/probabilities.js';
import { matrixOf } from '../src/probe/result.js';
import { backbone, bitsOf, defects, fixtureModel, open, quick, residual } from './defects.js';

const data = defects(30, 18);
const small = { preprocessing: { size: 32, resize: 36 }, threads: 1 };
const own = { preprocessing: { size: 96, resize: 96 }, threads: 2 };

/** The model's logits of images, by pixels. */
async function logitsOf(model: Model, paths: string[], preprocessing: Preprocessing): Promise<Float32Array> {
  const { data, shape } = await loadImages(paths, preprocessing);
  const { logits } = await model.native.evaluate({
    inputs: [{ data, shape, dtype: 'uint8' }],
    preprocess: nativePreprocess(preprocessing),
  });
  return logits.data as Float32Array;
}

function isClose(found: Float32Array, expected: Float32Array, bound: number): boolean {
  const largest = Math.max(...expected.map(Math.abs));
  return (
    found.length === expected.length &&
    found.every((v, i) => Math.abs(v - (expected[i] as number)) < bound * largest)
  );
}

t.test('features are what the head takes in, and the model stays as it is', async (t) => {
  const model = await open(t);
  await model.freeze('fc');
  const before = [model.trainable, await bitsOf(model)];
  const features = await extractFeatures(model, data, small);
  t.same([model.trainable, await bitsOf(model)], before);
  const { train, val, computation } = features;
  t.same([train.shape[0], val.shape[0]], [30, 18]);
  t.same(
    train.paths,
    data.splits.train.map(({ path }) => path),
  );
  t.same(
    [...val.labels],
    data.splits.val.map(({ label }) => label),
  );
  const [weight, bias] = await model.native.values(['fc.weight', 'fc.bias']);
  const map = { weight: weight?.data as Float32Array, bias: bias?.data as Float32Array };
  t.equal(train.shape[1], map.weight.length / map.bias.length);
  const logits = await logitsOf(model, val.paths, features.preprocessing);
  t.ok(isClose(await scoresOf(map, matrixOf(val)), logits, 1e-4));
  t.equal(computation.features.computed, 48);

  const again = await extractFeatures(model, data, { ...small, batchSize: 7 });
  t.same([again.train, again.val], [train, val]);
  t.same([again.computation.features.computed, again.computation.features.found], [0, 48]);

  const run = fineTune(model, data, { ...quick, epochs: 1 });
  for await (const _ of run);
  t.equal(run.result?.computation.features?.computed, 0, 'fineTune finds them too');
});

t.test('feature maps are averaged', async (t) => {
  const model = await open(t, fixtureModel('squeeze'));
  const { val } = await extractFeatures(model, data, { ...small, cache: 'memory' });
  t.same(val.shape, [18, 8]);
  t.ok(val.features.every((value) => value >= 0) && val.features.some((value) => value > 0));
  t.notSame(val.features.slice(0, 8), val.features.slice(8, 16));
});

t.test('images that cannot be decoded are listed', async (t) => {
  const model = await open(t);
  const broken = join(t.testdir({}), 'broken.jpg');
  writeFileSync(broken, 'no image');
  const { splits } = data;
  const [first, ...others] = splits.val;
  const damaged = {
    ...data,
    splits: { ...splits, val: [first, { path: broken, label: 0 }, ...others] },
  } as typeof data;
  await t.rejects(extractFeatures(model, damaged, small), {
    code: 'IMAGE_UNREADABLE',
    message: /broken\.jpg/,
  });
  const { skipped, val } = await extractFeatures(model, damaged, { ...small, unreadable: 'skip' });
  t.match(skipped, [{ path: broken, reason: /.+/ }]);
  t.same(
    val.paths,
    data.splits.val.map(({ path }) => path),
  );
});

t.test('models without features to keep are refused', async (t) => {
  const mixing = await open(t, fixtureModel('../splits/mixes-samples'));
  await t.rejects(extractFeatures(mixing, data, small), { code: 'MODEL_FAILED', message: /whole batch/ });
  const weighed = await open(t, fixtureModel('../heads/weighed'));
  await t.rejects(extractFeatures(weighed, data, small), { code: 'NO_HEAD', message: /--head-layer.*`fc`/s });
  const frozen = await open(t, fixtureModel('residual.frozen'));
  await t.rejects(extractFeatures(frozen, data, small), { code: 'MODEL_FROZEN' });
  const model = await open(t);
  await t.rejects(extractFeatures(model, data, { cache: 'none' } as never), { code: 'INVALID_VALUE' });
  await t.rejects(extractFeatures(model, data, { signal: AbortSignal.abort() }), { code: 'ABORTED' });
  await t.rejects(extractFeatures({} as never, data), { code: 'INVALID_TYPE' });
  await t.rejects(extractFeatures(model, {} as never), { code: 'INVALID_TYPE' });
});

t.test('a probe becomes the head of an ordinary model', async (t) => {
  const folder = t.testdir({});
  for (const file of [residual, fixtureModel('squeeze')]) {
    const model = await open(t, file);
    const features = await extractFeatures(model, data, small);
    const probe = await logisticProbe(features, { C: [0.1] });
    await writeHead(model, features, probe);
    const path = join(folder, 'probe.pt');
    await model.save(path);
    await using classifier = await loadClassifier(path, { device: 'cpu', threads: 1 });
    t.same(classifier.classes, data.classes);
    t.equal(classifier.card.preprocessing.size, 32);
    t.equal(classifier.card.provenance.probe, probe.name);
    const predictions = await classifier.predict(features.val.paths, { top: data.classes.length });
    const differences = predictions.flatMap(({ top }, row) =>
      top.map(({ index, probability }) =>
        Math.abs(probability - (probe.probabilities[row * data.classes.length + index] as number)),
      ),
    );
    t.ok(Math.max(...differences) < 0.005, `${file}: ${Math.max(...differences)}`);
    // A second one, into a head of as many outputs.
    const second = await nearestMeanProbe(features);
    await writeHead(model, features, second);
    const logits = await logitsOf(model, features.val.paths, features.preprocessing);
    t.ok(isClose(softmaxRows(logits, data.classes.length), second.probabilities, 0.005));
    t.same(model.card?.provenance.probe, second.name);
  }
});

t.test(
  'a steep probe of features in bfloat16 is compared in float32, not taken for another model’s',
  async (t) => {
    const model = await open(t, backbone);
    const features = await extractFeatures(model, data, {
      ...{ precision: 'bfloat16', cache: 'memory' },
      preprocessing: { size: 96, resize: 96 },
    });
    t.equal(features.computation.plan.precision, 'bfloat16');
    const exact = await extractFeatures(model, data, {
      ...{ precision: 'float32', cache: 'memory' },
      preprocessing: { size: 96, resize: 96 },
    });
    const probe = await logisticProbe(features, { C: [10] });
    const steep = {
      weight: (probe.linear as LinearMap).weight.map((value) => value * 20),
      bias: (probe.linear as LinearMap).bias.map((value) => value * 20),
    };
    const said = async ({ val }: Features) =>
      softmaxRows(await scoresOf(steep, matrixOf(val)), data.classes.length);
    const probabilities = await said(features);
    const apart = Math.max(
      ...(await said(exact)).map((value, at) => Math.abs(value - (probabilities[at] as number))),
    );
    t.ok(apart > 0.05, `rounding alone moves a probability by ${apart}`);
    await writeHead(model, features, { ...probe, linear: steep, probabilities });
    t.same(model.card?.classes, data.classes);
  },
);

t.test('a head that cannot hold a probe stays as it was', async (t) => {
  const model = await open(t);
  const features = await extractFeatures(model, data, small);
  const probe = await logisticProbe(features, { C: [0.1] });
  const before = await bitsOf(model);
  await t.rejects(writeHead(model, features, await neighboursProbe(features)), {
    code: 'INVALID_VALUE',
    message: /not linear/,
  });
  const { weight, bias } = probe.linear ?? { weight: new Float32Array(0), bias: new Float32Array(0) };
  const other = { ...probe, linear: { weight: weight.map((value) => -value), bias } };
  await t.rejects(writeHead(model, features, other), { code: 'MODEL_FAILED', message: /of other features/ });
  const stranger = await open(t);
  await stranger.reinitialise(5);
  await t.rejects(writeHead(stranger, features, probe), { code: 'MODEL_FAILED', message: /another model/ });
  t.same(await bitsOf(model), before);
  t.equal(model.card, undefined);
  const biasless = await open(t, fixtureModel('no-bias'));
  await t.rejects(writeHead(biasless, features, probe), { code: 'NO_HEAD', message: /without bias/ });
});

t.test('shuffled weights are the same values in another order', async (t) => {
  const model = await open(t);
  const [before] = await model.native.values(['fc.weight']);
  await shuffleWeights(model, 1);
  const [after] = await model.native.values(['fc.weight']);
  t.notSame(after, before);
  t.same([...(after?.data as Float32Array)].sort(), [...(before?.data as Float32Array)].sort());
  const once = await bitsOf(model);
  const second = await open(t);
  await shuffleWeights(second, 1);
  t.same(await bitsOf(second), once);
  await shuffleWeights(second, 2);
  t.notSame(await bitsOf(second), once);
});

t.test('pretrained weights help, and those that have learnt nothing do not', async (t) => {
  const images = defects(120, 120);
  const model = await open(t, backbone, { threads: 2 });
  const before = await bitsOf(model);
  const check = await transferCheck(model, images, { ...own, shuffled: true });
  t.equal(check.verdict, 'help', check.text);
  t.match(
    check.text,
    /help here: .*macro F1 of 0\.\d+ .* on 120 validation images.*untrained weights \(3 networks.*shuffled weights/,
  );
  t.same(
    check.controls.map(({ weights }) => weights),
    ['untrained', 'untrained', 'untrained', 'shuffled'],
  );
  t.equal(new Set(check.controls.map(({ macroF1 }) => macroF1)).size, 4, 'each has weights of its own');
  for (const { difference, macroF1, logME } of check.controls) {
    t.ok(difference.low > 0 && difference.low < difference.value && difference.value < difference.high);
    t.ok(Math.abs(difference.value - (check.pretrained.macroF1 - macroF1)) < 1e-6);
    t.ok(check.pretrained.logME > logME);
  }
  t.same(await bitsOf(model), before, 'the model stays as it is');
  await model.reinitialise(5);
  const untrained = await transferCheck(model, images, own);
  t.not(untrained.verdict, 'help', untrained.text);
});

t.test('a ranking has the useful model first, and lists what failed', async (t) => {
  const images = defects(60, 60);
  const model = await open(t, backbone);
  const random = join(t.testdir({}), 'untrained.pt');
  await model.reinitialise(1);
  await model.save(random);
  const started: string[] = [];
  const files = [random, 'missing.pt', fixtureModel('residual.frozen'), backbone];
  const ranking = await rankModels(
    files.map((file) => ({ file, preprocessing: own.preprocessing })),
    images,
    { threads: 2, device: 'cpu', onModel: (file) => started.push(file) },
  );
  t.same(started, files);
  t.same(
    ranking.models.map(({ file }) => file),
    [backbone, random],
  );
  t.match(ranking.failed, [
    { file: 'missing.pt', code: 'FILE_NOT_FOUND', reason: /missing\.pt/ },
    { file: fixtureModel('residual.frozen'), code: 'MODEL_FROZEN' },
  ]);
  const [first, second] = ranking.models;
  if (!first || !second) return t.fail('two are ranked');
  t.ok(first.logME > second.logME && first.hScore > second.hScore && first.accuracy > second.accuracy);
  t.same([first.place, second.place], [1, 2], 'and surely so');
  const { accuracy, macroF1 } = first.intervals;
  t.ok((accuracy.low as number) < first.accuracy && (accuracy.high as number) >= first.accuracy);
  t.equal(macroF1.value, first.macroF1);
  t.match(rankingTable(ranking), /^1 +backbone\.pt .* \d\.\d{3} to \d\.\d{3} /m);
  t.notMatch(rankingTable(ranking), /cannot tell/);
  t.equal(first.parameters, 383_034);
  t.ok(first.megabytes > 1.5 && first.megabytes < 1.6);
  t.ok(first.latencyMs > 0);
  t.equal(first.preprocessing.size, 96);
});

t.test('a ranked model has its own preprocessing', async (t) => {
  const model = await open(t);
  const run = fineTune(model, data, {
    ...quick,
    preprocessing: { size: 32, resize: 32, ...normalisation('signed') },
  });
  for await (const _ of run);
  const file = join(t.testdir({}), 'tuned.pt');
  await model.save(file);
  const { models } = await rankModels([file, { file, preprocessing: normalisation('none') }], data, {
    threads: 1,
  });
  const found = models.map(({ preprocessing: { size, mean } }) => `${size} ${mean[0]}`);
  t.same(found.sort(), ['32 0', '32 0.5']);
  const same = await rankModels([file, file], data, { threads: 1, by: 'accuracy' });
  t.same(
    same.models.map(({ place }) => place),
    [1, 1],
    'a model shares the place with itself',
  );
  t.match(rankingTable(same), /cannot tell 2 models apart by the probe's accuracy: tuned\.pt, tuned\.pt\./);
  await t.rejects(rankModels([], data), { code: 'INVALID_TYPE' });
  await t.rejects(rankModels([{ path: file } as never], data), {
    code: 'INVALID_TYPE',
    message: /unknown option `path`/,
  });
  await t.rejects(rankModels([file], data, { by: 'logme' as never }), { code: 'INVALID_VALUE' });
  await t.rejects(rankModels([file], data, { signal: AbortSignal.abort() }), { code: 'ABORTED' });
});
