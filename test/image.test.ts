import { readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import t from 'tap';
import { decodeImage, type ImageSource, type RawPixels } from '../src/data/decode.js';
import { decodeWithSharp } from '../src/data/decode-sharp.js';
import { place } from '../src/data/geometry.js';
import { loadImages } from '../src/data/images.js';
import { completePreprocessing, normalisation, type Preprocessing } from '../src/data/preprocessing.js';

const fixtures = join(import.meta.dirname, 'fixtures', 'images');
const cases: (Pick<Preprocessing, 'size' | 'resize' | 'crop' | 'interpolation'> & {
  input: string;
  expected: string;
  about: string;
})[] = JSON.parse(readFileSync(join(fixtures, 'cases.json'), 'utf8'));

/** Largest and mean difference in grey levels, where they may differ at all; see decodeImage for the reasons. */
const allowed: Record<string, [number, number]> = {
  'shrunk 4 times or more': [25, 1.25],
};

async function decode(
  source: ImageSource,
  preprocessing: Preprocessing,
  view: 'eval' | 'canvas' = 'eval',
  by: typeof decodeWithSharp = decodeImage,
) {
  const side = view === 'eval' ? preprocessing.size : preprocessing.resize;
  const data = new Uint8Array(side * side * 3);
  const size = await by(source, preprocessing, view, data, 0);
  return { data, size };
}

function differences(a: Uint8Array, b: Uint8Array): { max: number; mean: number } {
  let max = 0;
  let sum = 0;
  for (let i = 0; i < a.length; i++) {
    const difference = Math.abs((a[i] as number) - (b[i] as number));
    max = Math.max(max, difference);
    sum += difference;
  }
  return { max, mean: sum / a.length };
}

for (const by of [decodeImage, decodeWithSharp]) {
  t.test(`${by.name} agrees with torchvision and PIL on every fixture`, async (t) => {
    for (const { input, expected, about, ...parts } of cases) {
      const preprocessing = completePreprocessing(parts);
      const theirs = await sharp(join(fixtures, expected)).raw().toBuffer();
      // Pillow 13, which made the fixtures, resizes rows first where the height shrinks much more than the width.
      const isOtherOrder = about === 'squash' && input === '33x80.jpg';
      const [maxAllowed, meanAllowed] = isOtherOrder ? [1, 0.2] : (allowed[about] ?? [0, 0]);
      for (const source of [join(fixtures, input), readFileSync(join(fixtures, input))]) {
        const { data } = await decode(source, preprocessing, 'eval', by);
        t.equal(theirs.length, data.length);
        const { max, mean } = differences(data, theirs);
        const name = `${about}: ${input}, ${parts.interpolation}: max ${max}, mean ${mean.toFixed(3)}`;
        t.ok(max <= maxAllowed && mean <= meanAllowed, name);
      }
    }
  });
}

t.test('the addon and sharp place the window alike, whatever the sides', async (t) => {
  for (const [width, height] of [
    [97, 61],
    [61, 97],
    [333, 40],
    [41, 333],
    [120, 120],
    [1, 50],
    [515, 260],
  ] as const) {
    // Blue tells columns apart, green rows: slow waves, so that a pixel's shift shows and the filter does not.
    const pixels = Buffer.from(
      Uint8Array.from({ length: width * height * 3 }, (_, i) => {
        const x = Math.floor(i / 3) % width;
        const y = Math.floor(i / 3 / width);
        const angle = [0, (y / height) * 12, (x / width) * 12][i % 3] as number;
        return 128 + 100 * Math.sin(angle);
      }),
    );
    const file = await sharp(pixels, { raw: { width, height, channels: 3 } })
      .jpeg({ quality: 95, chromaSubsampling: '4:4:4' })
      .toBuffer();
    for (const preprocessing of [
      completePreprocessing({ size: 56 }),
      completePreprocessing({ size: 33, resize: 60 }),
      completePreprocessing({ size: 40, crop: 'none' }),
    ]) {
      const ours = await decode(file, preprocessing);
      const theirs = await decode(file, preprocessing, 'eval', decodeWithSharp);
      t.same(ours.size, theirs.size);
      t.ok(differences(ours.data, theirs.data).mean < 1, `${width} x ${height} to ${preprocessing.size}`);
    }
  }
});

t.test('gives the size of the image as it is seen', async (t) => {
  const preprocessing = completePreprocessing({ size: 56 });
  const { size } = await decode(join(fixtures, 'orientation-6.jpg'), preprocessing);
  t.same(size, { width: 70, height: 90 });
});

t.test('the canvas holds the whole image, squashed', async (t) => {
  const pixels = new Uint8Array(80 * 20 * 3);
  for (let i = 0; i < 80 * 20; i++) pixels[i * 3 + (i % 80 < 40 ? 0 : 2)] = 255;
  const raw: RawPixels = { data: pixels, width: 80, height: 20, channels: 3 };
  const { data, size } = await decode(raw, completePreprocessing({ size: 28, resize: 32 }), 'canvas');
  t.same(size, { width: 80, height: 20 });
  const at = (x: number, y: number) => [...data.subarray((y * 32 + x) * 3, (y * 32 + x) * 3 + 3)];
  t.same(at(0, 0), [255, 0, 0]);
  t.same(at(31, 31), [0, 0, 255]);
});

t.test('writes only its own slot', async (t) => {
  const preprocessing = completePreprocessing({ size: 28 });
  const bytes = 28 * 28 * 3;
  const data = new Uint8Array(bytes * 3).fill(7);
  await decodeImage(join(fixtures, '61x35.png'), preprocessing, 'eval', data, bytes);
  t.ok(data.subarray(0, bytes).every((value) => value === 7));
  t.notOk(data.subarray(bytes, 2 * bytes).every((value) => value === 7));
  t.ok(data.subarray(2 * bytes).every((value) => value === 7));
});

t.test('raw pixels equal the same pixels from a file', async (t) => {
  const preprocessing = completePreprocessing({ size: 56 });
  for (const [name, channels] of [
    ['grey.png', 1],
    ['grey-alpha.png', 2],
    ['75x140.png', 3],
    ['rgba.png', 4],
  ] as const) {
    const path = join(fixtures, name);
    const image = sharp(path);
    if (channels <= 2) image.toColourspace('b-w');
    const { data, info } = await image.raw().toBuffer({ resolveWithObject: true });
    // libvips writes grey with alpha as one channel: put its alpha beside it.
    const bytes =
      channels === 2
        ? Uint8Array.from({ length: info.width * info.height * 2 }, (_, i) =>
            i % 2 ? 99 : (data[i >> 1] as number),
          )
        : data;
    const raw: RawPixels = { data: bytes, width: info.width, height: info.height, channels };
    const fromFile = await decode(path, preprocessing);
    const fromRaw = await decode(raw, preprocessing);
    t.ok(differences(fromFile.data, fromRaw.data).max <= 1, name);
  }
});

t.test('strips of extreme aspect ratio do not take memory for their whole length', async (t) => {
  const raw: RawPixels = {
    data: new Uint8Array(4 * 60_000).fill(200),
    width: 4,
    height: 60_000,
    channels: 1,
  };
  const { data } = await decode(raw, completePreprocessing());
  t.ok(data.every((value) => value === 200));
});

t.test('truncated and non-image files fail with their path', async (t) => {
  const dir = await mkdtemp(join(tmpdir(), 'torchgraft-'));
  t.teardown(() => rm(dir, { recursive: true }));
  const preprocessing = completePreprocessing();
  // Tall, so that the centre crop does not need the rows that are missing.
  const tall = sharp(
    await sharp(join(fixtures, '33x80.jpg')).resize(200, 900, { fit: 'fill' }).png().toBuffer(),
  );
  const whole = {
    'a.jpg': await tall.clone().jpeg().toBuffer(),
    'b.jpg': await tall.clone().jpeg({ progressive: true }).toBuffer(),
    'c.jpg': await tall.clone().greyscale().jpeg({ chromaSubsampling: '4:4:4' }).toBuffer(),
    'd.jpg': await tall.clone().withMetadata({ orientation: 6 }).jpeg().toBuffer(),
    'e.png': await tall.clone().png().toBuffer(),
    'f.webp': await tall.clone().webp().toBuffer(),
    'g.gif': await tall.clone().gif().toBuffer(),
    'h.tif': await tall.clone().tiff({ compression: 'deflate' }).toBuffer(),
    'i.avif': await tall.clone().avif({ effort: 0 }).toBuffer(),
  };
  // What follows the pixels: PNG's closing chunk and GIF's closing byte.
  const dispensable: Record<string, number> = { 'e.png': 12, 'g.gif': 1 };
  for (const [name, bytes] of Object.entries(whole)) {
    const path = join(dir, name);
    await writeFile(path, bytes);
    await t.resolves(decode(path, preprocessing), `${name}, whole`);
    const last = bytes.length - 1 - (dispensable[name] ?? 0);
    const lengths = [...Array(16).keys()].map((i) => Math.floor((last * i) / 15));
    for (const length of [1, 2, 3, 20, last - 2, last - 1, ...lengths]) {
      await writeFile(path, bytes.subarray(0, length));
      const expected = { name: 'TorchgraftError', code: 'IMAGE_UNREADABLE', message: path };
      await t.rejects(decode(path, preprocessing), expected, `${name}, ${length} of ${bytes.length} bytes`);
    }
  }
  for (const content of ['', 'not an image', '\xff\xd8\xff']) {
    const path = join(dir, 'x.jpg');
    await writeFile(path, content, 'latin1');
    await t.rejects(decode(path, preprocessing), { code: 'IMAGE_UNREADABLE', message: path });
  }
  const gone = join(dir, 'gone.jpg');
  await t.rejects(decode(gone, preprocessing), { code: 'FILE_NOT_FOUND', message: gone });
  await t.rejects(decode(dir, preprocessing), { code: 'IMAGE_UNREADABLE', message: dir });
  await t.rejects(decode(Buffer.from('no'), preprocessing), {
    code: 'IMAGE_UNREADABLE',
    message: /given as bytes/,
  });
  const slot = new Uint8Array(224 * 224 * 3);
  const cut = whole['a.jpg'].subarray(0, 5000);
  await t.rejects(decodeImage(cut, preprocessing, 'eval', slot, 0, 'of/this.jpg'), {
    code: 'IMAGE_UNREADABLE',
    message: 'of/this.jpg',
  });
});

t.test('loadImages makes one batch of paths, bytes and raw pixels', async (t) => {
  const preprocessing = completePreprocessing({ size: 28 });
  const path = join(fixtures, '75x140.png');
  const { data: pixels, info } = await sharp(path).raw().toBuffer({ resolveWithObject: true });
  const raw: RawPixels = { data: pixels, width: info.width, height: info.height, channels: 3 };
  const batch = await loadImages([path, readFileSync(path), raw], preprocessing);
  t.same(batch.shape, [3, 28, 28, 3]);
  t.same([...batch.sizes], [75, 140, 75, 140, 75, 140]);
  const bytes = 28 * 28 * 3;
  for (const row of [1, 2]) {
    t.equal(
      Buffer.compare(batch.data.subarray(0, bytes), batch.data.subarray(row * bytes, (row + 1) * bytes)),
      0,
    );
  }
  t.same((await loadImages([], preprocessing)).shape, [0, 28, 28, 3]);
  await t.rejects(loadImages([path, 'missing.jpg'], preprocessing), { code: 'FILE_NOT_FOUND' });
  await t.rejects(loadImages([path], preprocessing, { signal: AbortSignal.abort() }), { code: 'ABORTED' });
  await t.rejects(loadImages([''], preprocessing), { code: 'INVALID_VALUE' });
  await t.rejects(loadImages([5] as never, preprocessing), { code: 'INVALID_TYPE' });
  await t.rejects(loadImages(path as never, preprocessing), { code: 'INVALID_TYPE' });
  await t.rejects(loadImages([{ ...raw, width: 74 }], preprocessing), {
    code: 'INVALID_VALUE',
    message: /bytes/,
  });
  await t.rejects(loadImages([{ ...raw, width: 0 }], preprocessing), { code: 'INVALID_VALUE' });
});

t.test('preprocessing fills defaults and refuses what cannot work', async (t) => {
  t.same(completePreprocessing(), {
    size: 224,
    resize: 256,
    crop: 'center',
    interpolation: 'bilinear',
    mean: [0.485, 0.456, 0.406],
    std: [0.229, 0.224, 0.225],
  });
  t.equal(completePreprocessing({ size: 96 }).resize, 110);
  t.same(completePreprocessing(normalisation('signed')).mean, [0.5, 0.5, 0.5]);
  t.same(normalisation('none'), { mean: [0, 0, 0], std: [1, 1, 1] });
  t.same(completePreprocessing(JSON.parse(JSON.stringify(completePreprocessing()))), completePreprocessing());
  t.throws(() => completePreprocessing({ size: 64, resize: 32 }), {
    code: 'INVALID_VALUE',
    message: /resize/,
  });
  t.doesNotThrow(() => completePreprocessing({ size: 64, resize: 32, crop: 'none' }));
  t.throws(() => completePreprocessing({ std: [0, 1, 1] }), { code: 'INVALID_VALUE', message: /std/ });
  t.throws(() => completePreprocessing({ sise: 64 } as never), { code: 'INVALID_TYPE', message: /size/ });
});

t.test('a mean or std of pixels from 0 to 255 is noticed', async (t) => {
  const refused: [Partial<Preprocessing>, RegExp][] = [
    [
      { mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375] },
      /`mean` 123\.675,.* Divide by 255: mean 0\.485,0\.456,0\.406 and std 0\.229,0\.224,0\.225\.$/,
    ],
    [
      { mean: [127.5, 127.5, 127.5], std: [127.5, 127.5, 127.5] },
      /mean 0\.5,0\.5,0\.5 and std 0\.5,0\.5,0\.5\.$/,
    ],
    // Caffe's: 0 to 255 less a mean.
    [{ mean: [123.68, 116.78, 103.94], std: [1, 1, 1] }, /std 0\.00392157,0\.00392157,0\.00392157\.$/],
    [{ mean: [0, 0, 0], std: [255, 255, 255] }, /`std` 255,255,255 .* mean 0,0,0 and std 1,1,1\.$/],
    [
      { mean: [0.485, 0.456, 0.406], std: [58.395, 57.12, 57.375] },
      /mean 0\.485,0\.456,0\.406 and std 0\.229,/,
    ],
    [
      { mean: [123.675, 116.28, 103.53], std: [0.229, 0.224, 0.225] },
      /mean 0\.485,.* and std 0\.229,0\.224,/,
    ],
    [{ mean: [3, 1, 0.5] }, /`mean` 3,1,0\.5/],
    [{ mean: [-104, -117, -123] }, /`mean` -104/],
  ];
  for (const [parts, message] of refused) {
    t.throws(() => completePreprocessing(parts), { code: 'INVALID_VALUE', message });
  }
  for (const std of [-0.2, 0, Number.NaN, Number.POSITIVE_INFINITY]) {
    t.throws(() => completePreprocessing({ std: [0.2, 0.2, std] }), { message: /std/ }, `std ${std}`);
  }
  for (const [mean, std] of [
    [0, 1],
    [0.5, 0.5],
    [0, 1 / 255],
    [0.485, 1 / 255],
    [-1, 0.5],
    [1, 2],
  ] as const) {
    t.doesNotThrow(() => completePreprocessing({ mean: [mean, mean, mean], std: [std, std, std] }));
  }
});

t.test('places the window as torchvision does, half to even', async (t) => {
  const preprocessing = completePreprocessing({ size: 55, resize: 60 });
  t.same(place(120, 60, preprocessing, 'eval'), { width: 120, height: 60, left: 32, top: 2, side: 55 });
  t.same(place(61, 60, preprocessing, 'eval'), { width: 61, height: 60, left: 3, top: 2, side: 55 });
});
