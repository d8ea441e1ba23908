// The native feature store, in processes of its own: what it keeps, what it refuses, and that nothing it is given, and
// nobody it shares a file with, makes it give out a wrong byte or end.
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import {
  featureCacheFiles,
  featureCachePath,
  featureIdentityText,
  featureLabel,
} from '../../src/feature-cache.js';
import { testDamage } from './feature-damage.js';
import {
  allGood,
  Bench,
  compileDriver,
  compiler,
  Driver,
  hasCompiler,
  headerBytes,
  type Place,
  recordBytes,
  rowBytes,
} from './feature-driver.js';

if (!hasCompiler()) {
  t.plan(0, `no ${compiler}: the feature store is not compiled`);
  process.exit();
}

const folder = t.testdir({});
const bench = new Bench(compileDriver(folder), folder);

t.test('the checksum is XXH64', async (t) => {
  // Of the alphabet again and again, as long as given; from the reference implementation (python-xxhash).
  const expected: [length: number, digest: string][] = [
    [0, 'ef46db3751d8e999'],
    [1, 'd24ec4f1a98c6e5b'],
    [4, 'de0327b0d25d92cc'],
    [15, '2e1218a2b1375068'],
    [31, 'f7d421c242541ac9'],
    [32, '4da6cbe536cf55c7'],
    [39, 'a6c2b538a1fd0a14'],
    [77, 'da981bc2e846eff4'],
    [100, '79c9fa152bb53c71'],
  ];
  await bench.withDriver(t, async (driver) => {
    for (const [length, checksum] of expected) {
      const text = 'abcdefghijklmnopqrstuvwxyz'.repeat(4).slice(0, length) || '-';
      t.same(await driver.send(`checksum ${text}`), { checksum }, `${length} bytes`);
    }
  });
});

t.test('rows come back from memory, from the file, and in another process', async (t) => {
  const path = join(folder, 'made', 'here', 'x.features');
  await bench.withDriver(t, async (driver) => {
    t.match(await driver.open({ path, memoryBytes: 20 * rowBytes }), { rows: 0, problem: '' });
    t.equal(await driver.append(0, 50), 50);
    t.equal(await driver.append(30, 50), 50, 'what is there keeps its row');
    t.match(await driver.state(), { rows: 80, fileSize: headerBytes + 80 * recordBytes });
    t.same(await driver.read(0, 100), allGood(80));
    t.equal((await driver.state()).memorySize, 20 * rowBytes, 'no more than the budget');
    t.same(await driver.send('stray'), { damaged: 4 }, 'numbers that no find() gave');
    t.match(await driver.send('huge'), { code: 'INVALID_VALUE' }, 'a count that overflows');
    t.match(await driver.open({ path: '-', memoryBytes: 1e6 }), { rows: 0, fileSize: 0, problem: '' });
    t.equal(await driver.append(0, 50), 50, 'without a file');
    t.same(await driver.read(0, 50), allGood(50));
  });
  const longAgo = new Date(2020, 1);
  utimesSync(path, longAgo, longAgo);
  await bench.withDriver(t, async (driver) => {
    t.match(await driver.open({ path, memoryBytes: 1e6 }), { rows: 80, memorySize: 0, problem: '' });
    t.ok(statSync(path).mtime > longAgo, 'opening is a use');
    t.same(await driver.read(0, 80), allGood(80));
    writeFileSync(path, '');
    t.same(await driver.read(0, 80), allGood(80), 'read once, kept in memory');
  });
});

t.test('options outside their bounds are refused', async (t) => {
  await bench.withDriver(t, async (driver) => {
    const path = bench.newPath();
    for (const wrong of [
      { rowBytes: 0 },
      { rowBytes: -1 },
      { rowBytes: 2 ** 41 },
      { memoryBytes: -1 },
      { fileBytes: -1 },
      { identity: 'x'.repeat(65_537) },
      { label: 'x'.repeat(4097) },
    ]) {
      t.match(await driver.open({ path, ...wrong }), { code: 'INVALID_VALUE', message: /feature store: `/ });
    }
    t.notOk(existsSync(path));
  });
});

t.test(
  'the file and the memory stay within their budgets, and as many rows as fit in both are kept',
  async (t) => {
    const path = bench.newPath();
    const fileBytes = headerBytes + 30 * recordBytes + 17;
    await bench.withDriver(t, async (driver) => {
      await driver.open({ path, fileBytes, memoryBytes: 20 * rowBytes + 7 });
      t.equal(await driver.append(0, 30), 30);
      t.equal((await driver.state()).problem, '');
      t.equal(await driver.append(30, 20), 20, 'in memory, in place of rows that the file has too');
      t.equal((await driver.state()).problem, '');
      t.equal(await driver.append(50, 10), 0, 'no room left');
      t.match(await driver.state(), {
        rows: 50,
        fileSize: headerBytes + 30 * recordBytes,
        memorySize: 20 * rowBytes,
        problem: /limits.*TORCHGRAFT_CACHE_BYTES/,
      });
      t.same(await driver.read(0, 60), allGood(50));
      t.match(await driver.open({ path, fileBytes: headerBytes + 10 * recordBytes }), { rows: 10 });
      t.equal(await driver.append(0, 40), 10, 'a lower limit than the file: what lies beyond is not used');
      t.match(await driver.open({ path, fileBytes: 0, memoryBytes: 40 * rowBytes }), { rows: 0 });
      t.equal(await driver.append(0, 40), 40);
      t.equal(statSync(path).size, headerBytes + 30 * recordBytes);
    });
  },
);

t.test('two processes append the same and other images at once: each row once, all good', async (t) => {
  const path = bench.newPath();
  const place: Place = { path, memoryBytes: 1000 * rowBytes };
  const [one, two] = [bench.newDriver(), bench.newDriver()];
  await Promise.all([one.open(place), two.open(place)]);
  const stored = await Promise.all([one.append(0, 3000, 7), two.append(1500, 3000, 11)]);
  t.same(stored, [3000, 3000]);
  for (const driver of [one, two]) {
    t.same(await driver.read(0, 4500), allGood(4500), "the other's too");
    t.equal(await driver.end(), 0);
  }
  t.equal(statSync(path).size, headerBytes + 4500 * recordBytes, 'nothing twice');
});

t.test(
  'a file of another identity, row size, or none is begun anew; who reads the old one goes on',
  async (t) => {
    const path = await bench.makeFile(t, 20);
    const old = bench.newDriver();
    await old.open({ path });
    await bench.withDriver(t, async (driver) => {
      for (const place of [
        { path, identity: 'other' },
        { path, identity: 'other', rowBytes: 50 },
        { path },
      ]) {
        t.match(await driver.open(place), { rows: 0, problem: '' });
        t.equal(await driver.append(0, 5), 5);
        t.match(await driver.open(place), { rows: 5 }, 'kept from now on');
      }
      t.match(await driver.open({ path, label: 'new' }), { rows: 5 }, 'the label decides nothing');
      writeFileSync(path, 'a text of somebody');
      t.match(await driver.open({ path }), { rows: 0, problem: '' });
    });
    t.same(await old.read(0, 20), allGood(20));
    t.equal(await old.append(20, 5), 5);
    t.same(await old.read(0, 25), allGood(25));
    t.equal(await old.end(), 0);
  },
);

t.test('a full disk: what fits is kept, the rest stays in memory', async (t) => {
  const path = bench.newPath();
  const room = headerBytes + 20 * recordBytes + 50;
  await bench.withDriver(t, async (driver) => {
    t.same(await driver.send(`limit ${room}`), { limited: 1 });
    await driver.open({ path, memoryBytes: 30 * rowBytes });
    t.equal(await driver.append(0, 30), 30);
    t.match(
      (await driver.state()).problem,
      `The feature cache ${path} cannot be written (File too large): new`,
    );
    t.equal(statSync(path).size, headerBytes + 20 * recordBytes, 'no half record');
    t.same(await driver.read(0, 30), allGood(30));
    t.equal(await driver.append(30, 30), 20, 'as many as memory holds in place of rows of the file');
    t.same(await driver.read(0, 60), allGood(50));
    await driver.send(`limit ${headerBytes - 1}`);
    t.match(await driver.open({ path: bench.newPath(), memoryBytes: 30 * rowBytes }), {
      problem: /cannot be written/,
    });
    t.equal(await driver.append(0, 30), 30);
  });
});

t.test('a folder and a file that may not be written, and a path that is no file', async (t) => {
  // As another user where this one may write everything; which must be able to reach the folder.
  const open = mkdtempSync(join(tmpdir(), 'torchgraft-'));
  t.teardown(() => rmSync(open, { recursive: true }));
  const mine = join(open, 'read-only');
  mkdirSync(mine);
  const path = await bench.makeFile(t, 20, join(mine, 'x.features'));
  const reachable = join(open, 'program');
  copyFileSync(bench.program, reachable);
  for (const [one, mode] of [
    [open, 0o755],
    [path, 0o444],
    [mine, 0o555],
  ] as const)
    chmodSync(one, mode);
  const driver = new Driver(reachable, process.getuid?.() === 0 ? { uid: 65534 } : {});
  t.match(await driver.open({ path, memoryBytes: 1e6 }), { rows: 20, problem: /Permission denied/ });
  t.equal(await driver.append(10, 20), 30 - 10);
  t.same(await driver.read(0, 30), allGood(30), 'the old rows too');
  t.match(await driver.open({ path, identity: 'other', memoryBytes: 1e6 }), {
    rows: 0,
    problem: /Permission denied/,
  });
  t.equal(await driver.append(0, 20), 20);
  for (const elsewhere of [
    join(mine, 'new.features'),
    join(mine, 'no', 'x'),
    mine,
    join(path, 'x'),
    '/dev/null',
  ]) {
    t.match(await driver.open({ path: elsewhere, memoryBytes: 1e6 }), {
      rows: 0,
      problem: /^The feature cache .* memory only\.$/,
    });
    t.equal(await driver.append(0, 20), 20);
    t.same(await driver.read(0, 20), allGood(20), elsewhere);
  }
  t.equal(await driver.end(), 0);
  chmodSync(mine, 0o755);
  t.equal(statSync(path).size, headerBytes + 20 * recordBytes);
});

t.test('a process that keeps the lock holds nobody up for good', async (t) => {
  const path = await bench.makeFile(t, 20);
  const [holder, appender, opener] = [bench.newDriver(), bench.newDriver(), bench.newDriver()];
  await Promise.all([holder.open({ path }), appender.open({ path, memoryBytes: 1e6 })]);
  t.same(await holder.send('lock'), { locked: 1 });
  const [stored, opened] = await Promise.all([
    appender.append(20, 5),
    opener.open({ path, memoryBytes: 1e6 }),
  ]);
  t.equal(stored, 5);
  t.match(await appender.state(), { rows: 25, problem: /another process holds its lock/ });
  t.match(opened, { rows: 20, problem: /another process holds its lock/ }, 'it reads what is there');
  t.same(await opener.read(0, 20), allGood(20));
  for (const driver of [holder, appender, opener]) t.equal(await driver.end(), 0);
  t.equal(statSync(path).size, headerBytes + 20 * recordBytes);
});

t.test('removed while another process waits for the lock: that one begins a new file', async (t) => {
  const path = await bench.makeFile(t, 20);
  const [holder, opener] = [bench.newDriver(), bench.newDriver()];
  await holder.open({ path });
  await holder.send('lock');
  const opening = opener.open({ path });
  await sleep(300);
  rmSync(path);
  t.equal(await holder.end(), 0);
  t.match(await opening, { rows: 0, problem: '' });
  t.equal(await opener.append(0, 5), 5);
  t.equal(await opener.end(), 0);
  t.equal(statSync(path).size, headerBytes + 5 * recordBytes);
});

t.test('the listing reads what the store writes', async (t) => {
  const identity = {
    model: 'net.pt',
    prefix: '00ff',
    preprocessing: { size: 96 },
    crossings: [{ layer: 'layer3', shape: [256], dtype: 'float32' }],
  };
  process.env.TORCHGRAFT_CACHE = t.testdir({});
  const path = featureCachePath(identity);
  await bench.withDriver(t, async (driver) => {
    await driver.open({ path, identity: featureIdentityText(identity), label: featureLabel(identity) });
    t.equal(await driver.append(0, 12), 12);
    t.same(await featureCacheFiles(), [
      { path, bytes: (await driver.state()).fileSize, rows: 12, lastUsed: statSync(path).mtime, identity },
    ]);
    t.match(await driver.open({ path, identity: featureIdentityText(identity) }), { rows: 12 });
  });
});

testDamage(t, bench);
