/** Adapting to another domain: what is chosen, that no label of the target counts, and that the model is what was judged. */
import { mkdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import sharp, { type Sharp } from 'sharp';
import t from 'tap';
import {
  type AdaptDomainOptions,
  adaptDomain,
  createPredictor,
  domainMethods,
  fineTune,
  type ImageDataset,
  loadClassifier,
  loadModel,
  type Model,
  type Sample,
  unlabelledImages,
} from '../src/index.js';
import { backbone, bitsOf, defects, fixtureModel, open, residual } from './defects.js';

const everything = defects(240, 240);
const source: ImageDataset = {
  ...everything,
  splits: {
    train: everything.splits.train.filter((_, i) => i % 3 > 0),
    val: everything.splits.val.filter((_, i) => i % 3 > 0),
  },
};
/** Images of the same kind that the model has not seen. */
const unseen = everything.splits.val.filter((_, i) => i % 3 === 0);
const moreUnseen = [...unseen, ...everything.splits.train.filter((_, i) => i % 3 === 0)];
const preprocessing = { size: 96, resize: 96 };
const folder = t.testdir({});

const changes = {
  none: (image: Sharp) => image,
  /** Less contrast, darker and blurred. */
  dim: (image: Sharp) => image.linear(0.35, 20).blur(1.2),
  /** A twentieth of the contrast about middle grey. */
  pale: (image: Sharp) => image.linear(0.05, 120),
};

/** The same images changed, and turned by so many degrees. */
async function shift(
  samples: Sample[],
  degrees = 0,
  change: keyof typeof changes = 'dim',
): Promise<Sample[]> {
  const shifted: Sample[] = [];
  mkdirSync(join(folder, 'shifted'), { recursive: true });
  for (const [at, { path, label }] of samples.entries()) {
    const to = join(folder, 'shifted', `${samples.length}-${degrees}-${change}-${at}-${basename(path)}.png`);
    await changes[change](sharp(path).rotate(degrees)).png().toFile(to);
    shifted.push({ path: to, label });
  }
  return shifted;
}

/** 480 images, of which 144 are held out. */
async function shiftMany(change: keyof typeof changes): Promise<Sample[]> {
  const turned = [];
  for (const degrees of [0, 90, 180]) turned.push(...(await shift(moreUnseen, degrees, change)));
  return turned;
}

const asTarget = (samples: Sample[]): ImageDataset => ({ ...source, splits: { train: samples, val: [] } });

/** The backbone with a head for the defects, saved. */
async function trained(): Promise<string> {
  await using model = await loadModel(backbone, { device: 'cpu', threads: 2 });
  const run = fineTune(model, source, {
    ...{
      strategy: 'head',
      epochs: 25,
      batchSize: 32,
      threads: 2,
      precision: 'float32',
      augment: 'none',
      preprocessing,
    },
  });
  for await (const _ of run);
  const file = join(folder, 'trained.pt');
  await model.save(file);
  return file;
}

const file = await trained();
const shifted = await shift(unseen);
const options = {
  source,
  threads: 2,
  // No clock shall choose it.
  precision: 'float32',
  report: true,
  steps: 100,
  pairs: 32,
} satisfies Partial<AdaptDomainOptions>;

const accuracyOn = async (path: string, samples: Sample[]): Promise<number> => {
  await using classifier = await loadClassifier(path, { device: 'cpu', threads: 2 });
  const { metrics } = await classifier.evaluate(asTarget(samples), { split: 'train' });
  return metrics.accuracy;
};

t.test('without a shift the model stays as it is, to the last bit', async (t) => {
  const model = await open(t, file, { threads: 2 });
  const [before, card] = [await bitsOf(model), structuredClone(model.card)];
  const seen: string[] = [];
  const done = await adaptDomain(model, {
    ...{ ...options, target: asTarget(unseen), onMethod: (name: string) => seen.push(name) },
  });
  t.equal(done.chosen, 'sourceOnly', done.text);
  t.match(done.text, /No shift was found: .* stays as it is: there is nothing to adapt to/);
  t.equal(done.shift.isShift, false);
  t.same(seen, [...domainMethods]);
  t.same([await bitsOf(model), model.card], [before, card]);
  t.same(done.images, { sourceTrain: 160, sourceVal: 160, target: 56, heldOut: 24, labelled: 80 });
});

t.test(
  'with a shift and too few images to choose by the model stays as it is, and the text says so',
  async (t) => {
    const model = await open(t, file, { threads: 2 });
    const before = await bitsOf(model);
    const done = await adaptDomain(model, { ...options, target: asTarget(shifted) });
    t.equal(done.shift.isShift, true);
    t.equal(done.chosen, 'sourceOnly', done.text);
    t.match(
      done.text,
      /stays as it is: there are too few images to choose by, 24 held out of the target where 100 are needed/,
    );
    for (const { method, objection } of done.methods.slice(1)) {
      t.equal(objection, 'too few images to choose by: 24 of 100 held out', method);
    }
    t.same(await bitsOf(model), before);
  },
);

t.test('with a shift and enough images what is chosen is no worse than source-only', async (t) => {
  const model = await open(t, file, { threads: 2 });
  const done = await adaptDomain(model, { ...options, target: asTarget(await shiftMany('dim')) });
  t.same([done.shift.isShift, done.images.heldOut, done.unavailable], [true, 144, []]);
  const [without] = done.methods;
  const chosen = done.methods.find(({ method }) => method === done.chosen);
  if (!without?.labelled || !chosen?.labelled) return t.fail('both are scored');
  t.ok(chosen.labelled.accuracy >= without.labelled.accuracy, JSON.stringify(done.methods));
  t.equal(chosen.objection, '');
  t.notMatch(done.text, /too few/);
  t.comment(done.text);
});

t.test(
  'auto adopts what mends a loss of contrast, and the saved model does better on the target',
  async (t) => {
    const model = await open(t, file, { threads: 2 });
    const many = await shiftMany('pale');
    // Labels are looked at below alone.
    const { steps, pairs, threads } = options;
    const target = many.map(({ path }) => path);
    const done = await adaptDomain(model, { source, target, steps, pairs, threads });
    t.not(done.chosen, 'sourceOnly', done.text);
    t.equal(done.images.heldOut, 144);
    const path = join(folder, 'adopted.pt');
    await model.save(path);
    const [before, after] = [await accuracyOn(file, many), await accuracyOn(path, many)];
    t.ok(after > before + 0.1, `${done.chosen}: ${before} -> ${after}`);
    const own = done.methods.find(({ method }) => method === done.chosen)?.source.accuracy as number;
    t.ok(own >= (done.methods[0]?.source.accuracy as number) - 0.02, 'the source is not given up for it');
    t.comment(`${done.chosen}: ${before.toFixed(3)} -> ${after.toFixed(3)}`);
  },
);

t.test('as many images without a shift: the model stays as it is', async (t) => {
  const model = await open(t, file, { threads: 2 });
  const before = await bitsOf(model);
  const target = (await shiftMany('none')).map(({ path }) => path);
  const done = await adaptDomain(model, { ...options, report: false, target });
  t.same([done.chosen, done.shift.isShift, done.images.heldOut], ['sourceOnly', false, 144]);
  t.same(await bitsOf(model), before);
});

t.test(
  'what is written is what the saved model does, of the same size, and the card tells of it',
  async (t) => {
    const model = await open(t, file, { threads: 2 });
    const { parameters } = await model.summary();
    const done = await adaptDomain(model, { ...options, target: asTarget(shifted), method: 'coral' });
    const [without, chosen] = done.methods;
    if (!without?.labelled || !chosen?.labelled) return t.fail('both are scored');
    const path = join(folder, 'adapted.pt');
    await model.save(path);
    t.ok(Math.abs((await accuracyOn(path, shifted)) - chosen.labelled.accuracy) < 0.01);
    t.ok(Math.abs((await accuracyOn(file, shifted)) - without.labelled.accuracy) < 0.01);
    t.same((await model.summary()).parameters.length, parameters.length, 'no larger than before');
    t.match(model.card, {
      classes: source.classes,
      preprocessing,
      provenance: {
        adaptation: { chosen: 'coral', text: done.text, target: { images: 80 } },
        before: Object,
      },
      metrics: { source: chosen.source, target: chosen.target },
    });
    await using predictor = await createPredictor(path, { device: 'cpu', threads: 1 });
    const [{ path: image }] = shifted as [Sample];
    t.equal((await predictor.predict(image)).logits.length, source.classes.length);
  },
);

t.test(
  'labels of the target count for nothing: other ones, none, and paths alone come to the same',
  async (t) => {
    const results = [];
    const { length } = source.classes;
    const wrong = shifted.map(({ path, label }) => ({ path, label: (label * 3 + 1) % length }));
    for (const target of [asTarget(shifted), asTarget(wrong), shifted.map(({ path }) => path)]) {
      const model = await open(t, file, { threads: 2 });
      const report = !Array.isArray(target);
      const { chosen, methods } = await adaptDomain(model, { ...options, target, report, steps: 10 });
      const figures = methods.map(({ seconds, labelled, ...rest }) => rest);
      results.push({ chosen, figures, bits: await bitsOf(model) });
    }
    t.same(results[1], results[0]);
    t.same(results[2], results[0]);
  },
);

t.test('a method by name is taken, whatever the validators say', async (t) => {
  for (const method of ['statistics', 'adabn', 'mmd'] as const) {
    const model = await open(t, file, { threads: 2 });
    const done = await adaptDomain(model, { ...options, target: asTarget(shifted), method, steps: 60 });
    t.same(
      done.methods.map((report) => report.method),
      ['sourceOnly', method],
    );
    t.equal(done.chosen, method);
    t.match(done.text, /was asked for/);
    const path = join(folder, `${method}.pt`);
    await model.save(path);
    const said = done.methods[1]?.labelled?.accuracy as number;
    // Rounding may take one of the 80 images across a border.
    t.ok(Math.abs((await accuracyOn(path, shifted)) - said) < 1.5 / 80, method);
  }
  const model = await open(t, file, { threads: 2 });
  const before = await bitsOf(model);
  await adaptDomain(model, { ...options, target: asTarget(shifted), method: 'sourceOnly' });
  t.same(await bitsOf(model), before);
});

t.test('a model without a head for the classes gets the one of a logistic regression', async (t) => {
  const model = await open(t, backbone, { threads: 2 });
  const done = await adaptDomain(model, {
    ...options,
    target: asTarget(unseen),
    preprocessing,
    method: 'sourceOnly',
  });
  t.match(done.notices, [/no head for these classes: the source's classifier is logistic regression/]);
  t.same(model.card?.classes, source.classes);
  const path = join(folder, 'probe.pt');
  await model.save(path);
  const said = done.methods[0]?.labelled?.accuracy as number;
  t.ok(said > 0.6 && Math.abs((await accuracyOn(path, unseen)) - said) < 0.01);
});

t.test('a network without BatchNorm does without AdaBN', async (t) => {
  const small = { ...options, target: asTarget(unseen), preprocessing: { size: 32, resize: 36 }, steps: 3 };
  const model = await open(t, fixtureModel('squeeze'));
  const { unavailable, methods } = await adaptDomain(model, small);
  t.match(unavailable, [{ method: 'adabn', reason: /no BatchNorm/ }]);
  t.equal(methods.length, domainMethods.length - 1);
  const other = await open(t, fixtureModel('squeeze'));
  const before = await bitsOf(other);
  await t.rejects(adaptDomain(other, { ...small, method: 'adabn' }), { code: 'NOT_TRAINABLE' });
  t.same(await bitsOf(other), before);
});

t.test('what cannot be adapted is refused', async (t) => {
  const model: Model = await open(t, residual);
  const target = shifted.map(({ path }) => path);
  const refuse = (given: object, expected: { code: string; message?: RegExp }) =>
    t.rejects(adaptDomain(model, { source, target, ...given } as never), expected);
  await t.rejects(adaptDomain({} as never, { source, target }), { code: 'INVALID_TYPE' });
  await refuse({ source: undefined }, { code: 'INVALID_TYPE', message: /source/ });
  await refuse({ target: 'folder' }, { code: 'INVALID_TYPE', message: /target/ });
  await refuse({ methd: 'auto' }, { code: 'INVALID_TYPE', message: /method/ });
  await refuse({ method: 'coralle' }, { code: 'INVALID_VALUE' });
  await refuse({ target: target.slice(0, 9) }, { code: 'INVALID_VALUE', message: /9 images/ });
  await refuse({ report: true }, { code: 'INVALID_VALUE', message: /needs a target with labels/ });
  const strange = { ...asTarget(shifted), classes: [...source.classes.slice(1), 'moss'] };
  await refuse({ target: strange, report: true }, { code: 'INVALID_VALUE', message: /`moss` is none of/ });
  await refuse({ signal: AbortSignal.abort() }, { code: 'ABORTED' });
  await t.rejects(unlabelledImages(join(folder, 'nowhere')), { code: 'FILE_NOT_FOUND' });
  await t.rejects(unlabelledImages(t.testdir({ 'a.txt': '' })), {
    code: 'DATA_INVALID',
    message: /no images/,
  });
  t.same(
    await unlabelledImages(
      t.testdir({ 'b.png': '', x: { 'a.JPG': '', 'c.txt': '' }, '.hidden': { 'd.png': '' } }),
    ),
    [join(t.testdirName, 'b.png'), join(t.testdirName, 'x', 'a.JPG')],
  );
});
