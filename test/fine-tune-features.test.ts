/** What fineTune keeps of the frozen part changes how long it takes and nothing else. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import t from 'tap';
import { featureCacheFolder } from '../src/feature-cache.js';
import { type FineTuneOptions, type FineTuneResult, fineTune, type ImageDataset } from '../src/index.js';
import { planCacheFolder } from '../src/plan-cache.js';
import { bitsOf, defects, figures, fixtureModel, open, quick, residual } from './defects.js';

const small = defects(12, 6);
const images = 12 + 6;

/** A run to its end, or to the epoch after which it is left. */
async function run(
  options: FineTuneOptions,
  data: ImageDataset = small,
  file = residual,
  leaveAfter = 1e9,
): Promise<FineTuneResult> {
  const model = await open(t, file);
  const training = fineTune(model, data, { ...quick, epochs: 2, ...options });
  let done = 0;
  for await (const _ of training) if (++done === leaveAfter) break;
  await model.dispose();
  return training.result as FineTuneResult;
}

const reports = ({ baseline, history }: FineTuneResult) => [baseline, ...history].map(figures);
const losses = ({ history }: FineTuneResult) => history.map(({ trainLoss }) => trainLoss as number);
const kept = ({ computation }: FineTuneResult) => computation.features;
const files = () => {
  try {
    return readdirSync(featureCacheFolder());
  } catch {
    return [];
  }
};
t.beforeEach(() => rmSync(featureCacheFolder(), { recursive: true, force: true }));

t.test('kept in a file, in memory, not at all, or unsplit: the same metrics', async (t) => {
  for (const strategy of ['head', 'last:2'] as const) {
    const shared = { strategy, epochs: 3, learningRate: 0.01 };
    const unsplit = await run({ ...shared, split: false });
    t.equal(unsplit.computation.plan.split, false);
    for (const cache of ['disk', 'memory', 'none'] as const) {
      const result = await run({ ...shared, cache });
      t.equal(result.computation.plan.split, true);
      t.equal(kept(result) !== undefined, cache !== 'none');
      for (const [epoch, report] of [result.baseline, ...result.history].entries()) {
        const wanted = [unsplit.baseline, ...unsplit.history][epoch];
        t.ok(
          Math.abs(report.validation.loss - (wanted?.validation.loss ?? 0)) < 1e-4,
          `${strategy} ${cache}: ${epoch}`,
        );
        t.ok(Math.abs((report.trainLoss ?? 0) - (wanted?.trainLoss ?? 0)) < 1e-4);
        t.equal(report.validation.accuracy, wanted?.validation.accuracy);
      }
    }
  }
});

t.test('a second run computes nothing, whatever else is tried above the same trunk', async (t) => {
  const first = await run({});
  t.match(kept(first), { computed: images, found: 0, rowBytes: 24, file: String });
  t.equal(files().length, 1);
  const renamed = join(t.testdir(), 'another-name.pt');
  copyFileSync(residual, renamed);
  const others: [string, FineTuneOptions, string?][] = [
    ['the same again', {}],
    ['another seed', { seed: 7 }],
    ['another learning rate and optimizer', { learningRate: 0.1, optimizer: 'sgd' }],
    ['more epochs', { epochs: 5 }],
    ['the head by another name', { strategy: 'last:1' }],
    ['two layers, one of them frozen', { strategy: 'last:2', freeze: ['block.conv2', 'block.bn2'] }],
    ['a head with a hidden layer', { head: { hidden: [5] } }],
    ['augmentation, of which a head gets one unaugmented view', { augment: 'default' }],
    ['a model by another name', {}, renamed],
  ];
  for (const [what, options, file] of others) {
    t.match(kept(await run(options, small, file)), { computed: 0, found: images }, what);
  }
  t.equal(files().length, 1);
  t.same(reports(await run({})), reports(first), 'what was found gives what was computed');
});

t.test('what decides the features is not shared', async (t) => {
  await run({});
  const others: [string, FineTuneOptions, string?][] = [
    ['another size', { preprocessing: { size: 24, resize: 36 } }],
    ['another resize', { preprocessing: { size: 32, resize: 40 } }],
    ['another mean', { preprocessing: { size: 32, resize: 36, mean: [0.1, 0.2, 0.3] } }],
    ['another cut', { strategy: 'last:2' }],
    ['other weights', {}, fixtureModel('fresh')],
  ];
  for (const [what, options, file] of others) {
    t.match(kept(await run(options, small, file)), { computed: images, found: 0 }, what);
  }
  t.equal(files().length, 1 + others.length);
  const more = await run({}, defects(14, 6));
  t.ok((kept(more)?.computed ?? 0) > 0 && (kept(more)?.found ?? 0) > 0, 'of other data only what is new');
});

t.test('the same bits, views and optimizers, wherever outputs are kept', async (t) => {
  for (const strategy of ['head', 'last:2', 'lp-ft:last:2'] as const) {
    const found: unknown[] = [];
    for (const cache of ['disk', 'memory', 'none'] as const) {
      const model = await open(t);
      const probe = strategy === 'lp-ft:last:2' ? { probeEpochs: 2 } : {};
      const given = {
        ...{ ...quick, strategy, cache, augment: 'default', epochs: 3 },
        ...probe,
      } satisfies FineTuneOptions;
      const { stages, computation } = await fineTune(model, small, given);
      const done = stages.map(({ optimizer, views }) => [optimizer, views]);
      found.push({ done, views: computation.views, bits: await bitsOf(model) });
    }
    t.same(found[1], found[0], `${strategy}, memory`);
    t.same(found[2], found[0], `${strategy}, none`);
  }
});

t.test('a plan of a whole network is proven once, and found again', async (t) => {
  const folder = planCacheFolder();
  rmSync(folder, { recursive: true, force: true });
  const full = { strategy: 'full', cache: 'disk' } as const;
  const first = await run(full);
  t.equal(first.computation.plan.remembered, false);
  const second = await run({ ...full, learningRate: 0.002 });
  t.match(second.computation.plan, {
    ...{ remembered: true, split: false, variant: first.computation.plan.variant },
    ...{ trials: first.computation.plan.trials },
  });
  t.same(reports(await run(full)), reports(first));
});

t.test('in memory alone, nothing is left behind', async (t) => {
  for (const cache of ['memory', 'none'] as const) {
    for (let again = 0; again < 2; again++) {
      const features = kept(await run({ cache }));
      if (cache === 'memory') t.match(features, { computed: images, found: 0, file: undefined });
      else t.equal(features, undefined);
    }
  }
  t.same(files(), []);
});

t.test('views take turns, are the same in every run, and differ', async (t) => {
  const options = { augment: 'default', epochs: 4, views: 2, cache: 'disk' } as const;
  const first = await run(options);
  t.equal(first.computation.views, 2);
  t.match(kept(first), { computed: 2 * 12 + 6, found: 0 });
  const second = await run(options);
  t.match(kept(second), { computed: 0, found: 2 * 12 + 6 });
  t.same(reports(second), reports(first));
  rmSync(featureCacheFolder(), { recursive: true });
  t.same(
    reports(await run({ ...options, cache: 'memory' })),
    reports(first),
    'computed anew they are the same',
  );

  const one = await run({ ...options, views: 1 });
  const three = await run({ ...options, views: 3 });
  const live = await run({ ...options, views: 'live' });
  t.equal(live.computation.views, 'live');
  t.match(kept(live), { computed: 0, found: 6 }, 'of live views only validation is kept');
  const unaugmented = await run({ ...options, augment: 'none' });
  t.same(losses(one), losses(unaugmented), 'the first view is the unaugmented one');
  const all = [first, one, three, live].map((result) => String(losses(result)));
  t.equal(new Set(all).size, 4, 'each number of views learns something else');
  t.equal(
    (await run({ augment: 'default', epochs: 2, views: 8 })).computation.views,
    2,
    'no more than epochs',
  );
});

t.test('images that cannot be decoded are reported in every epoch, or fail', async (t) => {
  const folder = t.testdir({ 'bad.png': 'no image', 'gone.png': '' });
  const data = structuredClone(small);
  const bad = join(folder, 'bad.png');
  for (const at of [1, 5]) data.splits.train[at] = { path: bad, label: 0 };
  data.splits.val[2] = { path: join(folder, 'missing.png'), label: 1 };
  for (const cache of ['disk', 'none'] as const) {
    const { history } = await run({ unreadable: 'skip', cache, epochs: 3 }, data);
    for (const { skipped, validation } of history) {
      t.equal(validation.count, 5);
      t.same(
        skipped.map(({ path }) => path.split('/').at(-1)).sort(),
        ['bad.png', 'bad.png', 'missing.png'],
        cache,
      );
    }
    await t.rejects(run({ cache }, data), {
      code: /IMAGE_UNREADABLE|FILE_NOT_FOUND/,
      message: /(bad|missing)\.png/,
    });
  }
});

t.test('a damaged file is computed anew, whole or in part', async (t) => {
  const expected = reports(await run({}));
  const [file] = files().map((name) => join(featureCacheFolder(), name)) as [string];
  const bytes = readFileSync(file);
  bytes[bytes.length - 5] = (bytes[bytes.length - 5] as number) ^ 1;
  writeFileSync(file, bytes);
  const partly = await run({});
  t.match(kept(partly), { computed: 1, found: images - 1 });
  t.same(reports(partly), expected);
  writeFileSync(file, 'nothing of ours');
  const wholly = await run({});
  t.match(kept(wholly), { computed: images, found: 0 });
  t.same(reports(wholly), expected);
  t.match(kept(await run({})), { computed: 0 }, 'and it is whole again');
});

t.test('a file that is damaged while a run goes on does not disturb it', async (t) => {
  const expected = losses(await run({ epochs: 4 }));
  const model = await open(t);
  const training = fineTune(model, small, { ...quick, epochs: 4 });
  const file = join(featureCacheFolder(), files()[0] as string);
  const bytes = readFileSync(file);
  const damages = [
    () =>
      writeFileSync(
        file,
        bytes.map((byte, at) => (at > 400 ? byte ^ 0xff : byte)),
      ),
    () => writeFileSync(file, bytes.subarray(0, 500)),
    () => rmSync(file),
  ];
  const seen: (number | null)[] = [];
  for await (const { trainLoss } of training) {
    damages[seen.length]?.();
    seen.push(trainLoss);
  }
  t.same(seen, expected);
});

t.test('without room features are computed in each epoch, and that is said', async (t) => {
  process.env.TORCHGRAFT_CACHE_BYTES = '1000';
  t.teardown(() => delete process.env.TORCHGRAFT_CACHE_BYTES);
  // 12 images, 1,024 views, 442 KB each: more than any memory that is used for it.
  const large = {
    strategy: 'last:2',
    augment: 'default',
    views: 1024,
    epochs: 1024,
    preprocessing: { size: 96, resize: 96 },
  } as const;
  const result = await run(large, small, residual, 1);
  t.equal(kept(result), undefined);
  t.equal(result.computation.views, 'live');
  t.match(result.computation.notices.join(), /more than the cache may/);
  t.equal(result.history.length, 1);
});

t.test('a cache that cannot be written: in memory, and that is said', async (t) => {
  const folder = t.testdir({ occupied: 'a file' });
  const before = process.env.TORCHGRAFT_CACHE;
  process.env.TORCHGRAFT_CACHE = join(folder, 'occupied');
  t.teardown(() => {
    process.env.TORCHGRAFT_CACHE = before;
  });
  const result = await run({});
  t.match(kept(result), { computed: images, file: undefined });
  t.match(result.computation.notices.join(), /cannot be written.*memory only/);
});

t.test('two processes at once share a file', { timeout: 120_000 }, async (t) => {
  const url = (name: string) => JSON.stringify(new URL(name, import.meta.url).href);
  const code = `
    const { fineTune, loadModel } = await import(${url('../src/index.js')});
    const { defects, quick, residual } = await import(${url('./defects.js')});
    const model = await loadModel(residual, { device: 'cpu', threads: 1 });
    const run = fineTune(model, defects(60, 30), { ...quick, epochs: 3 });
    for await (const _ of run);
    const { computed, found } = run.computation.features;
    console.log(JSON.stringify({ computed, found, losses: run.result.history.map(({ trainLoss }) => trainLoss) }));`;
  mkdirSync(featureCacheFolder(), { recursive: true });
  const both = [0, 1].map(async () => {
    const child = spawn(process.execPath, [...process.execArgv, '--input-type=module', '--eval', code], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [output, [status]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
    t.equal(status, 0);
    return JSON.parse(output.trim().split('\n').at(-1) as string);
  });
  const [one, other] = await Promise.all(both);
  t.same(one.losses, other.losses);
  for (const { computed, found } of [one, other]) t.equal(computed + found, 90);
  t.match(kept(await run({ epochs: 3 }, defects(60, 30))), { computed: 0, found: 90 });
});
