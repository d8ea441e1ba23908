import {
  appendFileSync,
  existsSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import { allGood, type Bench, headerBytes, recordBytes, rowBytes } from './feature-driver.js';

/** Changes bytes of a file in place; `change` gets them from `offset` on. */
function damage(path: string, offset: number, change: (bytes: Buffer) => void): void {
  const bytes = readFileSync(path);
  change(bytes.subarray(offset));
  writeFileSync(path, bytes);
}

function flip(bytes: Buffer): Buffer {
  bytes[0] = (bytes[0] ?? 0) ^ 4;
  return bytes;
}

/** Whatever happens to the file, no wrong byte is given out, and what was lost is put in anew. Part of feature-store.test.ts. */
export function testDamage(t: Test, bench: Bench): void {
  t.test('killed while appending, 12 times: no wrong byte, and the next goes on', async (t) => {
    let written = 0;
    for (let round = 0; round < 12; round++) {
      const place = { path: bench.newPath(), rowBytes: 100_000 };
      const victim = bench.newDriver();
      await victim.open(place);
      const appending = victim.append(0, 1000, 20).catch(() => 'killed');
      // In every other round it is sure to have begun, however busy the machine is.
      while (round % 2 === 0 && statSync(place.path).size <= headerBytes + place.rowBytes + 40)
        await sleep(1);
      await sleep(Math.random() * 60);
      await victim.kill();
      await appending;
      await bench.withDriver(t, async (driver) => {
        await driver.open(place);
        const { found, good } = await driver.read(0, 300);
        t.equal(good, found, `round ${round}: ${found} rows`);
        written += found;
        t.equal(await driver.append(1000, 3), 3);
        t.equal((statSync(place.path).size - headerBytes) % (40 + place.rowBytes), 0, 'whole records again');
        t.same(await driver.read(1000, 3), allGood(3));
      });
      rmSync(place.path);
    }
    t.ok(written > 0, `${written} rows were written before the kills`);
  });

  t.test('a half-written record at the end is passed over, and overwritten by the next writer', async (t) => {
    const path = await bench.makeFile(t, 20);
    for (const missing of [1, rowBytes - 1, rowBytes, rowBytes + 8, recordBytes - 1]) {
      truncateSync(path, headerBytes + 20 * recordBytes - missing);
      await bench.withDriver(t, async (driver) => {
        t.match(await driver.open({ path }), { rows: 19 });
        t.same(await driver.read(0, 20), allGood(19));
        t.equal(await driver.append(19, 1), 1);
        t.equal(statSync(path).size, headerBytes + 20 * recordBytes, `${missing} bytes were missing`);
        t.same(await driver.read(0, 20), allGood(20));
      });
    }
    appendFileSync(path, Buffer.alloc(recordBytes - 1));
    await bench.withDriver(t, async (driver) => {
      t.match(await driver.open({ path }), { rows: 20 });
      t.equal(await driver.append(20, 1), 1);
      t.match(await driver.open({ path }), { rows: 21 });
      t.same(await driver.read(0, 21), allGood(21));
    });
  });

  t.test(
    'one flipped bit anywhere in a record, or a cleared page: not used, and computed anew',
    async (t) => {
      for (const [name, offset] of [
        ['key', 5],
        ['checksum', 35],
        ['first byte of the row', 40],
        ['last byte of the row', recordBytes - 1],
      ] as const) {
        const path = await bench.makeFile(t, 20);
        damage(path, headerBytes + 7 * recordBytes + offset, flip);
        await bench.withDriver(t, async (driver) => {
          await driver.open({ path });
          const lost = name === 'key' ? { found: 19, damaged: 0 } : { found: 20, damaged: 1 };
          t.same(await driver.read(0, 20), { ...lost, good: 19, wrong: 0 }, name);
          t.match(await driver.read(0, 20), allGood(19), 'forgotten');
          t.equal(await driver.append(0, 20), 20);
          t.same(await driver.read(0, 20), allGood(20), 'computed anew');
          await driver.open({ path });
          t.same(await driver.read(0, 20), allGood(20), 'and so for the next run');
        });
      }
      const path = await bench.makeFile(t, 60);
      damage(path, 4096, (bytes) => bytes.fill(0, 0, 4096));
      await bench.withDriver(t, async (driver) => {
        await driver.open({ path });
        const { found, good, wrong, damaged } = await driver.read(0, 60);
        t.same([wrong, good + damaged], [0, found]);
        t.ok(good >= 28 && good <= 31, `${good} rows lie outside of the cleared page`);
      });
    },
  );

  t.test('removed or cut by another process while in use', async (t) => {
    const path = await bench.makeFile(t, 20);
    await bench.withDriver(t, async (driver) => {
      await driver.open({ path });
      rmSync(path);
      t.equal(await driver.append(20, 5), 5);
      t.same(await driver.read(0, 25), allGood(25), 'removed: it goes on with its own');
      t.notOk(existsSync(path));

      await bench.makeFile(t, 20, path);
      for (const size of [headerBytes + 10 * recordBytes, headerBytes - 3, 0]) {
        await driver.open({ path });
        truncateSync(path, size);
        const { good, damaged, wrong } = await driver.read(0, 20);
        t.same([good + damaged, wrong], [20, 0], `cut to ${size}`);
        if (size > headerBytes) {
          await bench.withDriver(t, async (other) => {
            await other.open({ path });
            t.equal(await other.append(100, 3), 3);
            t.same(
              await driver.read(100, 3),
              allGood(3),
              'what another process appends after the cut is seen',
            );
          });
        }
        t.equal(await driver.append(0, 20), 20);
        t.same(await driver.read(0, 20), allGood(20));
        await driver.open({ path });
        t.same(await driver.read(0, 20), allGood(20));
      }
    });
  });

  t.test('200 random damages of header and records', async (t) => {
    const whole = readFileSync(await bench.makeFile(t, 30));
    const seed = Number(process.env.SEED ?? Math.floor(Math.random() * 2 ** 31));
    t.comment(`SEED=${seed} repeats it`);
    let state = seed;
    const random = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
    const damages: ((bytes: Buffer) => Buffer)[] = [
      (bytes) => (flip(bytes.subarray(random(bytes.length))), bytes),
      (bytes) => (flip(bytes.subarray(random(headerBytes))), bytes),
      (bytes) => (bytes.writeUInt32LE(random(2 ** 32), random(headerBytes)), bytes),
      (bytes) => bytes.fill(random(256), random(bytes.length), bytes.length - random(1000)),
      (bytes) => bytes.subarray(0, random(bytes.length)),
      (bytes) => Buffer.concat([bytes, Buffer.from(Array.from({ length: random(500) }, () => random(256)))]),
      (bytes) =>
        Buffer.concat([bytes.subarray(0, random(bytes.length)), bytes.subarray(random(bytes.length))]),
      (bytes) => Buffer.from(bytes.map(() => random(256))),
    ];
    const path = bench.newPath();
    let lost = 0;
    await bench.withDriver(t, async (driver) => {
      for (let round = 0; round < 200; round++) {
        const change = damages[round % damages.length] as (bytes: Buffer) => Buffer;
        writeFileSync(path, change(Buffer.from(whole)));
        await driver.open({ path });
        const before = await driver.read(0, 30);
        t.equal(before.wrong, 0, `damage ${round}`);
        lost += 30 - before.good;
        t.equal(await driver.append(0, 30), 30);
        t.same(await driver.read(0, 30), allGood(30));
        t.match(await driver.open({ path }), { problem: '' });
        t.same(await driver.read(0, 30), allGood(30), 'mended for the next run');
      }
    });
    t.ok(lost > 200, `${lost} rows were lost in all`);
  });
}
