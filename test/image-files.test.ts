/** Which files are read as images: by their first bytes, within limits, and never what is no file. */
import { spawnSync } from 'node:child_process';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { deflateSync } from 'node:zlib';
import sharp from 'sharp';
import t from 'tap';
import { readImageFile } from '../src/data/image-file.js';
import { formatOf } from '../src/data/image-format.js';
import { loadImages } from '../src/data/images.js';
import { mapInOrder } from '../src/data/in-order.js';
import { BatchLoader } from '../src/data/loader.js';
import { completePreprocessing } from '../src/data/preprocessing.js';
import { findNearDuplicates, imageFolder, imageLimits, imageManifest } from '../src/index.js';
import { defects } from './defects.js';

const preprocessing = completePreprocessing({ size: 16, resize: 16 });
const fixtures = join(import.meta.dirname, 'fixtures', 'images');
const load = (source: string | Uint8Array) => loadImages([source], preprocessing);
const latin1 = (text: string) => Buffer.from(text, 'latin1');

/** Waits until others have had their turns. */
const turn = () => new Promise((done) => setImmediate(done));

t.test('formats by their first bytes', async (t) => {
  for (const [name, format] of [
    ['grey.jpg', 'JPEG'],
    ['rgba.png', 'PNG'],
    ['rgb.webp', 'WebP'],
    ['rgb.tif', 'TIFF'],
    ['animated.gif', 'GIF'],
  ] as const) {
    t.equal(formatOf(readFileSync(join(fixtures, name))), format);
  }
  const avif = await sharp(join(fixtures, 'rgba.png')).avif({ effort: 0 }).toBuffer();
  t.equal(formatOf(avif), 'AVIF');
  // The brand may be among those that the file is compatible with.
  const other = Buffer.from(avif);
  other.write('mif1', 8, 'latin1');
  t.equal(formatOf(other), 'AVIF');
});

const svg =
  '<svg xmlns="http://www.w3.org/2000/svg" width="3000" height="3000"><filter id="f"><feTurbulence baseFrequency="0.05" ' +
  'numOctaves="8"/></filter><rect width="3000" height="3000" filter="url(#f)"/></svg>';
const box = (brand: string, other = 'mif1') => `\0\0\0\x18ftyp${brand}\0\0\0\0${brand}${other}`;

t.test('other files are refused by name before a decoder sees them', async (t) => {
  const dir = t.testdir();
  const files: Record<string, [string, string]> = {
    svg: [svg, 'an SVG drawing'],
    'svg with a declaration': [`\xef\xbb\xbf<?xml version="1.0"?>\n<!-- drawn -->\n${svg}`, 'an SVG drawing'],
    svgz: ['\x1f\x8b\x08\0\0\0\0\0', 'a gzip archive'],
    pdf: ['%PDF-1.7\n', 'a PDF'],
    bmp: [`BM${'\0'.repeat(60)}`, 'a BMP image'],
    heic: [box('heic'), 'a HEIC image'],
    'jpeg xl': ['\xff\x0a\xfa\x1f', 'a JPEG XL image'],
    'jpeg xl container': ['\0\0\0\x0cJXL \r\n\x87\n', 'a JPEG XL image'],
    'jpeg 2000': ['\0\0\0\x0cjP  \r\n\x87\n', 'a JPEG 2000 image'],
    video: [box('isom', 'mp41'), 'a video'],
    ico: ['\0\0\x01\0\x01\0', 'an icon'],
    ppm: ['P6\n2 2\n255\n123412341234', 'a PNM image'],
    exr: ['v/1\x01\x02\0\0\0', 'an OpenEXR image'],
    hdr: ['#?RADIANCE\n', 'a Radiance HDR image'],
    dicom: [`${'\0'.repeat(128)}DICM\x02\0`, 'a DICOM image'],
    psd: ['8BPS\0\x01', 'a Photoshop document'],
    numpy: ['\x93NUMPY\x01\0', 'a NumPy array'],
    zip: ['PK\x03\x04', 'a ZIP archive'],
    html: ['\n<!DOCTYPE html><html><svg></svg>', 'an HTML page'],
    lfs: ['version https://git-lfs.github.com/spec/v1\n', 'a pointer of Git LFS'],
    empty: ['', 'empty'],
    zeros: ['\0'.repeat(2000), 'nothing but zeros'],
    text: ['hello, this is text', 'of no known image format'],
  };
  for (const [name, [content, what]] of Object.entries(files)) {
    const path = join(dir, `${name}.png`);
    writeFileSync(path, content, 'latin1');
    for (const source of [path, latin1(content)]) {
      await t.rejects(load(source), {
        code: 'IMAGE_UNREADABLE',
        message: new RegExp(`it is ${what}.*JPEG, PNG, WebP, TIFF, GIF and AVIF`),
      });
    }
  }
});

/** Of PNG's chunks. */
function crc32(bytes: Buffer): number {
  let crc = -1;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

/** A PNG of so many black pixels of one bit; the rows are packed to almost nothing. */
function png(width: number, height: number): Buffer {
  const chunk = (kind: string, data: Buffer) => {
    const body = Buffer.concat([latin1(kind), data]);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(data.length);
    const sum = Buffer.alloc(4);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = 1;
  const rows = deflateSync(Buffer.alloc(height * (1 + Math.ceil(width / 8))));
  const parts = [chunk('IHDR', header), chunk('IDAT', rows), chunk('IEND', Buffer.alloc(0))];
  return Buffer.concat([latin1('\x89PNG\r\n\x1a\n'), ...parts]);
}

/** A JPEG that says that it has so many pixels. */
async function jpeg(width: number, height: number): Promise<Buffer> {
  const file = await sharp({ create: { width: 16, height: 16, channels: 3, background: 'red' } })
    .jpeg()
    .toBuffer();
  const frame = file.indexOf(latin1('\xff\xc0'));
  file.writeUInt16BE(height, frame + 5);
  file.writeUInt16BE(width, frame + 7);
  return file;
}

t.test('more pixels than the limit are refused by the header', async (t) => {
  const bomb = png(50_000, 50_000);
  t.ok(bomb.length < 400_000);
  await t.rejects(load(bomb), {
    code: 'IMAGE_UNREADABLE',
    message: /it has 50000 x 50000 pixels, 2500000000 in all, and 268402689 are the most \(`maxPixels`\)/,
  });
  await t.rejects(load(await jpeg(65_000, 65_000)), {
    code: 'IMAGE_UNREADABLE',
    message: /65000 x 65000 pixels/,
  });
  const before = imageLimits();
  t.same(before, { maxPixels: 268_402_689, maxSeconds: 120 });
  t.teardown(() => imageLimits(before));
  t.same(imageLimits({ maxPixels: 90 * 70 - 1 }), { maxPixels: 90 * 70 - 1, maxSeconds: 120 });
  for (const name of [
    'grey.jpg',
    'progressive.jpg',
    'grey.png',
    'cmyk.jpg',
    'rgb.webp',
    'rgb.tif',
    'animated.gif',
  ]) {
    await t.rejects(
      load(join(fixtures, name)),
      { code: 'IMAGE_UNREADABLE', message: /6299 are the most/ },
      name,
    );
  }
  imageLimits({ maxPixels: 90 * 70 });
  for (const name of ['grey.jpg', 'grey.png', 'cmyk.jpg', 'rgb.webp', 'rgb.tif', 'animated.gif']) {
    await t.resolves(load(join(fixtures, name)), name);
  }
  t.throws(() => imageLimits({ maxPixels: 0 }), { code: 'INVALID_VALUE', message: /maxPixels/ });
  t.throws(() => imageLimits({ pixels: 5 } as never), { code: 'INVALID_TYPE', message: /maxPixels/ });
});

t.test('a progressive JPEG of very many scans is refused', async (t) => {
  const file = await sharp(join(fixtures, '700x523.jpg')).greyscale().jpeg({ progressive: true }).toBuffer();
  // The last scan once more and more: it refines what is known already.
  const last = file.lastIndexOf(latin1('\xff\xda'));
  const scan = file.subarray(last, file.length - 2);
  const many = Buffer.concat([file.subarray(0, last), ...Array<Buffer>(500).fill(scan), latin1('\xff\xd9')]);
  await t.resolves(load(file));
  await t.rejects(load(many), { code: 'IMAGE_UNREADABLE' });
});

t.test('of an animation the first frame is decoded, however many there are', async (t) => {
  const frames = Buffer.alloc(2000 * 8 * 8 * 3, 128);
  const gif = await sharp(frames, { raw: { width: 8, height: 8 * 2000, channels: 3, pageHeight: 8 } })
    .gif({ effort: 1, keepDuplicateFrames: true })
    .toBuffer();
  t.equal((await sharp(gif).metadata()).pages, 2000);
  const { sizes } = await load(gif);
  t.same([...sizes], [8, 8]);
});

const onPosix = { skip: process.platform === 'win32' ? 'no named pipes' : false };

t.test('what is no file is told, and not waited for', onPosix, async (t) => {
  const dir = t.testdir({ train: { a: {}, b: {} }, 'folder.jpg': {} });
  const pipe = join(dir, 'pipe.jpg');
  t.equal(spawnSync('mkfifo', [pipe]).status, 0);
  const socket = join(dir, 's.jpg');
  const server = createServer().listen(socket);
  await new Promise((done) => server.once('listening', done));
  t.teardown(() => server.close());
  const zero = join(dir, 'zero.png');
  symlinkSync('/dev/zero', zero);
  const lost = join(dir, 'lost.png');
  symlinkSync('nowhere.png', lost);
  const cases: [string, string, RegExp][] = [
    [pipe, 'IMAGE_UNREADABLE', /pipe\.jpg: it is a named pipe, not a file/],
    [socket, 'IMAGE_UNREADABLE', /s\.jpg: it is a socket, not a file/],
    [zero, 'IMAGE_UNREADABLE', /zero\.png: it is a device, not a file/],
    [join(dir, 'folder.jpg'), 'IMAGE_UNREADABLE', /folder\.jpg: it is a folder, not a file/],
    [lost, 'FILE_NOT_FOUND', /lost\.png: it is a link to nowhere\.png, which cannot be followed/],
    [join(dir, 'no\0thing.png'), 'IMAGE_UNREADABLE', /Cannot decode/],
    [join(dir, 'x'.repeat(300)), 'FILE_NOT_FOUND', /No image at/],
  ];
  for (const [path, code, message] of cases) {
    await t.rejects(load(path), { code, message });
    await t.rejects(readImageFile(path), { code, message });
  }
  const samples = [
    { path: pipe, label: 0 },
    { path: join(fixtures, 'grey.jpg'), label: 0 },
    { path: zero, label: 0 },
  ];
  for (const digests of [false, true]) {
    const loader = new BatchLoader(samples, {
      preprocessing,
      view: 'eval',
      batchSize: 4,
      digests,
      unreadable: 'skip',
    });
    const read: string[] = [];
    for await (const { paths } of loader) read.push(...paths);
    t.same(read, [samples[1]?.path]);
    t.match(loader.skipped, [
      { path: pipe, reason: /named pipe/ },
      { path: zero, reason: /device/ },
    ]);
  }
});

t.test('folders and manifests tell what is no file, or leave it to be skipped', onPosix, async (t) => {
  const photo = (name: string) => readFileSync(join(fixtures, name));
  const dir = t.testdir({
    set: {
      a: { '1.jpg': photo('grey.jpg'), '3.png': photo('grey.png') },
      b: { '1.jpg': photo('half-colour.jpg'), '3.png': photo('61x35.png') },
    },
    'list.csv': 'path,label\nset/a/1.jpg,a\nset/a/2.jpg,a\nset/a/3.png,a\nset/b/1.jpg,b\nset/b/3.png,b\n',
  });
  const set = join(dir, 'set');
  const path = join(set, 'a', '2.jpg');
  t.equal(spawnSync('mkfifo', [path]).status, 0);
  const refused = { code: 'IMAGE_UNREADABLE', message: /2\.jpg.*: it is a named pipe/ };
  await t.rejects(imageFolder(set), refused);
  await t.rejects(imageManifest(join(dir, 'list.csv')), {
    ...refused,
    message: /2\.jpg \(line 3 of list\.csv\): it is a named pipe/,
  });
  for (const data of [
    await imageFolder(set, { unreadable: 'skip' }),
    await imageManifest(join(dir, 'list.csv'), { unreadable: 'skip' }),
  ]) {
    t.equal(
      data.splits.train.length + data.splits.val.length,
      5,
      'it is still listed, for those who read to tell of it',
    );
    t.ok(
      data.splits.train.some((sample) => sample.path === path),
      'and in no validation split',
    );
    const { skipped } = await findNearDuplicates(data, { unreadable: 'skip' });
    t.match(skipped, [{ path, reason: /named pipe/ }]);
  }
});

t.test('a name that is not UTF-8 is told', onPosix, async (t) => {
  const dir = t.testdir({ a: { '1.jpg': '1', '2.jpg': '22' }, b: { '1.jpg': '333', '2.jpg': '4444' } });
  const name = Buffer.concat([Buffer.from(join(dir, 'a', 'caf')), latin1('\xe9.jpg')]);
  try {
    writeFileSync(name, 'x');
  } catch {
    t.pass('this file system takes no such name');
    return;
  }
  await t.rejects(imageFolder(dir), {
    code: 'FILE_NOT_FOUND',
    message: /caf\uFFFD\.jpg: its name is not UTF-8\. Rename it/,
  });
  const { summary } = await imageFolder(dir, { unreadable: 'skip' });
  t.same(summary.counts.val, { a: 1, b: 1 });
});

t.test('the first image in order that fails is told, whichever fails first', async (t) => {
  for (const width of [1, 2, 7, 50]) {
    const begun: number[] = [];
    // The later, the sooner.
    const work = async (item: number) => {
      begun.push(item);
      for (let left = 20 - item; left > 0; left--) await turn();
      if (item >= 3 && item % 2 === 1) throw new Error(`item ${item}`);
      return item * 2;
    };
    await t.rejects(
      mapInOrder([...Array(20).keys()], width, work),
      { message: 'item 3' },
      `${width} at a time`,
    );
    t.same(
      begun,
      [...begun].sort((a, b) => a - b),
      'begun in order',
    );
    t.ok(begun.length <= 3 + width, 'and nothing more once it has failed');
  }
  t.same(await mapInOrder([1, 2, 3], 2, async (item) => item * 2), [2, 4, 6]);
  t.same(await mapInOrder([], 2, async () => 1), []);
});

t.test(
  'of a large broken and a small missing image the first is told, at any number of threads',
  async (t) => {
    const folder = t.testdir();
    const large = join(folder, 'large.jpg');
    // Decoded almost to its end before the damage shows, while the missing one fails at once.
    const photo = await sharp({ create: { width: 2000, height: 2000, channels: 3, background: 'green' } })
      .jpeg()
      .toBuffer();
    writeFileSync(large, photo.subarray(0, -2000));
    const missing = join(folder, 'missing.jpg');
    for (const threads of [1, 2, 8]) {
      for (const [paths, code] of [
        [[large, missing], 'IMAGE_UNREADABLE'],
        [[missing, large], 'FILE_NOT_FOUND'],
      ] as const) {
        const data = defects(4, 4);
        data.splits.train.unshift(...paths.map((path) => ({ path, label: 0 })));
        await t.rejects(findNearDuplicates(data, { threads }), { code });
        await t.rejects(loadImages(paths, preprocessing, { threads }), { code });
        const loader = new BatchLoader(data.splits.train, {
          preprocessing,
          view: 'eval',
          batchSize: 4,
          threads,
        });
        await t.rejects(loader[Symbol.asyncIterator]().next(), { code });
      }
    }
  },
);

t.test('too many open files are said, and no image is blamed', onPosix, async (t) => {
  // The shell's limit is the child's; what it opens before it reads images takes most of it.
  const program = `
    import { openSync } from 'node:fs';
    import { BatchLoader } from ${JSON.stringify(join(import.meta.dirname, '../lib/data/loader.js'))};
    import { loadAddon } from ${JSON.stringify(join(import.meta.dirname, '../lib/addon.js'))};
    loadAddon();
    const path = ${JSON.stringify(join(fixtures, 'grey.png'))};
    try { for (;;) openSync(path); } catch {}
    const loader = new BatchLoader([{ path, label: 0 }], { preprocessing: ${JSON.stringify(preprocessing)}, view: 'eval', batchSize: 1, unreadable: 'skip', digests: process.argv[1] === 'digests' });
    for await (const batch of loader) console.log('read');
  `;
  for (const how of ['plain', 'digests']) {
    const command = 'ulimit -n 128; exec "$0" --input-type=module --eval "$1" "$2"';
    const { stderr, stdout, status } = spawnSync('bash', ['-c', command, process.execPath, program, how], {
      encoding: 'utf8',
    });
    t.match(stderr, /TOO_MANY_FILES/);
    t.match(
      stderr,
      /Cannot open .*grey\.png: the process has as many files open as it may \(EMFILE\)\. Raise the limit/,
    );
    t.equal(stdout, '');
    t.equal(status, 1);
  }
});
