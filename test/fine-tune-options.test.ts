/** Every wrong option is refused at once, with its name, and the name that was meant; and what may be skipped is. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type FineTuneOptions, fineTune, loadModel, type Sample } from '../src/index.js';
import { bitsOf, changed, defects, fixtureModel, open, quick, train } from './defects.js';

const small = defects(12, 6);
const typeError = { name: 'TypeError', code: 'INVALID_TYPE' };
const rangeError = { name: 'RangeError', code: 'INVALID_VALUE' };

const wrong: [unknown, object, RegExp][] = [
  [{ epoch: 3 }, typeError, /unknown option `epoch`\. Did you mean `epochs`/],
  [{ bathSize: 3 }, typeError, /Did you mean `batchSize`/],
  [{ quux: 3 }, typeError, /unknown option `quux`\. Known: epochs, batchSize/],
  [{ optimizer: { kind: 'adamw', beta3: 1 } }, typeError, /`optimizer\.beta3`\. Did you mean `beta1`/],
  [{ loss: { kind: 'focal', gama: 1 } }, typeError, /`loss\.gama`\. Did you mean `gamma`/],
  [{ augment: { crp: null } }, typeError, /`augment\.crp`\. Did you mean `crop`/],
  [{ head: { hiden: [8] } }, typeError, /`head\.hiden`\. Did you mean `hidden`/],
  [{ earlyStopping: { metric: 'valLoss', patiense: 1 } }, typeError, /`patiense`\. Did you mean `patience`/],
  [{ schedule: { kind: 'cosine', warmUp: 1 } }, typeError, /`warmUp`\. Did you mean `warmup`/],
  [{ epochs: '3' }, typeError, /`epochs`.*expected number/],
  [{ epochs: 0 }, rangeError, /`epochs`/],
  [{ epochs: 1.5 }, typeError, /`epochs`.*int/],
  [{ epochs: Number.NaN }, typeError, /`epochs`/],
  [{ batchSize: -1 }, rangeError, /`batchSize`/],
  [{ strategy: 'last:0' }, rangeError, /`strategy`: expected head, last:K/],
  [{ strategy: 'all' }, rangeError, /`strategy`: expected head, last:K/],
  [{ strategy: 4 }, typeError, /`strategy`/],
  [{ learningRate: 0 }, rangeError, /`learningRate`/],
  [{ learningRate: '1e-3' }, typeError, /`learningRate`/],
  [{ learningRates: { fc: -1 } }, rangeError, /`learningRates\.fc`/],
  [{ learningRates: [1] }, typeError, /`learningRates`/],
  [{ optimizer: 'adamx' }, rangeError, /`optimizer`: unknown name `adamx`\. Did you mean `adam`/],
  [{ optimizer: 5 }, typeError, /`optimizer`: expected one of sgd, adam, adamw, rmsprop/],
  [{ optimizer: { kind: 'sgd', momentum: 1 } }, rangeError, /`optimizer\.momentum`/],
  [{ weightDecay: -1 }, rangeError, /`weightDecay`/],
  [{ decayNormAndBias: 1 }, typeError, /`decayNormAndBias`/],
  [{ schedule: 'cosin' }, rangeError, /unknown schedule `cosin`\. Did you mean `cosine`/],
  [{ schedule: 5 }, typeError, /`schedule`/],
  [{ schedule: { kind: 'plateau', metric: 'valLos' } }, rangeError, /unknown metric `valLos`/],
  [{ loss: 'crossEntrpy' }, rangeError, /`loss`: unknown name `crossEntrpy`\. Did you mean `crossEntropy`/],
  [{ loss: () => 0 }, typeError, /`loss`: expected one of crossEntropy/],
  [{ loss: { kind: 'crossEntropy', labelSmoothing: 1 } }, rangeError, /`loss\.labelSmoothing`/],
  [{ clipNorm: 0 }, rangeError, /`clipNorm`/],
  [{ accumulate: 0 }, rangeError, /`accumulate`/],
  [{ augment: 'defualt' }, rangeError, /`augment`: unknown name `defualt`\. Did you mean `default`/],
  [{ augment: { horizontalFlip: 3 } }, rangeError, /`augment\.horizontalFlip`/],
  [{ augment: { crop: { scale: [1, 0.5] } } }, rangeError, /`augment\.crop\.scale`.*\[low, high\]/],
  [{ augment: 7 }, typeError, /`augment`/],
  [{ preprocessing: 4 }, typeError, /`preprocessing`/],
  [{ head: { dropout: 1 } }, rangeError, /`head\.dropout`/],
  [{ freeze: 'fc' }, typeError, /`freeze`.*array/],
  [{ earlyStopping: { metric: 'valLos' } }, rangeError, /unknown metric `valLos`\. Did you mean `valLoss`/],
  [{ earlyStopping: { metric: 'valRocAUC' } }, rangeError, /Did you mean `valRocAuc`/],
  [{ earlyStopping: { metric: 'valF1:crak' } }, rangeError, /Did you mean `valF1:crack`/],
  [{ earlyStopping: 'valLoss:3' }, typeError, /EarlyStopping/],
  [{ seed: -1 }, rangeError, /`seed`/],
  [{ threads: 0 }, rangeError, /`threads`/],
  [{ unreadable: 'ignore' }, rangeError, /`unreadable`.*fail.*skip/],
  [{ checkpoint: 3 }, typeError, /`checkpoint`/],
  [{ resume: true }, rangeError, /`resume` needs `checkpoint`/],
  [{ signal: {} }, typeError, /`signal`.*AbortSignal/],
  [{ onBatch: 3 }, typeError, /`onBatch`/],
  [5, typeError, /options/],
  [[], typeError, /options/],
];

t.test('wrong options are refused before anything is done', async (t) => {
  const model = await open(t);
  const before = await bitsOf(model);
  for (const [options, kind, message] of wrong) {
    t.throws(
      () => fineTune(model, small, options as FineTuneOptions),
      { ...kind, message },
      JSON.stringify(options),
    );
  }
  await t.rejects(train(model, small, { preprocessing: { siz: 3 } as never }), {
    ...typeError,
    message: /`siz`\. Did you mean `size`/,
  });
  t.same(changed(before, await bitsOf(model)), []);
});

t.test('what is no model and what is no data are refused', async (t) => {
  const model = await open(t);
  t.throws(() => fineTune({} as never, small), { ...typeError, message: /loadModel/ });
  t.throws(() => fineTune(undefined as never, small), typeError);
  t.throws(() => fineTune(model, '../assets/defects' as never), { ...typeError, message: /imageFolder/ });
});

t.test('defaults are those that the documentation names', async (t) => {
  const model = await open(t);
  const data = {
    ...small,
    splits: { train: small.splits.train.slice(0, 4), val: small.splits.val.slice(0, 2) },
  };
  await train(model, data, { epochs: 1 });
  t.match(model.card?.provenance.options, {
    epochs: 1,
    batchSize: 32,
    strategy: 'auto',
    optimizer: { kind: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
    weightDecay: 0.01,
    decayNormAndBias: false,
    schedule: { kind: 'cosine', warmup: 0.05 },
    loss: { kind: 'crossEntropy', labelSmoothing: 0 },
    accumulate: 1,
    augment: { horizontalFlip: 0.5, crop: { scale: [0.35, 1] } },
    seed: 0,
  });
  t.match(model.card?.preprocessing, { size: 224, resize: 256, crop: 'center', interpolation: 'bilinear' });
});

t.test(
  'an image that cannot be decoded fails with its path, or is skipped, counted and listed',
  async (t) => {
    const folder = t.testdir();
    const bad = join(folder, 'bad.jpg');
    writeFileSync(bad, 'no image');
    const spoil = (samples: Sample[]) =>
      samples.map((sample, i) => (i === 2 ? { ...sample, path: bad } : sample));
    const { train: images, val } = small.splits;
    const trainBad = { ...small, splits: { train: spoil(images), val } };
    const bothBad = { ...small, splits: { train: spoil(images), val: spoil(val) } };
    const model = await open(t);
    await t.rejects(train(model, trainBad, quick), { code: 'IMAGE_UNREADABLE', message: /bad\.jpg/ });
    const reports = await train(model, bothBad, { ...quick, unreadable: 'skip', epochs: 2 });
    for (const { skipped, validation, imagesPerSecond, trainSeconds } of reports) {
      t.same(
        skipped.map(({ path }) => path),
        [bad, bad],
      );
      t.match(skipped[0]?.reason, /Cannot decode/);
      t.equal(validation.count, 5);
      t.equal(Math.round(imagesPerSecond * trainSeconds), 11);
    }
  },
);

t.test('a jit.freezed model is refused, with how to export it instead', async (t) => {
  const model = await open(t, fixtureModel('residual.frozen'));
  await t.rejects(train(model, small, quick), {
    code: 'MODEL_FROZEN',
    message: /torch\.jit\.freeze.*(script|trace)/s,
  });
});

t.test('a model that was fine-tuned on the same classes keeps its head', async (t) => {
  const model = await open(t);
  await train(model, small, { ...quick, learningRate: 0.05 });
  const file = join(t.testdir(), 'model.pt');
  await model.save(file);
  const again = await loadModel(file, { device: 'cpu', threads: 1 });
  t.teardown(() => again.dispose());
  const before = await bitsOf(again);
  const run = fineTune(again, small, { ...quick, preprocessing: undefined, learningRates: { '*': 0 } });
  for await (const _ of run);
  t.same(changed(before, await bitsOf(again)), [], 'nothing was initialised anew');
  t.equal(run.result?.preprocessing.size, 32, "and the preprocessing is the model's");
  t.same([...again.trainable].sort(), ['fc.bias', 'fc.weight'], 'strategy head trains that head');
  t.equal((again.card?.provenance.before as { source: { name: string } }).source.name, 'residual.pt');
  const other = { ...small, classes: [...small.classes].reverse() };
  await train(again, other, quick);
  t.ok(changed(before, await bitsOf(again)).includes('fc.weight'), 'other classes get another head');
});

t.test('a head with hidden layers', async (t) => {
  const model = await open(t);
  await train(model, small, { ...quick, head: { hidden: [7], dropout: 0.2 } });
  const { parameters } = await model.summary();
  const shapes = parameters.filter(({ trainable }) => trainable).map(({ shape }) => shape);
  t.same(shapes, [[7, 6], [7], [6, 7], [6]]);
});
