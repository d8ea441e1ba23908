/** The loop: it learns, it repeats itself, it stops when told, and it ends with the best weights. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  completePreprocessing,
  type EpochReport,
  type FineTuneOptions,
  type FineTuneResult,
  fineTune,
  type Sample,
} from '../src/index.js';
import { backbone, bitsOf, changed, defects, figures, open, quick, train } from './defects.js';

const small = defects(12, 6);

t.test('overfits 8 images', async (t) => {
  const model = await open(t, backbone, { threads: 2 });
  const data = defects(8, 8);
  const options = {
    ...quick,
    strategy: 'full',
    learningRate: 3e-3,
    schedule: 'constant',
    batchSize: 8,
  } as const;
  const reports = await train(
    model,
    { ...data, splits: { train: data.splits.train, val: data.splits.train } },
    {
      ...options,
      epochs: 20,
      preprocessing: { size: 96, resize: 96 },
    },
  );
  t.equal(reports.at(-1)?.trainAccuracy, 1);
  t.equal(reports.at(-1)?.validation.accuracy, 1, 'in eval mode too');
  t.ok((reports.at(-1)?.trainLoss as number) < 0.1, `loss ${reports.at(-1)?.trainLoss}`);
});

t.test(
  'the same seed gives the same numbers, with any number of decoders; another seed others',
  async (t) => {
    const run = async (seed: number, threads: number) => {
      const model = await open(t);
      const options = { ...quick, epochs: 2, strategy: 'full', augment: 'default', seed, threads } as const;
      return { reports: (await train(model, small, options)).map(figures), bits: await bitsOf(model) };
    };
    const first = await run(5, 1);
    t.same(await run(5, 3), first);
    const other = await run(6, 1);
    t.notSame(
      other.reports.map(({ trainLoss }) => trainLoss),
      first.reports.map(({ trainLoss }) => trainLoss),
    );
  },
);

t.test('leaving the loop stops training and leaves the best weights, ready to be used', async (t) => {
  const model = await open(t);
  let batches = 0;
  const run = fineTune(model, small, { ...quick, epochs: 50, strategy: 'full', onBatch: () => batches++ });
  t.equal(run.result, undefined);
  const seen: EpochReport[] = [];
  let bits = {};
  for await (const epoch of run) {
    seen.push(epoch);
    if (epoch.isBest || seen.length === 1) bits = await bitsOf(model);
    if (seen.length === 2) break;
  }
  const done = batches;
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.equal(batches, done, 'no batch after the loop');
  const { result } = run;
  t.equal(result?.ended, 'left');
  t.same(result?.history, seen);
  t.equal(result?.preprocessing.size, 32);
  if (result?.best.epoch !== 0) t.same(changed(bits, await bitsOf(model)), [], 'the best weights are back');
  const blank = { data: new Float32Array(3 * 32 * 32), shape: [1, 3, 32, 32], dtype: 'float32' as const };
  t.match(await model.forward([blank]), { shape: [1, 6] });
  t.same(model.card?.classes, small.classes);
  await t.rejects(
    async () => {
      for await (const _ of run) t.fail('a run is iterated once');
    },
    { code: 'INVALID_VALUE' },
  );
});

/** Two classes, of which both are always among the two likeliest: `valTop2` is 1 in every epoch. */
const always = (() => {
  const { classes, splits, summary } = defects(36, 12);
  const two = (samples: Sample[]) => samples.filter(({ label }) => label < 2);
  const data = { classes: classes.slice(0, 2), splits: { train: two(splits.train), val: two(splits.val) } };
  return { ...data, warnings: [], summary: { ...summary, classes: data.classes } };
})();

t.test(
  'of epochs that are equal by the metric the one with the lowest validation loss is kept',
  async (t) => {
    const options = {
      ...{ ...quick, epochs: 6, strategy: 'full', learningRate: 0.02, schedule: 'constant' },
      earlyStopping: { metric: 'valTop2' },
    } satisfies FineTuneOptions;
    const whole = await fineTune(await open(t), always, options);
    const reports = [whole.baseline, ...whole.history];
    t.same(new Set(reports.map(({ metrics }) => metrics.valTop2)), new Set([1]));
    const losses = reports.map(({ validation }) => validation.loss);
    t.equal(whole.best.epoch, losses.indexOf(Math.min(...losses)));
    t.not(whole.best.epoch, 0, `losses ${losses}`);

    const checkpoint = join(t.testdir(), 'checkpoint.pt');
    let result: FineTuneResult | undefined;
    // Left after each epoch, and gone on with.
    for (let epoch = 0; epoch < 6; epoch++) {
      const run = fineTune(await open(t), always, { ...options, checkpoint, resume: true });
      for await (const _ of run) break;
      result = await run;
    }
    t.same(result?.best.metrics, whole.best.metrics);
    t.equal(result?.best.epoch, whole.best.epoch);
  },
);

t.test('gradual on a plateau: of epochs that are equal by the metric a lower loss is better', async (t) => {
  const { history } = await fineTune(await open(t), always, {
    ...{ ...quick, epochs: 8, strategy: 'gradual', unfreezeEvery: 'plateau', stages: 2, learningRate: 0.01 },
    earlyStopping: { metric: 'valTop2' },
  });
  const first = history
    .filter(({ stage }) => stage === 'unfreeze 1 of 2')
    .map(({ validation }) => validation.loss);
  const isLower = first.map((loss, epoch) => first.slice(0, epoch).every((before) => loss < before));
  const isWhole = first.length === history.length;
  t.same(
    isLower,
    first.map((_, epoch) => isWhole || epoch < first.length - 1),
    `losses ${first}`,
  );
  t.ok(first.length > 2, 'a tie alone does not end a stage');
});

t.test('one loop at a time on a model', async (t) => {
  const model = await open(t);
  for await (const _ of fineTune(model, small, { ...quick, epochs: 3 })) {
    await t.rejects(train(model, small, quick), { code: 'BUSY', message: /being fine-tuned/ });
    break;
  }
  t.equal((await train(model, small, quick)).length, 1, 'and then the next');
});

t.test('an AbortSignal stops within a batch, and a checkpoint is left', async (t) => {
  for (const [phase, after] of [
    ['train', 5],
    ['validate', 7],
  ] as const) {
    const model = await open(t);
    const checkpoint = join(t.testdir(), 'checkpoint.pt');
    const controller = new AbortController();
    let batches = 0;
    const run = fineTune(model, small, {
      ...quick,
      epochs: 4,
      batchSize: 3,
      checkpoint,
      signal: controller.signal,
      onBatch: (batch) => {
        // Of the baseline are 2 batches, then come 4 of training and 2 of validation.
        if (++batches === after) {
          t.equal(batch.phase, phase);
          controller.abort(new Error('enough'));
        }
      },
    });
    const aborted = (async () => {
      for await (const _ of run) t.fail('no epoch is finished');
    })();
    await t.rejects(aborted, { code: 'ABORTED', cause: { message: 'enough' } });
    t.equal(batches, after, 'no batch after the abort');
    t.ok(existsSync(checkpoint));
    t.equal(run.result?.best.epoch, 0);
    t.equal(run.result?.ended, 'left');
  }
  const model = await open(t);
  const before = await bitsOf(model);
  await t.rejects(train(model, small, { ...quick, signal: AbortSignal.abort() }), { code: 'ABORTED' });
  t.same(changed(before, await bitsOf(model)), [], 'aborted before it began: the model is as it was');
});

t.test('best may be the model before the first step: then its weights are back, bit for bit', async (t) => {
  const model = await open(t);
  await train(model, small, { ...quick, strategy: 'full' });
  const before = await bitsOf(model);
  const metric = { metric: 'valLoss' };
  const run = fineTune(model, small, {
    ...quick,
    strategy: 'full',
    optimizer: 'sgd',
    learningRate: 20,
    schedule: 'constant',
    earlyStopping: metric,
    clipNorm: 1,
    epochs: 2,
  });
  const losses: number[] = [];
  for await (const { validation, isBest } of run) {
    losses.push(validation.loss);
    t.equal(isBest, false);
  }
  const { result } = run;
  t.ok(
    losses.every((loss) => loss > (result?.baseline.validation.loss as number)),
    `${losses}`,
  );
  t.equal(result?.best.epoch, 0);
  t.equal(result?.best, result?.baseline);
  t.equal(result?.baseline.isBest, true);
  t.same(changed(before, await bitsOf(model)), []);
});

t.test('early stopping ends a run whose metric does not get better', async (t) => {
  const model = await open(t);
  const run = fineTune(model, small, {
    ...quick,
    epochs: 30,
    earlyStopping: { metric: 'valLoss', patience: 2, minDelta: 100 },
  });
  let epochs = 0;
  for await (const _ of run) epochs++;
  // Nothing gets better by 100: patience counts from epoch 1.
  t.equal(epochs, 2);
  t.equal(run.result?.ended, 'early');
});

t.test('the best epoch by calibration has the smallest error, by area the largest', async (t) => {
  for (const [metric, better] of [
    ['valEce', Math.min],
    ['valRocAuc', Math.max],
  ] as const) {
    const model = await open(t);
    const run = fineTune(model, small, {
      ...quick,
      epochs: 4,
      strategy: 'full',
      earlyStopping: { metric },
    });
    for await (const _ of run);
    const { baseline, history, best } = run.result as FineTuneResult;
    const values = [baseline, ...history].map(({ metrics }) => metrics[metric] as number);
    t.ok(new Set(values).size > 1, `${metric} changes: ${values}`);
    t.equal(best.epoch, values.indexOf(better(...values)), `${metric}: ${values}`);
  }
});

t.test('a metric that is undefined throughout picks no epoch: the last weights stay', async (t) => {
  const model = await open(t);
  const { train: learned, val } = small.splits;
  const absent = small.classes[0];
  const data = { ...small, splits: { train: learned, val: val.filter(({ label }) => label !== 0) } };
  const run = fineTune(model, data, {
    ...quick,
    epochs: 2,
    strategy: 'full',
    schedule: { kind: 'plateau', metric: `valRocAuc:${absent}`, patience: 0 },
    earlyStopping: { metric: `valRocAuc:${absent}` },
  });
  for await (const { isBest, metrics, validation } of run) {
    t.equal(isBest, false);
    t.equal(metrics[`valRocAuc:${absent}`], null);
    t.equal(validation.perClass[0]?.rocAuc, null);
    t.type(validation.rocAuc, 'number', 'the mean of the others');
  }
  const { best, history } = run.result as FineTuneResult;
  t.equal(best, history[1]);
  t.equal(
    best.learningRate,
    (history[0]?.learningRate as number) / 10,
    'undefined is no improvement for plateau',
  );
  t.equal(model.card?.metrics.bestEpoch, 2);
});

t.test('a run that is judged by a training metric starts at epoch 1', async (t) => {
  const model = await open(t);
  const run = fineTune(model, small, { ...quick, epochs: 2, earlyStopping: { metric: 'trainLoss' } });
  for await (const _ of run);
  t.ok((run.result?.best.epoch as number) > 0);
});

t.test('reports carry what the loop promises', async (t) => {
  const model = await open(t);
  const progress: string[] = [];
  const run = fineTune(model, small, {
    ...quick,
    epochs: 2,
    batchSize: 5,
    onBatch: ({ phase, epoch, done, total }) => progress.push(`${phase} ${epoch} ${done}/${total}`),
  });
  const reports: EpochReport[] = [];
  for await (const report of run) reports.push(report);
  t.same(progress, [
    'validate 0 5/6',
    'validate 0 6/6',
    ...[1, 2].flatMap((epoch) => [
      `train ${epoch} 5/12`,
      `train ${epoch} 10/12`,
      `train ${epoch} 12/12`,
      `validate ${epoch} 5/6`,
      `validate ${epoch} 6/6`,
    ]),
  ]);
  t.same(
    reports.map(({ epoch }) => epoch),
    [1, 2],
  );
  t.match(run.baseline, { epoch: 0, trainLoss: null, trainAccuracy: null, imagesPerSecond: 0 });
  for (const { seconds, trainSeconds, imagesPerSecond, validation, metrics, trainLoss } of reports) {
    t.ok(trainSeconds > 0 && trainSeconds < seconds);
    t.ok(Math.abs(imagesPerSecond - 12 / trainSeconds) < 1e-6 * imagesPerSecond);
    t.equal(validation.count, 6);
    t.equal(metrics.valMacroF1, validation.macro.f1);
    t.equal(metrics.trainLoss, trainLoss);
  }
  t.same(JSON.parse(JSON.stringify(reports)), reports, 'plain JSON');
  t.same(run.result?.preprocessing, completePreprocessing(quick.preprocessing));
});
