/** Resuming gives the weights of the run that was never stopped, bit for bit, however it was stopped. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import t from 'tap';
import { type FineTuneOptions, fineTune, type Model } from '../src/index.js';
import { backbone, bitsOf, changed, defects, figures, fixtureModel, open, quick, train } from './defects.js';

const small = defects(20, 6);
/** Dropout, BatchNorm, random crops, a rate that changes at each step; the last epoch is judged best or not. */
const options = {
  ...quick,
  epochs: 5,
  strategy: 'full',
  augment: { horizontalFlip: 0.5, rotation: 10, brightness: 0.2 },
  schedule: 'onecycle',
  learningRate: 0.01,
  head: { hidden: [8], dropout: 0.3 },
} satisfies FineTuneOptions;

async function outcome(given: FineTuneOptions) {
  const model = await open(t);
  const run = fineTune(model, small, given);
  for await (const _ of run);
  const { baseline, history, best, ended } = run.result as NonNullable<typeof run.result>;
  return { bits: await bitsOf(model), reports: [baseline, ...history].map(figures), best: best.epoch, ended };
}

async function interrupted(checkpoint: string, given: FineTuneOptions, afterBatches: number) {
  const model = await open(t);
  const controller = new AbortController();
  let batches = 0;
  const stopping: FineTuneOptions = {
    ...given,
    checkpoint,
    resume: true,
    signal: controller.signal,
    onBatch: () => ++batches === afterBatches && controller.abort(),
  };
  await t.rejects(train(model, small, stopping), { code: 'ABORTED' });
}

const whole = outcome(options);

t.test('aborted within epochs and between, then resumed', async (t) => {
  const checkpoint = join(t.testdir(), 'checkpoint.pt');
  // A baseline is 2 batches, an epoch 5 and 2: stops in epoch 1, in the validation of 2, in epoch 4.
  for (const batches of [4, 9, 12]) await interrupted(checkpoint, options, batches);
  t.same(await outcome({ ...options, checkpoint, resume: true }), await whole);
  const after = await outcome({ ...options, checkpoint, resume: true });
  t.same(after, await whole, 'a finished run resumes to its end');
});

t.test('aborted with an accumulation under way', async (t) => {
  const given = { ...options, accumulate: 2, epochs: 2 };
  const checkpoint = join(t.testdir(), 'checkpoint.pt');
  for (const batches of [3, 5]) await interrupted(checkpoint, given, batches);
  t.same(await outcome({ ...given, checkpoint, resume: true }), await outcome(given));
});

t.test('a run goes on with more epochs', async (t) => {
  const folder = t.testdir();
  // With a rate that knows nothing of the end, the longer run is the one that was planned so.
  const constant = { ...options, schedule: 'constant' } as const;
  const checkpoint = join(folder, 'constant.pt');
  for (const epochs of [2, 2, 4]) await outcome({ ...constant, epochs, checkpoint, resume: true });
  const raised = await outcome({ ...constant, epochs: 4, checkpoint, resume: true });
  t.same(raised, await outcome({ ...constant, epochs: 4 }));

  // A schedule that spans the run is the longer run's from there on.
  const cosine = {
    ...options,
    schedule: 'cosine',
    epochs: 2,
    checkpoint: join(folder, 'cosine.pt'),
  } as const;
  const before = await outcome(cosine);
  const model = await open(t);
  const run = fineTune(model, small, { ...cosine, epochs: 6, resume: true });
  const rates: number[] = [];
  for await (const { learningRate } of run) rates.push(learningRate);
  const { history } = run.result as NonNullable<typeof run.result>;
  t.same(history.slice(0, 2).map(figures), before.reports.slice(1), 'what was trained stays');
  const whole = await outcome({ ...options, schedule: 'cosine', epochs: 6 });
  t.same(
    rates,
    whole.reports.slice(3).map(({ learningRate }) => learningRate),
    'epochs 3 to 6 have the rates of a run of 6',
  );
  t.match(run.decisions, [/^resumed after 2 epochs with 6 in place of 2: .*rises again/]);
  const again = fineTune(await open(t), small, { ...cosine, epochs: 7, resume: true });
  for await (const _ of again);
  t.match(
    again.decisions,
    [/^resumed after 2 epochs with 6 in/, /^resumed after 6 epochs with 7 in/],
    'both are told',
  );
  await t.rejects(
    outcome({ ...cosine, epochs: 5, resume: true }),
    { code: 'CHECKPOINT_INVALID', message: /another `epochs` \(7, now 5\).*more epochs are allowed/ },
    'fewer would throw training away',
  );
});

t.test('strategies of several stages go on with more epochs', async (t) => {
  for (const strategy of ['lp-ft', 'gradual', 'auto'] as const) {
    const checkpoint = join(t.testdir(), `${strategy}.pt`);
    const probe = strategy === 'gradual' ? {} : { probeEpochs: 1 };
    const given = { ...quick, strategy, epochs: 2, ...probe, checkpoint, cache: 'memory' } as const;
    const first = await outcome(given);
    const more = await outcome({ ...given, epochs: 4, resume: true });
    t.same(more.reports.slice(0, first.reports.length), first.reports, strategy);
    t.ok(more.reports.length >= first.reports.length, strategy);
    if (strategy !== 'auto') t.equal(more.reports.length, first.reports.length + 2, strategy);
  }
});

t.test('a run that has stopped early does not go on', async (t) => {
  const checkpoint = join(t.testdir(), 'checkpoint.pt');
  const given: FineTuneOptions = {
    ...options,
    earlyStopping: { metric: 'valLoss', patience: 1, minDelta: 100 },
  };
  const first = await outcome({ ...given, checkpoint });
  t.equal(first.ended, 'early');
  t.same(await outcome({ ...given, checkpoint, resume: true }), first);
});

/** Trains in a process of its own, which says each batch, and whether it came to the end. */
function startChild(checkpoint: string): ChildProcess {
  const url = (name: string) => JSON.stringify(new URL(name, import.meta.url).href);
  const code = `
    const { fineTune, loadModel } = await import(${url('../src/index.js')});
    const { defects, residual } = await import(${url('./defects.js')});
    const model = await loadModel(residual, { device: 'cpu', threads: 1 });
    const onBatch = () => console.log('batch');
    const options = { ...${JSON.stringify(options)}, checkpoint: ${JSON.stringify(checkpoint)}, resume: true, onBatch };
    for await (const _ of fineTune(model, defects(20, 6), options)) console.log('epoch');
    console.log('done');
    await model.dispose();`;
  return spawn(process.execPath, [...process.execArgv, '--input-type=module', '--eval', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}

t.test('killed at random moments, then resumed', async (t) => {
  const checkpoint = join(t.testdir(), 'checkpoint.pt');
  for (let kill = 0; kill < 4; kill++) {
    const child = startChild(checkpoint);
    // The checkpoint of the baseline is written before the third.
    const batches = 3 + Math.floor(Math.random() * 9);
    const delay = Math.random() * 40;
    t.comment(`kill ${kill + 1}: ${delay.toFixed(0)} ms after ${batches} batches`);
    let seen = 0;
    for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
      if (line === 'batch' && ++seen === batches) setTimeout(() => child.kill('SIGKILL'), delay);
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    t.ok(existsSync(checkpoint), 'a checkpoint is there');
  }
  t.same(await outcome({ ...options, checkpoint, resume: true }), await whole);
});

t.test('a checkpoint that is damaged or of something else is refused', async (t) => {
  const folder = t.testdir();
  const good = join(folder, 'good.pt');
  const checkpoint = join(folder, 'checkpoint.pt');
  await train(await open(t), small, { ...options, epochs: 1, checkpoint: good });
  const bytes = readFileSync(good);
  const resume = async (given: FineTuneOptions = {}) => {
    const model = await open(t);
    await train(model, small, { ...options, epochs: 1, checkpoint, resume: true, ...given });
  };
  for (const share of [0, 0.3, 0.9, 0.999]) {
    writeFileSync(checkpoint, bytes.subarray(0, Math.floor(bytes.length * share)));
    await t.rejects(resume(), { code: 'CHECKPOINT_INVALID', message: /checkpoint\.pt/ }, `cut at ${share}`);
  }
  copyFileSync(backbone, checkpoint);
  await t.rejects(resume(), { code: 'CHECKPOINT_INVALID', message: /not a checkpoint/ });
  copyFileSync(good, checkpoint);
  for (const [name, given, message] of [
    ['learningRate', { learningRate: 0.02 }, /another `learningRate` \(0\.01, now 0\.02\)/],
    ['seed', { seed: 1 }, /another `seed` \(0, now 1\)/],
    ['clipNorm', { clipNorm: 2 }, /another `clipNorm` \(undefined, now 2\)/],
    ['earlyStopping', { earlyStopping: { metric: 'valLoss' } }, /another `earlyStopping`/],
  ] as const) {
    await t.rejects(resume(given), { code: 'CHECKPOINT_INVALID', message }, name);
  }
  await t.rejects(resume({ head: { hidden: [9], dropout: 0.3 } }), { code: 'CHECKPOINT_INVALID' });
  await t.rejects(train(await open(t), defects(16, 6), { ...options, epochs: 1, checkpoint, resume: true }), {
    code: 'CHECKPOINT_INVALID',
    message: /another `data`/,
  });
  await t.resolves(resume({ threads: 2 }), 'how many threads decode is not part of the recipe');
});

t.test(
  'a checkpoint of another model is refused before anything is done, and says how it differs',
  async (t) => {
    const folder = t.testdir();
    const checkpoint = join(folder, 'checkpoint.pt');
    const given = { ...quick, checkpoint };
    const first = await open(t);
    await train(first, small, given);
    const resume = (model: Model, more: FineTuneOptions = {}) =>
      train(model, small, { ...given, ...more, resume: true });

    const architecture = await open(t, fixtureModel('plain'));
    const before = await bitsOf(architecture);
    await t.rejects(resume(architecture), {
      code: 'CHECKPOINT_INVALID',
      message:
        /began with residual\.pt, and this is plain\.pt: \d+ of \d+ parameters differ, for example `[\w.]+` was .* and is .*same model/,
    });
    t.same(changed(before, await bitsOf(architecture)), [], 'it has no new head either');

    const weights = await open(t);
    await weights.reinitialise(3);
    const file = join(folder, 'other.pt');
    await weights.save(file);
    await t.rejects(resume(await open(t, file)), {
      code: 'CHECKPOINT_INVALID',
      message: /began with residual\.pt, and this is other\.pt: the same layers, with other weights/,
    });

    await t.resolves(resume(first), 'the model that has learnt since will do: the checkpoint replaces it');
    const copied = join(folder, 'copied.pt');
    await (await open(t)).save(copied);
    await t.resolves(resume(await open(t, copied)), 'and so will a copy');
  },
);

t.test('what went wrong first is told, whatever goes wrong after it', async (t) => {
  const model = await open(t);
  const fails = () => Promise.reject(new Error('and so did this'));
  Object.defineProperty(model.native, 'restoreBest', { value: fails, configurable: true });
  const onBatch = () => {
    throw new Error('this failed first');
  };
  await t.rejects(train(model, small, { ...quick, onBatch }), { message: 'this failed first' });
  await t.rejects(train(model, small, quick), { message: 'and so did this' }, 'alone it is told');
});

t.test('a checkpoint is no model of a classifier, and says so', async (t) => {
  const checkpoint = join(t.testdir(), 'checkpoint.pt');
  await train(await open(t), small, { ...quick, checkpoint });
  const { loadClassifier } = await import('../src/index.js');
  await t.rejects(loadClassifier(checkpoint), { code: 'MODEL_UNREADABLE', message: /is a checkpoint/ });
});
