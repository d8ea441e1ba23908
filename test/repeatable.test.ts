/** Equal commands give equal weights, bit for bit at the defaults, whatever else the machine is doing and whatever ran before. */
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import { loadAddon } from '../src/addon.js';
import { extractFeatures, type FineTuneOptions, fineTune, planModel, rankModels } from '../src/index.js';
import { backbone, bitsOf, defects, open } from './defects.js';

// libtorch lies in the cache that was set before.
loadAddon();
const folder = t.testdir({});
const data = defects(24, 12);
/** Of the size from which a clock once chose between float32 and bfloat16. */
const options = {
  epochs: 2,
  batchSize: 7,
  baselines: 'none',
  preprocessing: { size: 128, resize: 144 },
} satisfies FineTuneOptions;

/** Keeps all processors busy, in bursts of different lengths, until the test ends. */
function makeLoad(t: Test): void {
  const source = `
    const waiting = new Int32Array(new SharedArrayBuffer(4));
    for (let burst = 1; ; burst = (burst * 7) % 61) {
      const until = performance.now() + burst;
      while (performance.now() < until);
      Atomics.wait(waiting, 0, 0, burst / 4);
    }`;
  for (let worker = 0; worker < 4; worker++) {
    const spinning = new Worker(source, { eval: true });
    t.teardown(() => spinning.terminate());
  }
}

let caches = 0;
/** As on a machine on which nothing has run yet. */
function newCache(): void {
  process.env.TORCHGRAFT_CACHE = join(folder, `cache ${++caches}`);
}

async function outcome(given: FineTuneOptions) {
  const model = await open(t, backbone);
  const run = fineTune(model, data, given);
  for await (const _ of run);
  const { stages } = run.result as NonNullable<typeof run.result>;
  const bits = await bitsOf(model);
  await model.dispose();
  return { bits, precisions: stages.map(({ precision, precisionReason }) => [precision, precisionReason]) };
}

for (const strategy of ['auto', 'last:2'] as const) {
  t.test(`${strategy}: weights of equal runs`, async (t) => {
    newCache();
    const first = await outcome({ ...options, strategy });
    t.not(first.precisions.length, 0);
    await t.test('again, with what the first has kept', async (t) => {
      t.same(await outcome({ ...options, strategy }), first);
    });
    await t.test('under load, each as if it were the first', async (t) => {
      makeLoad(t);
      for (let time = 0; time < 2; time++) {
        newCache();
        t.same(await outcome({ ...options, strategy }), first);
      }
    });
    await t.test('under load, stopped and resumed', async (t) => {
      makeLoad(t);
      newCache();
      const checkpoint = join(folder, `${strategy.replace(':', ' ')}.pt`);
      for (const stop of [3, 9]) {
        const controller = new AbortController();
        let batches = 0;
        const model = await open(t, backbone);
        const run = fineTune(model, data, {
          ...{ ...options, strategy, checkpoint, resume: true, signal: controller.signal },
          onBatch: () => ++batches === stop && controller.abort(),
        });
        await t.rejects(
          async () => {
            for await (const _ of run);
          },
          { code: 'ABORTED' },
        );
        await model.dispose();
      }
      t.same(await outcome({ ...options, strategy, checkpoint, resume: true }), first);
    });
  });
}

t.test('features and rankings are the same under load', async (t) => {
  const measure = async () => {
    newCache();
    const model = await open(t, backbone);
    const { train, computation } = await extractFeatures(model, data, {
      preprocessing: options.preprocessing,
    });
    const ranked = await rankModels([{ file: backbone, preprocessing: options.preprocessing }], data);
    const { plan } = computation;
    return {
      ...{ features: train.features, variant: plan.variant, precision: plan.precision },
      scores: JSON.parse(
        JSON.stringify(ranked, (key, value) => (/second|latency|millisecond/i.test(key) ? 0 : value)),
      ),
    };
  };
  const idle = await measure();
  makeLoad(t);
  t.same(await measure(), idle);
});

t.test('precision follows from the device, what is frozen and the size of images', async (t) => {
  const model = await open(t, backbone);
  const reasons: string[] = [];
  for (const imageSize of [64, 224]) {
    const { precision, precisionReason, trials } = await planModel(model, { imageSize });
    reasons.push(precisionReason);
    t.equal(precision, /^native here/.test(precisionReason) ? 'bfloat16' : 'float32', precisionReason);
    t.equal(trials[0]?.precision, 'float32');
  }
  t.match(reasons[0], /no native bfloat16|too few for bfloat16/);
  t.match(
    reasons[1],
    /no native bfloat16|native here, and 4\d\d million operations a sample in what is frozen/,
  );
  const full = await planModel(model, { imageSize: 224, strategy: 'full' });
  t.equal(full.precision, 'float32', full.precisionReason);
});
