/** What a result stands beside, and the head that a probe begins with. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import t from 'tap';
import { subsetOf } from '../src/data/subset.js';
import {
  extractFeatures,
  type FineTuneOptions,
  fineTune,
  logisticProbe,
  type Model,
  shuffleWeights,
  trainFromScratch,
  writeReport,
} from '../src/index.js';
import { beatenByProbe, standings } from '../src/report/baselines-table.js';
import { backbone, defects, open, quick, residual, train } from './defects.js';

const small = { size: 96, resize: 96 };
const exact = { preprocessing: small, threads: 2, precision: 'float32', cache: 'memory' } as const;
/** As the checks probe. */
const quickly = { C: [1e-3, 1e-2, 1e-1, 1], folds: 3, maxIterations: 100, seed: 0 };

t.test('majority, untrained and pretrained probes are measured before training', async (t) => {
  const model = await open(t, backbone);
  const data = defects(60, 60);
  const run = fineTune(model, data, { ...quick, preprocessing: small, baselines: 'measure' });
  for await (const _ of run);
  const { baselines, best } = run.result ?? {};
  if (!baselines || !best) return t.fail('there are baselines');
  const counts = data.classes.map((_, label) => data.splits.train.filter((s) => s.label === label).length);
  const most = counts.indexOf(Math.max(...counts));
  t.equal(baselines.majority.class, data.classes[most]);
  const hits = data.splits.val.filter(({ label }) => label === most).length;
  t.equal(baselines.majority.accuracy, hits / 60);
  // F1 of that class alone: precision hits / 60, recall 1.
  t.ok(Math.abs(baselines.majority.macroF1 - (2 * hits) / (60 + hits) / data.classes.length) < 1e-12);
  const { transfer } = baselines;
  t.equal(transfer?.images, 60);
  t.ok((transfer?.pretrained.accuracy ?? 0) > (transfer?.controls[0]?.accuracy ?? 1));
  t.same(
    standings(baselines, best).map(({ name }) => name),
    [`always ${data.classes[most]}`, 'untrained network, probed', 'pretrained network, probed', 'this model'],
  );
});

t.test('of many images a part is looked at first, and all where that does not tell', async (t) => {
  const data = defects(120, 120);
  const measure = async (model: Model) => {
    const options = { ...quick, preprocessing: small, baselines: 'measure', threads: 2 } as const;
    const { baselines, best, decisions } = await fineTune(model, data, options);
    if (!baselines?.transfer) throw new Error('there are baselines');
    return { transfer: baselines.transfer, rows: standings(baselines, best), decisions };
  };
  const { transfer, rows } = await measure(await open(t, backbone));
  t.equal(transfer.verdict, 'help');
  t.equal(transfer.images, 120, 'the pretrained network is probed on all');
  const [control, ...others] = transfer.controls;
  t.same(others, []);
  t.same(control?.part, { train: 48, val: 48 });
  t.match(transfer.text, /compared on 48 training and 48 validation images/);
  const images = new Map(rows.map(({ name, images }) => [name, images]));
  t.equal(images.get('untrained network, probed'), 48);
  t.equal(images.get('pretrained network, probed'), 120);

  // The same by hand: probes on 8 images of each class with the C of all.
  const part = subsetOf(data, { train: 48, val: 48 });
  const untrained = await open(t, backbone);
  await untrained.reinitialise(0);
  const { C } = await logisticProbe(await extractFeatures(await open(t, backbone), data, exact), quickly);
  const probe = await logisticProbe(await extractFeatures(untrained, part, exact), {
    ...quickly,
    C: [C as number],
  });
  t.equal(control?.accuracy, probe.metrics.accuracy);

  const shuffled = await open(t, backbone);
  await shuffleWeights(shuffled, 0);
  const { transfer: nothing } = await measure(shuffled);
  t.not(nothing.verdict, 'help', 'weights in a random order do not help');
  t.equal(nothing.controls.length, 3);
  t.ok(nothing.controls.every((control) => control.part === undefined));
});

t.test('a model that a probe beats is told of', async (t) => {
  const model = await open(t, backbone);
  const run = fineTune(model, defects(60, 60), {
    ...{ ...quick, preprocessing: small, baselines: 'measure' },
    ...{ epochs: 1, strategy: 'head', learningRate: 1e-7 },
  });
  for await (const _ of run);
  const { baselines, best } = run.result ?? {};
  if (!baselines || !best) return t.fail('there are baselines');
  t.match(beatenByProbe(baselines, best), /linear probe .* more than this model: strategies auto and lp-ft/);
  const { macroF1 = 0 } = baselines.transfer?.pretrained ?? {};
  const as = (f1: number) => {
    const { validation } = best;
    return { validation: { ...validation, macro: { ...validation.macro, f1 } } };
  };
  t.type(beatenByProbe(baselines, as(macroF1 - 0.01)), 'string');
  t.equal(beatenByProbe(baselines, as(macroF1)), undefined);
});

t.test('measuring changes nothing of the training', async (t) => {
  const runs = [];
  for (const baselines of ['measure', 'none'] as const) {
    const model = await open(t, residual);
    const reports = await train(model, defects(12, 12), { ...quick, epochs: 2, baselines });
    runs.push(reports.map(({ trainLoss, validation }) => [trainLoss, validation.loss]));
  }
  t.same(runs[0], runs[1]);
});

t.test('from scratch: random weights on the same budget, and the model stays as it is', async (t) => {
  const model = await open(t, backbone);
  const data = defects(36, 36);
  const before = await model.summary();
  const budget: FineTuneOptions = {
    ...quick,
    epochs: 2,
    preprocessing: small,
    strategy: 'auto',
    freeze: ['nothing.*'],
  } as const;
  const scratch = await trainFromScratch(model, data, budget);
  t.same(await model.summary(), before, 'not even its head');
  t.equal(scratch.epochs, 2);
  t.equal(scratch.learningRate, 1e-3, 'that of what is new');

  // The same by hand.
  const copy = await open(t, backbone);
  await copy.reinitialise(0);
  const { strategy, freeze, ...rest } = budget;
  const own = await train(copy, data, { ...rest, strategy: 'full', learningRate: 1e-3 });
  const best = scratch.best.epoch;
  if (best > 0) t.equal(scratch.best.validation.loss, own[best - 1]?.validation.loss);
  t.ok(best > 0, 'it learnt something');

  const run = fineTune(model, data, { ...quick, preprocessing: small, baselines: 'measure' });
  for await (const _ of run);
  const { baselines, best: reached } = run.result ?? {};
  if (!baselines || !reached) return t.fail('there are baselines');
  t.equal(standings(baselines, reached, scratch)[1]?.name, 'from scratch');

  // With a standardising layer made for its features, and another head: neither plays a part.
  await train(model, data, { ...quick, preprocessing: small, strategy: 'lp-ft' });
  const again = await trainFromScratch(model, data, budget);
  t.ok(Math.abs(again.best.validation.loss - scratch.best.validation.loss) < 1e-4);

  await t.rejects(trainFromScratch(model, data, { optimizer: 'lbfgs' }), { code: 'INVALID_VALUE' });
  await t.rejects(trainFromScratch(model, data, { learningRate: -1 }), { code: 'INVALID_VALUE' });
});

t.test('a head that begins with a probe has the features standardised before it', async (t) => {
  const model = await open(t, backbone);
  const data = defects(60, 60);
  const features = await extractFeatures(model, data, { preprocessing: small, threads: 1 });
  const expected = await logisticProbe(features, { C: [1e-3, 1e-2, 1e-1, 1], folds: 3 });
  const options = { ...quick, preprocessing: small, strategy: 'lp-ft', probeEpochs: 20 } as const;
  const [probe] = (await train(model, data, options)).filter(({ stage }) => stage === 'probe').slice(-1);
  const { buffers } = await model.summary();
  t.equal(buffers.filter(({ name }) => /standardis/.test(name)).length, 2, 'mean and std');
  t.ok(probe, 'there was a probe');
  const gap = Math.abs((probe?.validation.accuracy ?? 0) - expected.metrics.accuracy);
  t.ok(gap <= 2 / 60, `as the logistic regression beside it, within two images (${gap})`);
});

t.test('without features that can be kept there is the majority alone', async (t) => {
  const model = await open(t, residual);
  const run = fineTune(model, defects(12, 12), { ...quick, baselines: 'measure', split: false });
  for await (const _ of run);
  t.equal(run.result?.baselines?.transfer, null);
  t.equal(run.result?.baselines?.audit.labels, null);
  t.type(run.result?.baselines?.majority.class, 'string');
});

t.test('a photograph in both splits and a wrong label are told of, in words and in the report', async (t) => {
  const data = defects(60, 60);
  const { train, val } = data.splits;
  const [first] = train;
  if (!first) return t.fail('there is an image');
  // One image under another class's name, and one of the training images again.
  const wrong = train.map((sample, at) => (at === 7 ? { ...sample, label: (sample.label + 1) % 6 } : sample));
  const folder = t.testdir({});
  const copy = join(folder, 'again.jpg');
  await sharp(first.path).resize(200).jpeg({ quality: 80 }).toFile(copy);
  data.splits.train = wrong;
  data.splits.val = [...val, { ...first, path: copy }];
  const model = await open(t, backbone);
  const run = fineTune(model, data, { ...quick, preprocessing: small, baselines: 'measure' });
  for await (const _ of run);
  const { audit } = run.result?.baselines ?? {};
  if (!audit?.labels || !run.result) return t.fail('the data was looked at');
  t.equal(audit.duplicates.images, 121);
  const [pair] = audit.duplicates.pairs.filter(({ second }) => second.path === copy);
  t.equal(pair?.first.path, first.path);
  t.equal(audit.labels.images, 60);
  t.ok(
    audit.labels.issues.some(({ path }) => path === train[7]?.path),
    'the wrong label is a candidate',
  );
  const said = run.decisions.join('\n');
  t.match(said, /pairs? of images in different splits look the same, for example .* Keep one of each\./);
  t.match(said, /training labels? of 60 looked at may be wrong, for example /);
  const file = join(folder, 'report.html');
  await writeReport(file, { model, data, result: run.result });
  const page = await readFile(file, 'utf8');
  t.match(page, /<a href="#doubts">Data<\/a>/);
  const section = /<section id="doubts">.*?<\/section>/s.exec(page)?.[0] ?? '';
  t.match(section, /again\.jpg/);
  t.equal(
    section.match(/<img src="data:image\/jpeg/g)?.length,
    2 * Math.min(6, audit.duplicates.found) + Math.min(12, audit.labels.found),
  );
});

t.test('a subset keeps the shares of the classes and the order', (t) => {
  const data = defects(60, 60);
  const part = subsetOf(data, { train: 12, val: 100 });
  t.equal(part.splits.val, data.splits.val, 'what is small enough stays');
  const count = (samples: { label: number }[], label: number) =>
    samples.filter((sample) => sample.label === label).length;
  for (const label of data.classes.keys()) {
    const share = count(data.splits.train, label) / 5;
    t.ok(Math.abs(count(part.splits.train, label) - Math.max(1, share)) <= 1);
  }
  const places = part.splits.train.map((sample) => data.splits.train.indexOf(sample));
  t.same(
    places,
    places.toSorted((a, b) => a - b),
  );
  t.end();
});
