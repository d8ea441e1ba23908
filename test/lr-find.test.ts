/** The learning-rate sweep: fastai's rules, the training it is a sweep of, and that it leaves the model as it was. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadAddon } from '../src/addon.js';
import {
  createTrainer,
  type FindLearningRateOptions,
  type FineTuneOptions,
  findLearningRate,
  fineTune,
  type Model,
  renderSweepChart,
  renderSweepText,
  type SweepPoint,
} from '../src/index.js';
import { suggestRates } from '../src/lr-find/suggestions.js';
import { backbone, bitsOf, changed, defects, figures, open, quick, train } from './defects.js';

const small = defects(20, 6);
const short = { lowest: 1e-4, highest: 1, steps: 20 };
/** Dropout, BatchNorm and augmentation. */
const lively = {
  ...quick,
  epochs: 2,
  augment: { horizontalFlip: 0.5, rotation: 10 },
  head: { hidden: [8], dropout: 0.3 },
} satisfies FineTuneOptions;

const rateAt = (index: number) => 1e-7 * 1e8 ** (index / 99);

/** What fastai 2's valley, steep and minimum gave for the same numbers, as indices into the whole curve. */
const curves: [name: string, loss: (i: number) => number, steps: number, expected: number[]][] = [
  [
    'a fall, then a rise',
    (i) =>
      2 - 1.2 / (1 + Math.exp(-(i - 60) / 5)) + (Math.max(0, i - 80) / 8) ** 2 + 0.05 * Math.sin(i * 1.7),
    100,
    [63, 57, 80],
  ],
  ['a noisy corner', (i) => 1 + Math.abs(i - 40) / 30 + 0.2 * Math.sin(i), 100, [41, 34, 42]],
  ['a steady rise', (i) => 1 + i * 0.01, 100, [10, 68, 10]],
  ['stopped early', (i) => 2 - 0.01 * i + 0.3 * Math.cos(i * 0.9), 60, [45, 50, 52]],
];

t.test("suggestions are fastai's", async (t) => {
  for (const [name, loss, count, [valley, steepest, minimum]] of curves) {
    const curve = Array.from({ length: count }, (_, i) => ({
      learningRate: rateAt(i),
      loss: loss(i),
      smoothed: loss(i),
    }));
    const found = suggestRates(curve, 100);
    const indexOf = (rate: number) => Math.round((Math.log(rate / 1e-7) / Math.log(1e8)) * 99);
    t.equal(indexOf(found.valley), valley, `${name}: valley`);
    // A straight line is equally steep everywhere; where it is steepest is decided by rounding.
    if (name !== 'a steady rise') t.equal(indexOf(found.steepest), steepest, `${name}: steepest`);
    t.equal(indexOf(found.minimum * 10), minimum, `${name}: minimum`);
  }
  const three = [0, 1, 2].map((i) => ({ learningRate: rateAt(i), loss: 3 - i, smoothed: 3 - i }));
  t.equal(suggestRates(three, 100).valley, rateAt(0), 'a curve too short to trim is taken whole');
});

t.test('a sweep is the training that follows, at rates that rise by one factor', async (t) => {
  // One batch an epoch, so that an epoch's training loss is that of its step.
  const options = { ...quick, batchSize: 32, strategy: 'full' } satisfies FineTuneOptions;
  const model = await open(t);
  const told: number[] = [];
  const sweep = { ...short, onStep: (_: SweepPoint, step: number) => told.push(step) };
  const { curve, ended, notice } = await findLearningRate(model, small, { ...options, sweep });
  t.equal(curve[0]?.learningRate, 1e-4);
  t.same(
    told,
    curve.map((_, i) => i + 1),
  );
  for (const [i, { learningRate }] of curve.entries()) {
    t.ok(Math.abs(learningRate / (1e-4 * 1e4 ** (i / 19)) - 1) < 1e-9, `rate of step ${i + 1}`);
  }
  t.match(ended, /^(finished|diverged|notFinite)$/);
  t.match(notice, /learn fastest/, 'full trains the body slower');

  const rates = { learningRate: 1e-5, learningRates: { 'fc*': 1e-4 }, schedule: 'constant' };
  const reports = await train(model, small, { ...options, ...rates, epochs: 2 });
  t.equal(curve[0]?.loss, reports[0]?.trainLoss, 'before any step');
  t.equal(
    curve[1]?.loss,
    reports[1]?.trainLoss,
    'after a step at the first rate, with the ratio of the layers',
  );

  let average = 0;
  for (const [i, { loss, smoothed }] of curve.entries()) {
    average = 0.98 * average + 0.02 * loss;
    t.ok(Math.abs(smoothed - average / (1 - 0.98 ** (i + 1))) < 1e-9, `smoothed loss ${i + 1}`);
  }
});

t.test('an accumulation is one step', async (t) => {
  const model = await open(t);
  const options = { ...quick, batchSize: 5, accumulate: 4, strategy: 'head' } satisfies FineTuneOptions;
  const { curve } = await findLearningRate(model, small, { ...options, sweep: short });
  const [report] = await train(model, small, options);
  t.ok(Math.abs((curve[0]?.loss as number) - (report?.trainLoss as number)) < 1e-6, 'mean of four batches');
});

/** All that a sweep could change, as far as it can be asked for. */
async function stateOf(model: Model) {
  const parameters = (await model.summary()).parameters.map(({ name }) => name);
  const gradients = await model.native.gradients(parameters);
  const { trainable, revision, card, notices, bytes } = model;
  const summary = await model.summary();
  return structuredClone({
    bits: await bitsOf(model),
    summary,
    trainable,
    revision,
    card,
    notices,
    bytes,
    gradients,
  });
}

for (const strategy of ['head', 'last:2', 'full'] as const) {
  t.test(`${strategy}: the model stays as it was, bit for bit, and so does what follows`, async (t) => {
    const options: FindLearningRateOptions = { ...lively, strategy, sweep: { ...short, highest: 1000 } };
    const { sweep, ...rest } = options;
    const [swept, other] = [await open(t), await open(t)];
    for (const model of [swept, other]) {
      await train(model, small, { ...quick, strategy: 'last:2', seed: 5 });
      await model.freeze('block');
    }
    const before = await stateOf(swept);
    const { curve } = await findLearningRate(swept, small, options);
    t.ok(curve.length >= 3);
    t.same(await stateOf(swept), before, 'weights, buffers, modules, flags, card, gradients');
    const reports = (await train(swept, small, rest)).map(figures);
    t.same(reports, (await train(other, small, rest)).map(figures), 'the same epochs');
    t.same(changed(await bitsOf(swept), await bitsOf(other)), [], 'the same weights');
  });
}

function tensors() {
  const data = Float32Array.from({ length: 4 * 3 * 32 * 32 }, (_, i) => ((i * 37) % 256) / 128 - 1);
  return {
    inputs: [{ data, shape: [4, 3, 32, 32], dtype: 'float32' as const }],
    target: { data: Int32Array.of(0, 1, 2, 0), shape: [4], dtype: 'int32' as const },
  };
}

t.test('an optimizer under way, and kept weights, stay as they were', async (t) => {
  const outcome = async (isSwept: boolean) => {
    const model = await open(t);
    await model.freeze(['conv1', 'bn1', 'block']);
    const trainer = await createTrainer(model, { optimizer: 'adamw', learningRate: 0.01 });
    const batch = tensors();
    await trainer.step(batch);
    await trainer.keepBest();
    await trainer.step(batch);
    if (isSwept) await findLearningRate(model, small, { ...lively, sweep: short });
    await trainer.step(batch);
    const after = await bitsOf(model);
    await trainer.restoreBest();
    return { after, kept: await bitsOf(model) };
  };
  t.same(await outcome(true), await outcome(false));
});

t.test('it suggests what trains well', async (t) => {
  const model = await open(t, backbone);
  const data = defects(120, 60);
  const options = {
    ...{ strategy: 'last:2', batchSize: 8, epochs: 4, threads: 1, augment: 'none' },
    preprocessing: { size: 96, resize: 96 },
  } satisfies FineTuneOptions;
  const found = await findLearningRate(model, data, options);
  const { valley, steepest, minimum } = found.suggestion;
  t.ok(Math.abs(found.options.learningRate / valley - 0.1) < 1e-12, 'the body at a tenth');
  t.same(found.options.learningRates, { 'fc.weight': valley, 'fc.bias': valley });
  t.ok(
    [valley, steepest, minimum].every((rate) => rate > 1e-5 && rate < 1),
    `${[valley, steepest, minimum]}`,
  );
  const run = fineTune(model, data, { ...options, ...found.options });
  for await (const _ of run);
  const accuracy = run.result?.best.validation.accuracy ?? 0;
  t.ok(accuracy > 0.7, `accuracy ${accuracy}`);

  const text = renderSweepText(found);
  t.match(text, /^ *\d+\.\d+ \|/);
  t.ok(text.split('\n').every((line) => line.length <= 80 || line.startsWith('note')));
  t.match(text, new RegExp(`valley +${valley.toExponential(1)}`));
  const chart = await renderSweepChart(found);
  t.match(chart, /^<svg .*<\/svg>$/s);
  t.match(chart, `valley ${valley.toExponential(1)}`);
});

t.test('a sweep ends when the loss has grown to four times its least', async (t) => {
  const model = await open(t);
  const sgd = { ...quick, optimizer: 'sgd', strategy: 'full' } satisfies FineTuneOptions;
  const { curve, ended } = await findLearningRate(model, small, {
    ...sgd,
    sweep: { lowest: 1e-3, highest: 1e6, steps: 60 },
  });
  t.ok(curve.length < 60, `${curve.length} steps`);
  t.ok(ended === 'diverged' || ended === 'notFinite', ended);
  const least = Math.min(...curve.slice(0, -1).map(({ smoothed }) => smoothed));
  for (const { smoothed } of curve.slice(0, -1)) t.ok(smoothed <= 4 * least);
  if (ended === 'diverged') t.ok((curve.at(-1) as SweepPoint).smoothed > 4 * least);

  const flat = await findLearningRate(model, small, {
    ...quick,
    sweep: { lowest: 1e-12, highest: 1e-10, steps: 20 },
  });
  t.match(flat.notice, /hardly fell/);
});

t.test('what it refuses, and that a failure leaves nothing behind', async (t) => {
  const temporary = t.testdir({ tmp: {} });
  const before = process.env.TMPDIR;
  process.env.TMPDIR = join(temporary, 'tmp');
  t.teardown(() => {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
  });
  const model = await open(t);
  const { models } = loadAddon().live();
  const find = (options: unknown) => findLearningRate(model, small, options as FindLearningRateOptions);
  const kept = await bitsOf(model);
  await t.rejects(find({ ...quick, optimizer: 'lbfgs' }), { code: 'INVALID_VALUE', message: /line search/ });
  await t.rejects(find({ ...quick, sweep: { lowest: 1, highest: 1 } }), {
    code: 'INVALID_VALUE',
    message: /lowest/,
  });
  await t.rejects(find({ ...quick, sweep: { step: 30 } }), { code: 'INVALID_TYPE', message: /steps/ });
  await t.rejects(find({ ...quick, sweep: { steps: 5 } }), { code: 'INVALID_VALUE', message: /steps/ });
  await t.rejects(find({ ...quick, epoch: 3 }), { code: 'INVALID_TYPE', message: /epochs/ });
  await t.rejects(find({ ...quick, learningRates: { '*': 0 } }), {
    code: 'INVALID_VALUE',
    message: /ratios/,
  });
  await t.rejects(find({ ...quick, strategy: 'last:999' }), { code: 'INVALID_VALUE' });
  const nan = 'def loss(output, target):\n    return (output * float("nan")).sum()';
  await t.rejects(find({ ...quick, loss: nan }), { code: 'LOSS_NOT_FINITE', message: /after 0 steps/ });
  await t.rejects(find({ ...quick, signal: AbortSignal.abort() }), { code: 'ABORTED' });
  const controller = new AbortController();
  const onStep = (_: SweepPoint, step: number) => step === 4 && controller.abort();
  await t.rejects(
    find({ ...quick, augment: 'default', views: 'live', signal: controller.signal, sweep: { onStep } }),
    {
      code: 'ABORTED',
    },
  );
  const nobody = {} as unknown as Model;
  await t.rejects(findLearningRate(nobody, small), { code: 'INVALID_TYPE' });
  await t.rejects(findLearningRate(model, {} as never), { code: 'INVALID_TYPE' });
  t.equal(loadAddon().live().models, models, 'no copy is left in memory');
  t.same(readdirSync(join(temporary, 'tmp')), [], 'nor on the disk');
  t.same(changed(kept, await bitsOf(model)), []);
  await model.dispose();
  await t.rejects(find(quick), { code: 'DISPOSED' });
});
