/** A run is awaited as a promise is: it trains to its end, or says how the iteration ended. */
import { join } from 'node:path';
import t from 'tap';
import { type FineTuneOptions, type FineTuneResult, fineTune, loadClassifier } from '../src/index.js';
import { bitsOf, defects, figures, open, quick } from './defects.js';

const small = defects(12, 6);
const options = { ...quick, epochs: 2 } satisfies FineTuneOptions;
const told = ({ baseline, history, best, ended }: FineTuneResult) => ({
  reports: [baseline, ...history].map(figures),
  ...{ best: best.epoch, ended },
});

t.test('awaited without a loop it trains to the end', async (t) => {
  const iterated = await open(t);
  const run = fineTune(iterated, small, options);
  for await (const _ of run);
  const model = await open(t);
  const result = await fineTune(model, small, options);
  t.same(told(result), told(run.result as FineTuneResult));
  t.same(await bitsOf(model), await bitsOf(iterated));
  t.equal(result.ended, 'finished');
  const file = join(t.testdir(), 'model.pt');
  await model.save(file);
  await using classifier = await loadClassifier(file);
  t.same(classifier.classes, small.classes);
});

t.test('nothing is trained before it is asked for', async (t) => {
  const model = await open(t);
  const before = await bitsOf(model);
  const run = fineTune(model, small, options);
  await new Promise((resolve) => setImmediate(resolve));
  t.same(await bitsOf(model), before);
  t.equal(run.result, undefined);
});

t.test('awaited after its loop it gives the result, however often', async (t) => {
  const run = fineTune(await open(t), small, options);
  for await (const _ of run) break;
  const result = await run;
  t.same(result, run.result);
  t.equal(result.ended, 'left');
  t.equal(result.history.length, 1);
  t.equal(await run, result, 'the same each time');
});

t.test('awaited beside its loop it waits for the end', async (t) => {
  const run = fineTune(await open(t), small, options);
  const watch = async () => {
    let epochs = 0;
    for await (const _ of run) epochs++;
    return epochs;
  };
  const [epochs, result] = await Promise.all([watch(), run]);
  t.equal(epochs, 2);
  t.equal(result.ended, 'finished');
});

t.test('awaited in the body of its loop it says that it would wait for itself', async (t) => {
  const run = fineTune(await open(t), small, options);
  let epochs = 0;
  for await (const _ of run) {
    epochs++;
    await t.rejects(Promise.resolve(run), { code: 'BUSY', message: /behind the loop/ });
  }
  t.equal(epochs, 2, 'and goes on');
});

t.test('returned by an async function it is waited for', async (t) => {
  const model = await open(t);
  const start = async () => fineTune(model, small, options);
  const result: FineTuneResult = await start();
  t.equal(result.history.length, 2);
  const leave = async () => {
    const run = fineTune(model, small, options);
    for await (const _ of run) return run;
    throw new Error('no epoch');
  };
  t.equal((await leave()).ended, 'left', 'also out of its loop, which has ended then');
});

t.test('an error is the same for everybody who waits', async (t) => {
  const model = await open(t);
  const onBatch = () => {
    throw new Error('mine');
  };
  const awaited = fineTune(model, small, { ...options, onBatch });
  const [first, second] = await Promise.allSettled([awaited, awaited]);
  t.match(first, { status: 'rejected', reason: { message: 'mine' } });
  t.same(second, first);
  await t.rejects(Promise.resolve(awaited), { message: 'mine' }, 'later too');
  t.equal(await awaited.catch(({ message }) => message), 'mine');

  const iterated = fineTune(model, small, { ...options, onBatch });
  await t.rejects(
    async () => {
      for await (const _ of iterated);
    },
    { message: 'mine' },
  );
  await t.rejects(Promise.resolve(iterated), { message: 'mine' }, 'after its loop');
  let isSettled = false;
  const settled = iterated.finally(() => {
    isSettled = true;
  });
  await t.rejects(settled, { message: 'mine' });
  t.ok(isSettled);
});

t.test('an AbortSignal stops it, and the model is free again', async (t) => {
  const model = await open(t);
  const controller = new AbortController();
  const { signal } = controller;
  const run = fineTune(model, small, { ...options, epochs: 50, signal, onBatch: () => controller.abort() });
  await t.rejects(Promise.resolve(run), { code: 'ABORTED' });
  const early = fineTune(model, small, { ...options, signal });
  await t.rejects(Promise.resolve(early), { code: 'ABORTED' }, 'one that was aborted before');
  t.equal((await fineTune(model, small, options)).ended, 'finished');
});

t.test('a run is begun once, awaited or iterated', async (t) => {
  const run = fineTune(await open(t), small, options);
  await run;
  await t.rejects(
    async () => {
      for await (const _ of run) t.fail('it is over');
    },
    { code: 'INVALID_VALUE' },
  );
  t.equal((await run).history.length, 2, 'which changes nothing of its result');
});
