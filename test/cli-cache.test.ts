import { spawnSync } from 'node:child_process';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { featureCacheFolder } from '../src/feature-cache.js';
import { planCacheFolder } from '../src/plan-cache.js';
import { daysAgo, makeIdentity, writeFeatures, writePlan } from './cache-files.js';

const cli = fileURLToPath(new URL('../lib/cli/main.js', import.meta.url));

/** Runs the command line; the cache is a folder of the test. */
function torchgraft(args: string[], env: Record<string, string> = {}) {
  const options = { encoding: 'utf8', env: { ...process.env, ...env } } as const;
  return spawnSync(process.execPath, [cli, ...args], options);
}

t.beforeEach((t) => {
  process.env.TORCHGRAFT_CACHE = t.testdir({});
});

t.test('an empty cache', async (t) => {
  const folder = featureCacheFolder();
  const { status, stdout } = torchgraft(['cache']);
  t.equal(status, 0);
  t.equal(
    stdout,
    `0 files of features, 0 bytes of at most 4.0 GiB, in ${folder}\n` +
      `0 plans of at most 1,000, 0 bytes, in ${planCacheFolder()}\n`,
  );
  const plans = { folder: planCacheFolder(), bytes: 0, count: 0, limit: 1000 };
  const empty = { folder, bytes: 0, limitBytes: 2 ** 32, files: [], plans };
  t.same(JSON.parse(torchgraft(['cache', '--json']).stdout), empty);
  t.equal(torchgraft(['cache', 'clear']).stdout, 'removed 0 files of features and 0 plans, 0 bytes\n');
});

t.test('lists what is there', async (t) => {
  const last = { layer: 'features.18', shape: [1280], dtype: 'float32' };
  const crossings = [last, { layer: 'add', shape: [96, 7, 7], dtype: 'bfloat16' }];
  const recent = { ...makeIdentity('a', 'mobilenet.pt'), crossings };
  writeFeatures(makeIdentity('b', 'resnet.pt'), 12_345, daysAgo(3.5));
  const path = writeFeatures(recent, 10);
  writeFileSync(join(featureCacheFolder(), 'x.features'), 'damaged');
  for (const name of ['a', 'b']) writePlan(name);
  const { status, stdout, stderr } = torchgraft(['cache'], { TORCHGRAFT_CACHE_BYTES: '104857600' });
  t.equal(status, 0, stderr);
  t.match(stdout, /^model +features of +rows +size +last used\n-/);
  t.match(
    stdout,
    /^mobilenet\.pt +features\.18\[1280\] float32, add\[96,7,7\] bfloat16 +10 +3\.\d KiB +just now$/m,
  );
  t.match(stdout, /^resnet\.pt +layer3\[64\] float32 +12,345 +3\.5 MiB +3 days ago$/m);
  t.match(stdout, /^\(damaged\) +7 bytes +just now$/m);
  const totals = `\n\n3 files of features, 3.5 MiB of at most 100.0 MiB, in ${featureCacheFolder()}\n`;
  t.match(stdout, `${totals}2 plans of at most 1,000, 14 bytes, in ${planCacheFolder()}\n`);
  const json = JSON.parse(torchgraft(['cache', '--json']).stdout);
  t.match(json, { folder: featureCacheFolder(), limitBytes: 2 ** 32, plans: { bytes: 14, count: 2 } });
  t.equal(json.files.length, 3);
  t.same(
    json.files.find((file: { path: string }) => file.path === path),
    {
      path,
      bytes: statSync(path).size,
      rows: 10,
      lastUsed: statSync(path).mtime.toISOString(),
      identity: recent,
    },
  );
});

t.test('clears what is old, then all', async (t) => {
  const old = writeFeatures(makeIdentity('a'), 1, daysAgo(31));
  const recent = writeFeatures(makeIdentity('b'), 1, daysAgo(29));
  const [oldPlan, recentPlan] = [writePlan('a', daysAgo(31)), writePlan('b', daysAgo(29))];
  const first = torchgraft(['cache', 'clear', '--older-than', '30', '--json']);
  t.same(JSON.parse(first.stdout), {
    removed: [old, oldPlan],
    bytes: statSync(recent).size + statSync(recentPlan).size,
  });
  for (const gone of [old, oldPlan]) t.notOk(existsSync(gone));
  t.equal(torchgraft(['cache']).stdout.includes('29 days ago'), true);
  const second = torchgraft(['cache', 'clear']);
  t.equal(second.status, 0);
  t.match(second.stdout, /^removed 1 file of features and 1 plan, \d+ bytes\n$/);
  for (const gone of [recent, recentPlan]) t.notOk(existsSync(gone));
});

t.test('wrong usage exits with 2', async (t) => {
  const limit = { TORCHGRAFT_CACHE_BYTES: '4G' };
  for (const [args, message, env] of [
    [['cache'], /\[INVALID_VALUE\]: TORCHGRAFT_CACHE_BYTES is "4G"/, limit],
    [['cache', 'clear', '--older-than', 'long'], /not negative/, {}],
    [['cache', 'clear', '--oldr-than', '1'], /Did you mean --older-than/, {}],
    [['cache', 'everything'], /unknown command 'everything'/, {}],
  ] as const) {
    const { status, stderr, stdout } = torchgraft([...args], env);
    t.equal(status, 2, args.join(' '));
    t.match(stderr, message);
    t.equal(stdout, '');
  }
  t.match(torchgraft(['cache', '--help']).stdout, /Usage: torchgraft cache .*clear/s);
  t.equal(torchgraft(['cache', 'clear'], limit).status, 0, 'clearing needs no limit');
});
