/** Depths, channels and codings of image files: right, or refused in words. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { decodeImage } from '../src/data/decode.js';
import { completePreprocessing } from '../src/data/preprocessing.js';

const fixtures = join(import.meta.dirname, 'fixtures', 'depths');
const cases: { input: string; expected?: number[]; refused?: string }[] = JSON.parse(
  readFileSync(join(fixtures, 'cases.json'), 'utf8'),
);
/** The pictures' own size: nothing is resized. */
const preprocessing = completePreprocessing({ size: 16, resize: 16, crop: 'none' });

for (const { input, expected, refused } of cases) {
  t.test(input, async (t) => {
    const path = join(fixtures, input);
    const pixels = new Uint8Array(16 * 16 * 3);
    for (const source of [path, readFileSync(path)]) {
      const decoding = decodeImage(source, preprocessing, 'eval', pixels, 0, path);
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
