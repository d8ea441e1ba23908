/** Strategies of several stages, run: the cut moves, state survives, and a stopped run resumes to the same bits. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type FineTuneOptions, type FineTuneResult, fineTune, type ImageDataset } from '../src/index.js';
import { replaced } from './archive/archives.js';
import { backbone, bitsOf, changed, defects, figures, open, quick, train } from './defects.js';

const small = defects(20, 6);
/** 5 batches an epoch and 2 a validation; dropout, BatchNorm, augmentation, a rate that changes at each step. */
const lively = {
  ...quick,
  augment: { horizontalFlip: 0.5, rotation: 10 },
  learningRate: 0.01,
  cache: 'memory',
} satisfies FineTuneOptions;

async function outcome(options: FineTuneOptions, data: ImageDataset = small) {
  const model = await open(t);
  const run = fineTune(model, data, options);
  for await (const _ of run);
  const result = run.result as FineTuneResult;
  const { baseline, history, best, ended, stages, decisions } = result;
  return {
    bits: await bitsOf(model),
    reports: [baseline, ...history].map((report) => ({ ...figures(report), stage: report.stage })),
    best: best.epoch,
    ...{ ended, stages, decisions },
  };
}

/** Trains with a checkpoint, and is aborted after so many batches, of training and validation. */
async function abortAfter(batches: number, checkpoint: string, options: FineTuneOptions) {
  const controller = new AbortController();
  let seen = 0;
  const stopping: FineTuneOptions = {
    ...options,
    ...{ checkpoint, resume: true, signal: controller.signal },
    onBatch: () => ++seen === batches && controller.abort(),
  };
  await t.rejects(train(await open(t), small, stopping), { code: 'ABORTED' });
}

/** Trains with a checkpoint, and leaves the loop after each epoch. Returns how often. */
async function leaveAfterEach(checkpoint: string, options: FineTuneOptions): Promise<number> {
  for (let left = 0; ; left++) {
    const run = fineTune(await open(t), small, { ...options, checkpoint, resume: true });
    let isLeft = false;
    for await (const _ of run) {
      isLeft = run.result?.ended !== 'finished';
      if (isLeft) break;
    }
    if (!isLeft) return left;
  }
}

/** A checkpoint's weights as a model: without its session it is one. */
function weightsOf(checkpoint: string): string {
  const session = { 'extra/torchgraft.session': undefined, 'extra/torchgraft.json': undefined };
  const path = checkpoint.replace('.pt', '.model.pt');
  writeFileSync(path, replaced(readFileSync(checkpoint), session));
  return path;
}

const gradual: FineTuneOptions = { ...lively, strategy: 'gradual', epochs: 5 };

t.test('gradual: the cut moves, lower layers join, the optimizer goes on', async (t) => {
  const before = await bitsOf(await open(t));
  // A checkpoint has the weights of the last epoch, whichever was the best.
  const checkpoint = join(t.testdir(), 'checkpoint.pt');
  const lastBits = async (options: FineTuneOptions) => {
    const { reports, stages } = await outcome({ ...options, checkpoint });
    return { reports, stages, bits: await bitsOf(await open(t, weightsOf(checkpoint))) };
  };
  const { reports, stages, bits } = await lastBits(gradual);
  t.same(
    reports.map(({ stage }) => stage),
    [null, 1, 2, 3, 4, 4].map((number) => (number === null ? null : `unfreeze ${number} of 4`)),
  );
  t.same(
    stages.map(({ firstEpoch, epochs, frozenLayers }) => [firstEpoch, epochs, frozenLayers]),
    [
      [1, 1, 6],
      [2, 1, 4],
      [3, 1, 2],
      [4, 2, 0],
    ],
  );
  t.same(
    stages.map(({ learning }) => learning),
    [2, 5, 8, 11],
  );
  t.ok(changed(before, bits).includes('conv1.weight'), 'the lowest has learned at the end');
  const single = await lastBits({ ...gradual, stages: 2, epochs: 1 });
  t.ok(changed(before, single.bits).includes('fc.weight'), 'the head has learned after one epoch');
  t.notOk(changed(before, single.bits).includes('conv1.weight'), 'and the lowest has not');
});

t.test('gradual: one stage of the head begins as strategy head does', async (t) => {
  const first = await outcome({ ...gradual, epochs: 2, stages: 2, schedule: 'constant' });
  const head = await outcome({ ...gradual, epochs: 1, strategy: 'head', schedule: 'constant' });
  t.same(first.reports[1]?.metrics, head.reports[1]?.metrics);
});

for (const unfreezeEvery of [1, 2, 'plateau'] as const) {
  t.test(
    `gradual, a group every ${unfreezeEvery}: left after each epoch, aborted within, resumed`,
    async (t) => {
      const options: FineTuneOptions = { ...gradual, unfreezeEvery, epochs: 6 };
      const whole = await outcome(options);
      const folder = t.testdir();
      const left = join(folder, 'left.pt');
      t.equal(await leaveAfterEach(left, options), 5);
      t.same(await outcome({ ...options, checkpoint: left, resume: true }), whole, 'left');
      const aborted = join(folder, 'aborted.pt');
      // A baseline is 2 batches, an epoch 7: within epochs 1, 2 (validation), 4, and right after a stage began.
      for (const batches of [4, 9, 10, 1]) await abortAfter(batches, aborted, options);
      t.same(await outcome({ ...options, checkpoint: aborted, resume: true }), whole, 'aborted');
    },
  );
}

t.test('patience ends a stage, and the run in the last', async (t) => {
  const earlyStopping = { metric: 'valLoss', patience: 1, minDelta: 100 };
  const { reports, ended } = await outcome({ ...gradual, unfreezeEvery: 5, epochs: 20, earlyStopping });
  t.same(
    reports.map(({ stage }) => stage?.slice(0, 10)),
    [undefined, 'unfreeze 1', 'unfreeze 2', 'unfreeze 3', 'unfreeze 4'],
  );
  t.equal(ended, 'early');
});

t.test('lp-ft: the probe, then everything from its head', async (t) => {
  const options: FineTuneOptions = { ...lively, strategy: 'lp-ft', epochs: 2, probeEpochs: 2 };
  const whole = await outcome(options);
  t.match(whole.stages, [
    { name: 'probe', optimizer: 'lbfgs', frozenLayers: 6, firstEpoch: 1 },
    { name: 'fine-tune', optimizer: 'adamw', frozenLayers: 0, learning: 11 },
  ]);
  const probe = whole.stages[0]?.epochs ?? 0;
  t.equal(whole.reports.length, 1 + probe + 2);
  t.same(
    whole.reports.map(({ stage }) => stage),
    [null, ...Array(probe).fill('probe'), 'fine-tune', 'fine-tune'],
  );
  const folder = t.testdir();
  const left = join(folder, 'left.pt');
  await leaveAfterEach(left, options);
  t.same(await outcome({ ...options, checkpoint: left, resume: true }), whole, 'left after each epoch');
  const aborted = join(folder, 'aborted.pt');
  // An L-BFGS epoch is one batch; a validation of kept features two.
  for (const batches of [3, 6, 4]) await abortAfter(batches, aborted, options);
  t.same(await outcome({ ...options, checkpoint: aborted, resume: true }), whole, 'aborted within epochs');
});

t.test('lp-ft without kept features: the probe takes the run’s optimizer, resumed too', async (t) => {
  const options: FineTuneOptions = {
    ...lively,
    strategy: 'lp-ft:last:2',
    epochs: 1,
    probeEpochs: 2,
    split: false,
  };
  const whole = await outcome(options);
  t.same(
    whole.stages.map(({ name, optimizer, epochs, learning }) => [name, optimizer, epochs, learning]),
    [
      ['probe', 'adamw', 2, 2],
      ['fine-tune', 'adamw', 1, 5],
    ],
  );
  const checkpoint = join(t.testdir(), 'checkpoint.pt');
  for (const batches of [5, 7, 4]) await abortAfter(batches, checkpoint, options);
  t.same(await outcome({ ...options, checkpoint, resume: true }), whole);
});

t.test('auto: stops at a probe that leaves nothing to win, and says so', async (t) => {
  // The probe knows these images by heart.
  const data = { ...small, splits: { train: small.splits.train, val: small.splits.train } };
  const options: FineTuneOptions = { ...lively, strategy: 'auto', preprocessing: { size: 64, resize: 64 } };
  const run = fineTune(await open(t, backbone), data, options);
  for await (const _ of run);
  const { stages, decisions, ended, history } = run.result as FineTuneResult;
  t.same(
    stages.map(({ name }) => name),
    ['probe'],
  );
  t.match(decisions, [/^auto: stopped at the probe: the probe is wrong on [0-3] of 20 validation images/]);
  t.equal(ended, 'finished');
  t.ok(history.every(({ stage }) => stage === 'probe'));
});

t.test('auto: never worse than the probe or the untouched model, resumed at any point', async (t) => {
  const options: FineTuneOptions = { ...lively, strategy: 'auto', epochs: 4, probeEpochs: 2 };
  const data = defects(20, 30);
  const run = async (given: FineTuneOptions) => outcome(given, data);
  const whole = await run(options);
  const values = whole.reports.map(({ metrics }) => metrics.valMacroF1 as number);
  t.equal(values[whole.best], Math.max(...values));
  t.ok(whole.stages.length >= 2, 'a network of noise has something left to win');
  t.equal(whole.decisions.length, whole.stages.length === 2 ? 2 : 2);
  t.match(whole.decisions[0], /so fine-tuning is tried/);
  const folder = t.testdir();
  for (const epochs of [1, 2, 3, 4]) {
    const checkpoint = join(folder, `${epochs}.pt`);
    const stopped = fineTune(await open(t), data, { ...options, checkpoint });
    let seen = 0;
    for await (const _ of stopped) if (++seen === epochs) break;
    t.same(await run({ ...options, checkpoint, resume: true }), whole, `left after epoch ${epochs}`);
  }
});

t.test('the card tells how it came about', async (t) => {
  const model = await open(t);
  const run = fineTune(model, small, { ...lively, strategy: 'auto', epochs: 1 });
  for await (const _ of run);
  const { stages, decisions } = run.result as FineTuneResult;
  t.match(model.card?.provenance, {
    stages: [{ name: 'probe', optimizer: 'lbfgs' }, { name: 'trial' }],
    decisions,
  });
  t.same(JSON.parse(JSON.stringify(stages)), stages, 'plain JSON');
});

t.test('auto ends with its probe where fine-tuning diverges; other strategies throw', async (t) => {
  const wild = { ...lively, learningRate: 1e18, clipNorm: 1e30, epochs: 4, augment: 'none' } as const;
  const { history, best, ended, decisions } = await (async () => {
    const run = fineTune(await open(t), small, { ...wild, strategy: 'auto' });
    for await (const _ of run);
    return run.result as FineTuneResult;
  })();
  t.equal(ended, 'early');
  t.match(decisions.at(-1), /^auto: stopped at the best weights so far, since the trial diverged: The /);
  t.ok(best.epoch <= history.filter(({ stage }) => stage === 'probe').length, 'no later epoch is kept');
  await t.rejects(train(await open(t), small, { ...wild, strategy: 'full' }), { code: 'LOSS_NOT_FINITE' });
});
