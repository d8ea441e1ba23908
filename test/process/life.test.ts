// Nothing native outlives its use, memory stays flat, and the event loop stays free.
import { spawnSync } from 'node:child_process';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { loadAddon } from '../../src/addon.js';
import { batch, tinyModel, training } from './tiny.js';

const backbone = fileURLToPath(new URL('../../assets/backbone.pt', import.meta.url));
const addon = loadAddon();
const load = () => addon.load(tinyModel, { device: 'cpu', threads: 1 });

t.test('live counts return to 0 after dispose', async (t) => {
  const models = await Promise.all([load(), load(), load()]);
  t.same(addon.live(), { models: 3, tasks: 0 });
  await Promise.all(models.map((model) => model.dispose()));
  t.same(addon.live(), { models: 0, tasks: 0 });
});

t.test('models that nobody disposed are freed when they are collected', async (t) => {
  const url = (name: string) => JSON.stringify(new URL(name, import.meta.url).href);
  const code = `
    const { loadAddon } = await import(${url('../../src/addon.js')});
    const { tinyModel } = await import(${url('tiny.js')});
    const addon = loadAddon();
    await (async () => { for (let i = 0; i < 10; i++) await addon.load(tinyModel, { device: 'cpu', threads: 1 }); })();
    for (let i = 0; i < 100 && addon.live().models > 0; i++) { gc(); await new Promise((done) => setTimeout(done, 10)); }
    console.log(JSON.stringify(addon.live()));`;
  const given = [...process.execArgv, '--expose-gc', '--input-type=module', '--eval', code];
  const { stdout, stderr } = spawnSync(process.execPath, given, { encoding: 'utf8' });
  t.equal(stdout.trim(), '{"models":0,"tasks":0}', stderr);
});

t.test('memory and live counts stay flat over 2,000 steps', { timeout: 120_000 }, async (t) => {
  const model = await load();
  await model.configure(training());
  // One batch of images is 384 KiB: kept, 2,000 of them would be 750 MiB.
  const given = batch(8, 64);
  const warmUp = 500;
  let before = 0;
  for (let step = 0; step < warmUp + 2000; step++) {
    if (step === warmUp) before = process.memoryUsage.rss();
    await model.step(given);
  }
  const growth = (process.memoryUsage.rss() - before) / 2 ** 20;
  t.comment(`RSS grew by ${growth.toFixed(1)} MiB over 2,000 steps`);
  t.ok(growth < 100, `RSS grew by ${growth} MiB`);
  t.same(addon.live(), { models: 1, tasks: 0 });
  await model.dispose();
});

t.test('the event loop is free while a model trains and predicts', { timeout: 120_000 }, async (t) => {
  // A network with some work for each byte that crosses: the copy of a batch is done on this thread.
  const model = await addon.load(backbone, { device: 'cpu', threads: 1 });
  const names = (await model.describe()).parameters.map((parameter) => parameter.name);
  await model.configure(training({ groups: [{ parameters: names, learningRate: 1e-4, weightDecay: 0 }] }));
  const given = batch(64, 96);
  for (const [what, work] of [
    ['training', () => model.step(given)],
    ['predicting', () => model.forward(given.inputs)],
  ] as const) {
    await work();
    const delay = monitorEventLoopDelay({ resolution: 1 });
    const until = performance.now() + 4000;
    const began = performance.now();
    let count = 0;
    delay.enable();
    for (; performance.now() < until; count++) await work();
    delay.disable();
    const mean = (performance.now() - began) / count;
    const p99 = delay.percentile(99) / 1e6;
    t.comment(
      `${what}: ${mean.toFixed(0)} ms a call, event loop delay p99 ${p99.toFixed(1)} ms, max ${(delay.max / 1e6).toFixed(1)} ms`,
    );
    t.ok(mean > 30, `${what}: a call of ${mean} ms is long enough that blocking would show`);
    t.ok(p99 < 20, `${what}: p99 is ${p99} ms`);
  }
  await model.dispose();
});
