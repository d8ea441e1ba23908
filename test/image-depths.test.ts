/** Depths, channels and codings of image files: right, or refused in words. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { decodeImage } from '../src/data/decode.js';
import { completePreprocessing } from '../src/data/preprocessing.js';
import { findNearDuplicates, type ImageDataset, loadClassifier } from '../src/index.js';
import { defects, open, quick, train } from './defects.js';

const fixtures = join(import.meta.dirname, 'fixtures', 'depths');
const cases: { input: string; expected?: number[]; refused?: string; pixelRange?: [number, number] }[] =
  JSON.parse(readFileSync(join(fixtures, 'cases.json'), 'utf8'));
/** The pictures' own size: nothing is resized. */
const preprocessing = completePreprocessing({ size: 16, resize: 16, crop: 'none' });

for (const { input, expected, refused, pixelRange } of cases) {
  t.test(`${input}${pixelRange ? ` from ${pixelRange.join(' to ')}` : ''}`, async (t) => {
    const whole = { ...preprocessing, ...(pixelRange ? { pixelRange } : {}) };
    const path = join(fixtures, input);
    const pixels = new Uint8Array(16 * 16 * 3);
    for (const source of [path, readFileSync(path)]) {
      const decoding = decodeImage(source, whole, 'eval', pixels, 0, path);
      if (refused !== undefined) {
        const message = new RegExp(`Cannot decode the image .*${input}: .*${refused}`);
        await t.rejects(decoding, { code: 'IMAGE_UNREADABLE', message });
        continue;
      }
      t.same(await decoding, { width: 16, height: 16 });
      t.same([...pixels], expected);
    }
  });
}

t.test('a pixel range is black and white, in this order, and changes nothing of 8 bits', async (t) => {
  for (const pixelRange of [[3, 3], [4, 1], [0], [0, 'x']]) {
    t.throws(() => completePreprocessing({ pixelRange } as never), { message: /pixelRange/ });
  }
  const path = join(fixtures, 'rgb8.tif');
  const [plain, ranged] = [new Uint8Array(16 * 16 * 3), new Uint8Array(16 * 16 * 3)];
  await decodeImage(path, preprocessing, 'eval', plain, 0);
  await decodeImage(path, { ...preprocessing, pixelRange: [0, 10] }, 'eval', ranged, 0);
  t.same(ranged, plain);
});

t.test('the range goes with the model', async (t) => {
  const sample = (label: number) => ({
    path: join(fixtures, label ? 'grey14in16.tif' : 'grey12in16.png'),
    label,
  });
  const data = { ...defects(2, 2), classes: ['a', 'b'] };
  data.splits = { train: [sample(0), sample(1)], val: [sample(0), sample(1)] };
  const model = await open(t);
  await t.rejects(train(model, data, quick), { code: 'IMAGE_UNREADABLE', message: /--pixel-range 0,4095/ });
  const pixelRange: [number, number] = [0, 16320];
  await train(model, data, { ...quick, preprocessing: { ...quick.preprocessing, pixelRange } });
  const file = join(t.testdir(), 'model.pt');
  await model.save(file);
  await using classifier = await loadClassifier(file, { device: 'cpu', threads: 1 });
  t.same(classifier.card.preprocessing.pixelRange, pixelRange);
  const { path } = sample(1);
  const [wide, eight] = await classifier.predict([path, join(fixtures, 'grey8.tif')], { batchSize: 1 });
  t.same(wide?.logits, eight?.logits, 'the same picture in 14 bits and in 8');
});

t.test('near-duplicates are compared whatever the range', async (t) => {
  const sample = (name: string) => ({ path: join(fixtures, name), label: 0 });
  const data = {
    classes: ['a', 'b'],
    splits: {
      train: [sample('grey12in16.tif')],
      val: [sample('float-signed.tif'), sample('int32-large.tif')],
    },
  } as unknown as ImageDataset;
  const { pairs, images } = await findNearDuplicates(data);
  t.same([images, pairs.length], [3, 2]);
});

t.test('much shrunk, wide pixels are as bright as those of 8 bits', async (t) => {
  const small = completePreprocessing({ size: 2, resize: 2, crop: 'none' });
  const meanOf = async (input: string) => {
    const pixels = new Uint8Array(2 * 2 * 3);
    await decodeImage(join(fixtures, input), small, 'eval', pixels, 0);
    return pixels.reduce((sum, value) => sum + value, 0) / pixels.length;
  };
  const grey = await meanOf('grey8.tif');
  t.ok(grey > 60 && grey < 200);
  for (const input of ['grey16.tif', 'float-1.tif', 'float-255.tif', 'float-alpha.tif', 'int32-255.tif']) {
    t.ok(Math.abs((await meanOf(input)) - grey) <= 1, input);
  }
});
