/** Multi-label data and regressions: training, early stopping, prediction, serving, evaluation, and what is refused. */
import { join } from 'node:path';
import t from 'tap';
import { checkFineTuneOptions } from '../src/fine-tune/options.js';
import {
  completePreprocessing,
  createPredictor,
  type EvaluatedTargets,
  extractFeatures,
  type FineTuneOptions,
  type FineTuneResult,
  findLearningRate,
  findNearDuplicates,
  fineTune,
  type ImageDataset,
  imageManifest,
  isMultiLabel,
  isRegression,
  loadClassifier,
  logisticProbe,
  rankModels,
  renderSearchChart,
  type Sample,
  search,
  searchTable,
  transferCheck,
  wiseFt,
} from '../src/index.js';
import { backbone, defects, open, residual, train } from './defects.js';
import { drawColours, drawGreys } from './task-images.js';

const scratch = t.testdir({});
const colours = await imageManifest(await drawColours(join(scratch, 'colours'), 160));
const greys = await imageManifest(await drawGreys(join(scratch, 'greys'), 120));
const options = {
  strategy: 'full',
  epochs: 25,
  batchSize: 16,
  learningRate: 1e-2,
  augment: 'none',
  preprocessing: { size: 32, resize: 32 },
  precision: 'float32',
  threads: 2,
} as const;

t.test('a multi-label set', async (t) => {
  t.equal(colours.task, 'multi-label');
  t.same(colours.classes, ['blue', 'green', 'red']);
  t.same(
    colours.splits.train.map(({ label }) => label).filter((label) => label !== -1),
    [],
    'no class index that anything could take for one',
  );
  const model = await open(t, residual, { threads: 2 });
  const run = fineTune(model, colours, options);
  for await (const report of run) t.equal(report.trainAccuracy, null);
  const { best, baseline, decisions, baselines } = run.result as FineTuneResult;
  const chance = baseline.metrics.valMeanAveragePrecision as number;
  t.ok(
    (best.metrics.valMeanAveragePrecision as number) > Math.max(0.9, chance),
    `mAP ${best.metrics.valMeanAveragePrecision} after ${chance}`,
  );
  t.ok((best.metrics.valMacroF1 as number) > 0.75, `macro F1 ${best.metrics.valMacroF1}`);
  t.ok(isMultiLabel(best.validation));
  t.equal(baselines, undefined);
  t.match(decisions.join(' '), /labels in an order at random have a mean average precision of 0\.5/);
  t.equal(run.validationOutcomes, undefined, 'outcomes are of one class an image');

  const file = join(scratch, 'colours.pt');
  await model.save(file);
  await using classifier = await loadClassifier(file, { threads: 2 });
  t.equal(classifier.card.task, 'multi-label');
  const evaluation = await classifier.evaluateTargets(colours);
  t.same(evaluation.metrics, { ...best.validation, loss: evaluation.metrics.loss }, 'the same in serving');
  t.ok(Math.abs(evaluation.metrics.loss - best.validation.loss) < 1e-5);
  t.equal(evaluation.predictions.length, colours.splits.val.length);
  const paths = colours.splits.val.map(({ path }) => path);
  const predictions = await classifier.predict(paths);
  for (const [i, { labels, top, logits }] of predictions.entries()) {
    const own = evaluation.predictions[i] as EvaluatedTargets;
    const over = classifier.classes.filter((_, at) => (own.predicted[at] as number) >= 0.5);
    t.same(labels?.map((one) => one.class).sort(), over);
    t.equal(top.length, 3);
    t.ok((top[0]?.probability as number) >= (top[1]?.probability as number));
    const index = top[0]?.index as number;
    t.ok(
      Math.abs((top[0]?.probability as number) - 1 / (1 + Math.exp(-(logits[index] as number)))) < 1e-6,
      'a sigmoid',
    );
  }
  const all = await classifier.predict(paths.slice(0, 2), { threshold: 0 });
  t.equal(all[0]?.labels?.length, 3);
  await using predictor = await createPredictor(file, { threads: 2, precision: 'float32' });
  const served = await predictor.predictMany(paths.slice(0, 4));
  for (const [i, { labels }] of served.entries())
    t.same(
      labels?.map((one) => one.class),
      predictions[i]?.labels?.map((one) => one.class),
    );
});

t.test('a regression with two targets', async (t) => {
  t.equal(greys.task, 'regression');
  t.same(greys.classes, ['light', 'dark']);
  const model = await open(t, residual, { threads: 2 });
  const run = fineTune(model, greys, options);
  for await (const _ of run);
  const { best, baseline, decisions } = run.result as FineTuneResult;
  t.ok(isRegression(best.validation));
  const rmse = best.metrics['valRmse:light'] as number;
  const guess = baseline.metrics['valRmse:light'] as number;
  t.ok(guess < 1.2, `begins at the targets' mean: ${guess}`);
  t.ok(rmse < 0.3, `RMSE ${rmse} of a spread of 0.58, ${guess} before`);
  t.ok((best.metrics.valR2 as number) > 0.75, `R2 ${best.metrics.valR2}`);
  t.match(decisions.join(' '), /mean has an MAE of/);

  const file = join(scratch, 'greys.pt');
  await model.save(file);
  await using classifier = await loadClassifier(file, { threads: 2 });
  const { metrics, predictions } = await classifier.evaluateTargets(greys);
  t.same(metrics, { ...best.validation, loss: metrics.loss });
  const [sample] = greys.splits.val;
  const [prediction] = await classifier.predict([sample?.path as string]);
  t.same(prediction?.top, []);
  t.same(Object.keys(prediction?.values ?? {}), ['light', 'dark']);
  t.ok(Math.abs((prediction?.values?.light as number) - (predictions[0]?.predicted[0] as number)) < 1e-5);
  t.ok(Math.abs((prediction?.values?.light as number) - (sample?.targets?.[0] as number)) < 0.6);
  await using predictor = await createPredictor(file, { threads: 2, precision: 'float32' });
  const served = await predictor.predict(sample?.path as string);
  t.ok(Math.abs((served.values?.dark as number) - (prediction?.values?.dark as number)) < 1e-4);
});

t.test("a new head's bias begins at the targets' mean, also of hidden layers", async (t) => {
  for (const head of [{}, { hidden: [4] }]) {
    const model = await open(t, residual, { threads: 2 });
    const still = {
      ...options,
      strategy: 'head',
      epochs: 1,
      learningRates: { '*': 0 },
      weightDecay: 0,
      head,
    } as const;
    await train(model, greys, still);
    const { parameters } = await model.summary();
    const name = parameters
      .map(({ name }) => name)
      .filter((name) => /^(fc|head\.fc1)\.bias$/.test(name))
      .at(-1) as string;
    const [bias] = await model.native.values([name]);
    const mean = (at: number) =>
      greys.splits.train.reduce((sum, { targets }) => sum + (targets?.[at] as number), 0) /
      greys.splits.train.length;
    t.equal(bias?.data.length, 2);
    t.ok(
      Math.abs(Number(bias?.data[0]) - mean(0)) < 1e-5 && Math.abs(Number(bias?.data[1]) - mean(1)) < 1e-5,
      name,
    );
  }
});

t.test('auto is a probe and fine-tuning, and says so; the probe is better than the mean', async (t) => {
  for (const data of [colours, greys]) {
    const model = await open(t, backbone, { threads: 2 });
    const { strategy, learningRate, ...rest } = options;
    const run = fineTune(model, data, {
      ...rest,
      epochs: 1,
      cache: 'memory',
      preprocessing: { size: 96, resize: 96 },
    });
    for await (const _ of run);
    const { stages, decisions, history } = run.result as FineTuneResult;
    t.same(
      stages.map(({ name }) => name),
      ['probe', 'fine-tune'],
    );
    t.equal(stages[0]?.optimizer, 'lbfgs');
    t.match(decisions.join(' '), /auto: decides by predicted classes/);
    const probed = history.filter(({ stage }) => stage === 'probe').at(-1)?.metrics ?? {};
    if (data === greys) t.ok((probed.valR2 as number) > 0.4, `R2 ${probed.valR2}`);
    else t.ok((probed.valMeanAveragePrecision as number) > 0.7, `mAP ${probed.valMeanAveragePrecision}`);
  }
});

t.test('resumes bit for bit, and early stopping knows the metrics', async (t) => {
  const checkpoint = join(scratch, 'checkpoint.pt');
  const short = { ...options, epochs: 4, checkpoint } as const;
  const whole = await open(t, residual, { threads: 1 });
  const reports = await train(whole, greys, { ...short, checkpoint: join(scratch, 'other.pt') });
  const stopped = await open(t, residual, { threads: 1 });
  for await (const { epoch } of fineTune(stopped, greys, short)) if (epoch === 2) break;
  const again = await open(t, residual, { threads: 1 });
  const rest = await train(again, greys, { ...short, resume: true });
  t.same(rest.at(-1)?.metrics, reports.at(-1)?.metrics);
  const model = await open(t, residual, { threads: 2 });
  const run = fineTune(model, greys, {
    ...options,
    epochs: 2,
    earlyStopping: { metric: 'valMae:light', patience: 1 },
  });
  for await (const _ of run);
  const { best, history, baseline } = run.result as FineTuneResult;
  const errors = [baseline, ...history].map(({ metrics }) => metrics['valMae:light'] as number);
  t.equal(best.metrics['valMae:light'], Math.min(...errors), 'smaller is better');
  t.throws(() => fineTune(model, greys, { earlyStopping: { metric: 'valMacroF1' } }), {
    code: 'INVALID_VALUE',
  });
});

t.test('a learning rate is found', async (t) => {
  const model = await open(t, residual, { threads: 2 });
  const found = await findLearningRate(model, greys, { ...options, sweep: { steps: 20 } });
  t.ok(found.curve.length > 5 && found.suggestion.valley > 0);
});

t.test(
  'options are searched; what means nothing for the task is refused before anything is trained',
  async (t) => {
    const { epochs: _, batchSize: __, learningRate: ___, ...rest } = options;
    for (const [data, metric] of [
      [colours, 'valMeanAveragePrecision'],
      [greys, 'valR2'],
    ] as const) {
      const settings = {
        fineTune: { ...rest, epochs: 4, batchSize: 16 },
        trials: 3,
        threads: 1,
        minEpochs: 2,
      };
      const space = { learningRate: { low: 1e-4, high: 3e-2, log: true } };
      const folder = join(scratch, `search-${data.task}`);
      const found = await search(residual, data, { ...settings, space, folder });
      t.equal(found.metric, metric);
      t.same(
        found.trials.map(({ failure }) => failure),
        [undefined, undefined, undefined],
      );
      t.equal(found.best.value, Math.max(...found.trials.map(({ value }) => value as number)));
      t.match(searchTable(found), new RegExp(metric));
      t.match(await renderSearchChart(found), /<svg/);
      await using classifier = await loadClassifier(found.model, { threads: 1 });
      const { metrics } = await classifier.evaluateTargets(data);
      const value = isMultiLabel(metrics) ? metrics.meanAveragePrecision : metrics.r2;
      t.ok(Math.abs((value as number) - (found.best.value as number)) < 1e-4, 'the best model is kept');
      const again = await search(residual, data, { ...settings, space, folder, resume: true });
      t.same(again.trials, found.trials, 'nothing is trained twice');
      const odd = {
        ...settings,
        fineTune: { epochs: 1 },
        folder: join(scratch, 'odd'),
        space: { augment: ['none', 'strong'] },
      } as const;
      await t.rejects(search(residual, data, odd), {
        code: 'INVALID_VALUE',
        message: /^search: `space\.augment`: the data is .*mixup/,
      });
      const worse = { ...odd, space, fineTune: { ...rest, earlyStopping: { metric: 'valAccuracy' } } };
      await t.rejects(search(residual, data, worse), { code: 'INVALID_VALUE', message: /valAccuracy/ });
    }
  },
);

t.test('what is for images of one class alone is refused, with a way out', async (t) => {
  const cases: [FineTuneOptions, RegExp][] = [
    [
      { loss: 'crossEntropy' },
      /multi-label, and `loss` crossEntropy is for images of one class\. Use bceWithLogits/,
    ],
    [{ loss: 'mse' }, /`loss` mse/],
    [{ augment: 'strong' }, /mixup or cutmix mixes images of one class each\. Use `default`/],
    [{ sampler: 'balanced' }, /`sampler` balanced draws by class\. Leave it out/],
    [{ groups: 'site' }, /`groups` are a slice by class/],
    [{ distillation: {} }, /`distillation`.*Use `regularisation`/],
  ];
  for (const [given, message] of cases)
    t.throws(() => checkFineTuneOptions(given, 'multi-label'), { code: 'INVALID_VALUE', message });
  t.throws(() => checkFineTuneOptions({ head: { kind: 'cosine' } }, 'regression'), {
    message: /`head` cosine/,
  });
  t.throws(() => checkFineTuneOptions({ loss: 'bceWithLogits' }, 'regression'), {
    message: /Use mse or huber/,
  });
  t.same(checkFineTuneOptions({ loss: 'huber' }, 'regression').loss.kind, 'huber');
  t.same(checkFineTuneOptions({}).loss, { kind: 'crossEntropy', labelSmoothing: 0 }, 'one class as before');
  t.same(checkFineTuneOptions({ loss: 'crossEntropy' }).loss, checkFineTuneOptions({}).loss);

  const model = await open(t, residual, { threads: 2 });
  const refused = { code: 'DATA_INVALID', message: /is for one class an image, and this is multi-label/ };
  await t.rejects(transferCheck(model, colours), refused);
  await t.rejects(rankModels([residual], colours), refused);
  await t.rejects(wiseFt(model, model, colours), refused);
  const features = await extractFeatures(model, colours, {
    preprocessing: completePreprocessing({ size: 32, resize: 32 }),
    cache: 'memory',
  });
  await t.rejects(logisticProbe(features), { code: 'INVALID_VALUE', message: /is no class.*Multi-label/s });
  const { images } = await findNearDuplicates(colours);
  t.equal(images, 160, 'duplicates have no need of classes');

  await using classifier = await loadClassifier(join(scratch, 'colours.pt'), { threads: 2 });
  await t.rejects(classifier.evaluate(colours), refused);
  await t.rejects(classifier.evaluateTargets(greys), {
    code: 'DATA_INVALID',
    message: /model is multi-label and the data regression/,
  });
  await t.rejects(classifier.evaluateTargets(defects(6, 6)), {
    code: 'DATA_INVALID',
    message: /data single-label/,
  });
  await t.rejects(classifier.predict([], { tta: 'flip' }), { code: 'DATA_INVALID', message: /`tta`/ });
  await t.rejects(classifier.evaluateTargets(colours, { tta: 'flip' }), { code: 'INVALID_VALUE' });
  const stranger: ImageDataset = { ...colours, classes: ['blue', 'green', 'pink'] };
  await t.rejects(classifier.evaluateTargets(stranger), { message: /does not know pink/ });
  const turned: ImageDataset = {
    ...colours,
    classes: ['red', 'blue'],
    splits: {
      ...colours.splits,
      val: colours.splits.val.map(({ targets = [], ...sample }) => ({
        ...sample,
        targets: [targets[2] as number, targets[0] as number],
      })),
    },
  };
  const [first] = (await classifier.evaluateTargets(turned)).predictions;
  const { targets } = colours.splits.val[0] as Sample;
  t.same(first?.truth, [targets?.[0], 0, targets?.[2]], "by name, in the model's order; absent labels are 0");
  await t.rejects(
    createPredictor(join(scratch, 'colours.pt'), { precision: 'int8', calibration: colours }),
    refused,
  );
});
