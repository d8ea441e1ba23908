import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  clearFeatures,
  evictFeatures,
  featureCacheFiles,
  featureCacheFolder,
  featureCacheLimit,
  featureCachePath,
  featureIdentityText,
  featureLabel,
  viewKey,
} from '../src/feature-cache.js';
import { daysAgo, makeIdentity, writeFeatures } from './cache-files.js';

t.beforeEach((t) => {
  process.env.TORCHGRAFT_CACHE = t.testdir({});
  delete process.env.TORCHGRAFT_CACHE_BYTES;
});

t.test('a path for each identity, whatever the order of keys and the name of the model', async (t) => {
  const identity = makeIdentity('ab');
  const path = featureCachePath(identity);
  t.match(path.slice(featureCacheFolder().length), /^\/[0-9a-f]{64}\.features$/);
  const { crossings, preprocessing, prefix, model } = identity;
  const reordered = { mean: preprocessing.mean, size: preprocessing.size };
  t.equal(featureCachePath({ crossings, preprocessing: reordered, prefix, model }), path);
  t.equal(
    featureCachePath({ ...identity, model: 'copy-of-net.pt' }),
    path,
    'the same trunk under another name',
  );
  for (const other of [
    makeIdentity('ac'),
    { ...identity, preprocessing: { ...preprocessing, size: 97 } },
    { ...identity, preprocessing: { ...preprocessing, mean: [0, 0, 1] } },
    { ...identity, crossings: [{ layer: 'layer3', shape: [64], dtype: 'bfloat16' }] },
    { ...identity, crossings: [...crossings, ...crossings] },
  ]) {
    t.not(featureCachePath(other), path);
    t.not(featureIdentityText(other), featureIdentityText(identity));
  }
  const long = featureLabel({ ...identity, model: '\u0001'.repeat(10_000) });
  t.ok(Buffer.byteLength(long) <= 4096, 'what the store takes');
});

t.test('the key of an image is a digest of its bytes and view', async (t) => {
  const sha256 = (...parts: (string | Uint8Array)[]) =>
    parts.reduce((hash, part) => hash.update(part), createHash('sha256')).digest();
  const digest = sha256('jpeg');
  t.same(Buffer.from(viewKey(digest, 'view 3')), sha256(sha256('jpeg'), 'view 3'));
  t.equal(viewKey(digest, '').length, 32);
  t.notSame(viewKey(digest, 'view 3'), viewKey(digest, 'view 4'));
  t.notSame(viewKey(sha256('jpegview'), ' 3'), viewKey(digest, 'view 3'));
});

t.test('lists files with rows and identity, the last used first; damaged ones too', async (t) => {
  t.same(await featureCacheFiles(), [], 'no folder');
  const old = makeIdentity('old', 'größer.pt');
  const recent = makeIdentity('new');
  const paths = [writeFeatures(recent, 7, daysAgo(1)), writeFeatures(old, 0, daysAgo(9))];
  const damaged = join(featureCacheFolder(), 'damaged.features');
  writeFileSync(damaged, 'x'.repeat(100));
  writeFileSync(join(featureCacheFolder(), 'notes.txt'), '');
  mkdirSync(join(featureCacheFolder(), 'folder.features'));
  const stat = (path: string) => ({ path, bytes: statSync(path).size, lastUsed: statSync(path).mtime });
  t.same(await featureCacheFiles(), [
    { ...stat(damaged), rows: null, identity: null },
    { ...stat(paths[0] as string), rows: 7, identity: recent },
    { ...stat(paths[1] as string), rows: 0, identity: old },
  ]);
  for (const size of [300, 150, 100, 36, 35, 16, 1, 0]) {
    truncateSync(paths[0] as string, size);
    const [file] = (await featureCacheFiles()).filter(({ path }) => path === paths[0]);
    t.match(
      file,
      size > 250 ? { rows: 0, identity: recent } : { rows: null, identity: null },
      `${size} bytes`,
    );
  }
});

t.test('evicts the oldest until the rest is within the limit', async (t) => {
  const [a, b, c] = [3, 1, 2].map((days) => writeFeatures(makeIdentity(`${days}`), 10, daysAgo(days))) as [
    string,
    string,
    string,
  ];
  const { size } = statSync(a);
  t.same(await evictFeatures(), [], '4 GiB by default');
  t.same(await evictFeatures(3 * size), []);
  t.same(
    (await evictFeatures(3 * size - 1)).map(({ path }) => path),
    [a],
  );
  process.env.TORCHGRAFT_CACHE_BYTES = `${size}`;
  t.same(
    (await evictFeatures()).map(({ path }) => path),
    [c],
  );
  t.same(readdirSync(featureCacheFolder()), [b.slice(featureCacheFolder().length + 1)]);
  for (const wrong of [-1, Number.NaN]) await t.rejects(evictFeatures(wrong), { code: 'INVALID_VALUE' });
  t.equal((await evictFeatures(0)).length, 1);
  t.same(await featureCacheFiles(), []);
});

t.test('two processes that evict at once disturb one another as little as two calls', async (t) => {
  for (let i = 0; i < 20; i++) writeFeatures(makeIdentity(`${i}`), 1, daysAgo(i));
  await Promise.all([evictFeatures(0), clearFeatures(), evictFeatures(0)]);
  t.same(await featureCacheFiles(), []);
});

t.test('clears all, or what was not used for days', async (t) => {
  const [old, recent] = [8, 6].map((days) => writeFeatures(makeIdentity(`${days}`), 1, daysAgo(days))) as [
    string,
    string,
  ];
  writeFileSync(join(featureCacheFolder(), 'notes.txt'), '');
  t.match(await clearFeatures({ olderThanDays: 7 }), [{ path: old, rows: 1 }]);
  t.ok(existsSync(recent));
  await t.rejects(clearFeatures({ olderThanDays: -1 }), { code: 'INVALID_VALUE' });
  await t.rejects(clearFeatures({ olderThan: 1 } as never), {
    code: 'INVALID_TYPE',
    message: /olderThanDays/,
  });
  t.equal((await clearFeatures()).length, 1);
  t.same(readdirSync(featureCacheFolder()), ['notes.txt'], 'nothing but cached features');
});

t.test('TORCHGRAFT_CACHE_BYTES sets the limit', async (t) => {
  t.equal(featureCacheLimit(), 2 ** 32);
  for (const [text, bytes] of [
    ['', 2 ** 32],
    ['0', 0],
    [' 1000 ', 1000],
    ['8589934592', 2 ** 33],
  ] as const) {
    process.env.TORCHGRAFT_CACHE_BYTES = text;
    t.equal(featureCacheLimit(), bytes);
  }
  for (const text of ['-1', '1.5', '4G', '1e9', 'many', '99999999999999999']) {
    process.env.TORCHGRAFT_CACHE_BYTES = text;
    t.throws(featureCacheLimit, { code: 'INVALID_VALUE', message: /TORCHGRAFT_CACHE_BYTES is "/ }, text);
  }
});
