/** Proven plans are kept, found, bounded and cleared; what cannot be read or written costs a trial and nothing else. */
import { existsSync, mkdirSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadAddon } from '../src/addon.js';
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
