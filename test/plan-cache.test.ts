/** Proven plans are kept, found, bounded and cleared; what cannot be read or written costs a trial and nothing else. */
import { existsSync, mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadAddon } from '../src/addon.js';
import { completePreprocessing } from '../src/data/preprocessing.js';
import { makePlan, type PlanSettings } from '../src/fine-tune/computation.js';
import type { Model } from '../src/model.js';
import type { Plan } from '../src/native.js';
import {
  clearPlans,
  mostPlans,
  planCacheFiles,
  planCacheFolder,
  planPath,
  recallPlan,
  rememberPlan,
} from '../src/plan-cache.js';
import { daysAgo, writePlan } from './cache-files.js';
import { defects, quick } from './defects.js';

const shown = {
  variant: 'fused' as const,
  precision: 'float32' as const,
  precisionReason: 'asked for',
  crossings: [{ shape: [6], dtype: 'Float' }],
  cacheable: true,
  prefixFlops: 10,
  totalFlops: 12,
  trials: [],
};
const plan: Plan = {
  ...shown,
  ...{ remembered: false, split: true, reason: '', prefixLayers: ['conv1'], suffixLayers: ['fc'], key: 'ab' },
};

// Its version is part of a plan's name; libtorch lies in the cache that was set before.
loadAddon();
t.beforeEach((t) => {
  process.env.TORCHGRAFT_CACHE = t.testdir({});
});

t.test('what a trial has shown comes back, for the same key and setting alone', async (t) => {
  const path = planPath('ab', { precision: 'auto', size: 96 });
  t.equal(await recallPlan(path), undefined, 'no folder');
  await rememberPlan(path, plan);
  t.same(await recallPlan(planPath('ab', { precision: 'auto', size: 96 })), shown);
  t.equal(await recallPlan(planPath('ac', { precision: 'auto', size: 96 })), undefined);
  t.equal(await recallPlan(planPath('ab', { precision: 'auto', size: 64 })), undefined);
  for (const damaged of ['', '{', '{}', JSON.stringify({ ...shown, variant: 'unsplit' })]) {
    writeFileSync(path, damaged);
    t.equal(await recallPlan(path), undefined, damaged);
  }
  await rememberPlan(planPath('ad', {}), { ...plan, variant: 'unsplit', split: false });
  t.notOk(existsSync(planPath('ad', {})), 'a model that runs unsplit has nothing proven');
});

t.test('of more than 1,000 those go that were not used for longest', async (t) => {
  t.equal(mostPlans, 1000);
  const used = planPath('used', {});
  await rememberPlan(used, plan);
  const others = Array.from({ length: 1000 }, (_, day) => writePlan(`${day}`, daysAgo(1000 - day)));
  utimesSync(used, daysAgo(2000), daysAgo(2000));
  t.same(await recallPlan(used), shown, 'older than all others until now');
  await rememberPlan(planPath('new', {}), plan);
  const left = (await planCacheFiles()).map(({ path }) => path);
  t.equal(left.length, 1000);
  t.same(new Set(left.slice(0, 2)), new Set([planPath('new', {}), used]));
  t.same(left.slice(2), others.slice(2).reverse());
});

t.test('lists and clears what is there', async (t) => {
  t.same(await planCacheFiles(), []);
  t.same(await clearPlans(), []);
  const [old, recent] = [writePlan('old', daysAgo(8)), writePlan('recent', daysAgo(6))];
  writeFileSync(join(planCacheFolder(), 'notes.txt'), '');
  mkdirSync(join(planCacheFolder(), 'folder.json'));
  const file = (path: string) => ({ path, bytes: 7, lastUsed: statSync(path).mtime });
  const both = [file(recent), file(old)];
  t.same(await planCacheFiles(), both);
  t.same(await clearPlans({ olderThanDays: 7 }), both.slice(1));
  t.same(await clearPlans(), both.slice(0, 1));
  t.same(readdirSync(planCacheFolder()).sort(), ['folder.json', 'notes.txt'], 'nothing but plans');
  await t.rejects(clearPlans({ olderThanDays: -1 }), { code: 'INVALID_VALUE' });
});

t.test('a cache that cannot be written is passed over', async (t) => {
  process.env.TORCHGRAFT_CACHE = join(t.testdir({ occupied: 'a file' }), 'occupied');
  await rememberPlan(planPath('ab', {}), plan);
  t.equal(await recallPlan(planPath('ab', {})), undefined);
  t.same(await planCacheFiles(), []);
});

/** Proves everything equal, and notes what it is asked. */
function provingModel(asked: unknown[]) {
  const native = {
    planKey: async () => 'ab',
    plan: async (_: unknown, request: unknown) => {
      asked.push(request);
      return plan;
    },
    usePlan: async (known: { cacheable: boolean }) => {
      asked.push('remembered');
      return { ...plan, remembered: true, cacheable: known.cacheable };
    },
  };
  return { native } as unknown as Model;
}

const settingsFor = (model: Model, changes: Partial<PlanSettings['options']> = {}): PlanSettings => ({
  ...{ model, data: defects(12, 12) },
  options: { precision: 'auto', split: true, cache: 'disk', augment: null, seed: 0, ...changes },
  reading: {
    preprocessing: completePreprocessing(quick.preprocessing),
    ...{ threads: quick.threads, batchSize: quick.batchSize, unreadable: 'fail' },
  },
});

t.test(
  'a plan is remembered for the images and the purpose that it was proven on, and no others',
  async (t) => {
    const asked: unknown[] = [];
    const model = provingModel(asked);
    const auto = { precision: 'auto', split: true };
    const same = settingsFor(model);
    await makePlan(same);
    t.match(asked.splice(0), [auto]);
    t.match(await makePlan(settingsFor(model)), { remembered: true });
    t.same(asked.splice(0), ['remembered'], 'the same again');
    const other = settingsFor(model, { seed: 1 });
    const { train } = same.data.splits;
    const relabelled = { ...same.data.splits, train: train.map((one) => ({ ...one, label: 1 - one.label })) };
    const smooth = { kind: 'crossEntropy', labelSmoothing: 0.1 } as const;
    for (const settings of [
      other,
      { ...same, data: { ...same.data, splits: relabelled } },
      settingsFor(model, { loss: smooth }),
      settingsFor(model, { cache: 'memory' }),
    ]) {
      await makePlan(settings);
      t.match(asked.splice(0), [auto], 'proven anew');
    }
  },
);

t.test('a resumed stage computes by the plan that it had', async (t) => {
  const asked: unknown[] = [];
  const model = provingModel(asked);
  const resumed: Plan = { ...plan, precision: 'bfloat16', variant: 'folded', precisionReason: 'as it was' };
  const split = await makePlan({ ...settingsFor(model), resumed });
  t.match(split, { precision: 'bfloat16', variant: 'folded', precisionReason: 'as it was' });
  t.same(asked.splice(0), ['remembered'], 'nothing is proven on weights that are others by now');
  const unsplit: Plan = {
    ...plan,
    variant: 'unsplit',
    split: false,
    reason: 'not equal',
    precision: 'bfloat16',
  };
  t.match(await makePlan({ ...settingsFor(model), resumed: unsplit }), {
    variant: 'unsplit',
    reason: 'not equal',
  });
  t.match(asked, [{ precision: 'bfloat16', split: false }]);
});
