// However a process or a worker thread ends with native work in flight, it ends by itself and with its own code.
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { loadAddon } from '../../src/addon.js';
import { batch, tinyModel, training } from './tiny.js';

const url = (name: string) => JSON.stringify(new URL(name, import.meta.url).href);
/** A program with a step of some 100 ms in flight when `then` runs. */
const program = (then: string) => `
  const { loadAddon } = await import(${url('../../src/addon.js')});
  const { batch, training, tinyModel } = await import(${url('tiny.js')});
  const model = await loadAddon().load(tinyModel, { device: 'cpu', threads: 1 });
  await model.configure(training());
  const step = model.step(batch(64, 128));
  ${then}`;
const argumentsFor = (then: string) => [...process.execArgv, '--input-type=module', '--eval', program(then)];

const endings: [string, string, number][] = [
  ['the program comes to its end', '', 0],
  ['process.exit()', 'process.exit();', 0],
  ['process.exit(3)', 'process.exit(3);', 3],
  [
    'process.exit() while steps are queued behind a dispose',
    'model.dispose(); model.dispose(); process.exit();',
    0,
  ],
  [
    'process.exit() half-way through a later step',
    'await step; model.step(batch(64, 128)); setTimeout(() => process.exit(), 20); await new Promise(() => {});',
    0,
  ],
  [
    'an uncaught exception',
    'setTimeout(() => { throw new Error("mine"); }, 10); await step; await model.step(batch(64, 128));',
    1,
  ],
  ['an exit listener that disposes', 'process.on("exit", () => { model.dispose(); }); process.exit();', 0],
  [
    'an exit listener that wants to work',
    'process.on("exit", () => { try { model.describe(); process.exitCode = 9; } catch { } }); process.exit();',
    0,
  ],
  ['a load in flight', 'loadAddon().load(tinyModel, { device: "cpu", threads: 1 }); process.exit();', 0],
];
for (const [what, then, code] of endings) {
  t.test(`a step is in flight and the process ends by ${what}`, async (t) => {
    const { status, signal, stderr } = spawnSync(process.execPath, argumentsFor(then), {
      encoding: 'utf8',
      timeout: 60_000,
    });
    t.equal(signal, null, stderr);
    t.equal(status, code, stderr);
  });
}

t.test('Ctrl-C ends a training process at once, as it does any other', async (t) => {
  const child = spawn(
    process.execPath,
    argumentsFor('console.log("training"); for (;;) { await step; await model.step(batch(64, 128)); }'),
  );
  await once(child.stdout, 'data');
  child.kill('SIGINT');
  t.same(await once(child, 'exit'), [null, 'SIGINT']);
});

function startWorker(steps: number) {
  const workerData = { source: tinyModel, training: training(), batch: batch(64, 64), steps };
  return new Worker(new URL('worker.js', import.meta.url), { workerData });
}

t.test(
  'four worker threads that train are terminated in the middle of a step, three times over',
  async (t) => {
    for (let round = 0; round < 3; round++) {
      const workers = [0, 1, 2, 3].map(() => startWorker(Number.POSITIVE_INFINITY));
      await Promise.all(workers.map((worker) => once(worker, 'message')));
      t.same(await Promise.all(workers.map((worker) => worker.terminate())), [1, 1, 1, 1]);
      t.same(loadAddon().live(), { models: 0, tasks: 0 });
    }
  },
);

t.test('a worker that ends by itself, while the main thread uses the same addon', async (t) => {
  const model = await loadAddon().load(tinyModel, { device: 'cpu', threads: 1 });
  await model.configure(training());
  const worker = startWorker(3);
  const ended = once(worker, 'exit');
  for (let step = 0; step < 20; step++) await model.step(batch());
  t.same(await ended, [0]);
  await model.dispose();
  t.same(loadAddon().live(), { models: 0, tasks: 0 });
});
