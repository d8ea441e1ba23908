/** The addon's decoder and resizer by themselves: what they refuse, and that no bytes make them do worse than nothing. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadAddon } from '../../src/addon.js';

const addon = loadAddon();
const skip = !addon.info().jpeg && 'compiled without libjpeg-turbo';
const fixtures = join(import.meta.dirname, '..', 'fixtures', 'images');
const file = (name: string) => join(fixtures, name);
const view = { resize: 36, side: 32, squash: false, filter: 'bilinear' } as const;
const bytes = 32 * 32 * 3;

t.test('decodes paths and bytes, and leaves the rest to sharp', { skip }, async (t) => {
  const [fromPath, fromBytes] = [new Uint8Array(bytes), new Uint8Array(bytes)];
  const path = file('160x107.jpg');
  t.same(await addon.decodeJpeg(path, view, fromPath, 0), { width: 160, height: 107 });
  t.same(await addon.decodeJpeg(readFileSync(path), view, fromBytes, 0), { width: 160, height: 107 });
  t.same(fromBytes, fromPath);
  t.ok(fromPath.some((value) => value !== fromPath[0]));
  t.same(await addon.decodeJpeg(file('orientation-6.jpg'), view, fromPath, 0), { width: 70, height: 90 });
  const untouched = new Uint8Array(bytes).fill(7);
  for (const other of [
    file('rgb.webp'),
    file('cmyk.jpg'),
    fixtures,
    'missing.jpg',
    '/dev/null',
    new Uint8Array(0),
    Uint8Array.of(0xff, 0xd8, 0xff),
    readFileSync(path).subarray(0, 2000),
  ]) {
    t.equal(await addon.decodeJpeg(other, view, untouched, 0), undefined);
  }
  t.ok(untouched.every((value) => value === 7));
  const within = (maxPixels: number) => addon.decodeJpeg(path, { ...view, maxPixels }, fromPath, 0);
  t.same(await within(160 * 107), { width: 160, height: 107 });
  t.equal(await within(160 * 107 - 1), undefined, 'more pixels than allowed');
});

t.test('refuses wrong arguments by code', async (t) => {
  const target = new Uint8Array(bytes);
  const call = (...values: unknown[]) => (addon.decodeJpeg as (...values: unknown[]) => unknown)(...values);
  const path = file('160x107.jpg');
  for (const [values, code] of [
    [[], 'INVALID_TYPE'],
    [[path, view, target], 'INVALID_TYPE'],
    [[5, view, target, 0], 'INVALID_TYPE'],
    [[new Uint16Array(4), view, target, 0], 'INVALID_TYPE'],
    [['a\0b', view, target, 0], 'INVALID_VALUE'],
    [[path, { ...view, side: 37 }, target, 0], 'INVALID_VALUE'],
    [[path, { ...view, side: 0 }, target, 0], 'INVALID_VALUE'],
    [[path, { ...view, resize: 8193 }, target, 0], 'INVALID_VALUE'],
    [[path, { ...view, filter: 'nearest' }, target, 0], 'INVALID_VALUE'],
    [[path, { ...view, maxPixels: 0 }, target, 0], 'INVALID_VALUE'],
    [[path, { ...view, maxPixels: '1' }, target, 0], 'INVALID_TYPE'],
    [[path, { ...view, squash: 1 }, target, 0], 'INVALID_TYPE'],
    [[path, view, new Uint16Array(bytes), 0], 'INVALID_TYPE'],
    [[path, view, target, 1], 'SHAPE_MISMATCH'],
    [[path, view, target, -1], 'SHAPE_MISMATCH'],
    [[path, view, target, Number.NaN], 'SHAPE_MISMATCH'],
  ] as const) {
    t.throws(() => call(...values), { code }, code);
  }
});

t.test('pixels are refused by code when they are not what is said of them', async (t) => {
  const target = new Uint8Array(bytes);
  const image = { data: new Uint8Array(40 * 50 * 3), width: 40, height: 50, channels: 3 };
  const call = (of: unknown, how: unknown = view) =>
    (addon.resizePixels as (...values: unknown[]) => unknown)(of, how, target, 0);
  t.same(await call(image), { width: 40, height: 50 });
  for (const [damaged, code] of [
    [undefined, 'INVALID_TYPE'],
    [{ ...image, data: new Float32Array(6000) }, 'INVALID_TYPE'],
    [{ ...image, data: new Uint8Array(5999) }, 'SHAPE_MISMATCH'],
    [{ ...image, width: 41 }, 'SHAPE_MISMATCH'],
    [{ ...image, width: 0 }, 'INVALID_VALUE'],
    [{ ...image, height: 2 ** 31 }, 'INVALID_VALUE'],
    [{ ...image, channels: 5 }, 'INVALID_VALUE'],
  ] as const) {
    t.throws(() => call(damaged), { code }, code);
  }
  t.throws(() => call(image, { ...view, side: 37 }), { code: 'INVALID_VALUE' });
});

t.test('a buffer that is transferred away meanwhile is not written to', { skip }, async (t) => {
  const target = new Uint8Array(bytes);
  const source = readFileSync(file('700x523.jpg'));
  const plain = new Uint8Array(bytes);
  await addon.decodeJpeg(source, view, plain, 0);
  const into = addon.decodeJpeg(source, view, target, 0);
  structuredClone(target.buffer, { transfer: [target.buffer] });
  await t.rejects(into, { code: 'SHAPE_MISMATCH' });
  const again = new Uint8Array(bytes);
  const own = Uint8Array.from(source);
  const from = addon.decodeJpeg(own, view, again, 0);
  structuredClone(own.buffer, { transfer: [own.buffer] });
  await from;
  t.same(again, plain, 'and a source was copied before');
});

t.test('damaged bytes anywhere give an image or nothing', { skip }, async (t) => {
  const outcomes = { image: 0, nothing: 0 };
  for (const name of ['orientation-7.jpg', 'progressive.jpg', 'restarts.jpg', 'grey.jpg']) {
    const whole = readFileSync(file(name));
    for (let at = 0; at < Math.min(whole.length, 1200); at++) {
      const damaged = Uint8Array.from(whole);
      damaged[at] = (at * 167 + 91) & 0xff;
      damaged[(at * 7919) % whole.length] = 0xff;
      const target = new Uint8Array(bytes + 64).fill(9);
      const size = await addon.decodeJpeg(damaged, view, target, 32);
      outcomes[size ? 'image' : 'nothing']++;
      if (![...target.subarray(0, 32), ...target.subarray(bytes + 32)].every((value) => value === 9)) {
        t.fail(`${name}, byte ${at}: written outside its slot`);
      }
    }
  }
  t.ok(outcomes.image > 100 && outcomes.nothing > 100, JSON.stringify(outcomes));
});
