/** `predict` takes files, folders and globs, and a bad image costs no other its answer. */
import { cpSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { filesLike } from '../src/cli/glob.js';
import { createPredictor, loadClassifier, type Prediction } from '../src/index.js';
import { torchgraft } from './command-line.js';
import { defects, defectsFolder, open, quick, train } from './defects.js';

const root = t.testdir();
const file = join(root, 'model.pt');
const photos = join(root, 'photos');
const dents = readdirSync(join(defectsFolder, 'val', 'dent'))
  .sort()
  .slice(0, 3);
const good = dents.map((name) => join(photos, 'dent', name));
const bad = join(photos, 'bad.jpg');
const gone = join(photos, 'gone.jpg');

t.before(async () => {
  const model = await open(t);
  await train(model, defects(12, 6), quick);
  await model.save(file);
  mkdirSync(join(photos, 'dent'), { recursive: true });
  for (const name of dents) cpSync(join(defectsFolder, 'val', 'dent', name), join(photos, 'dent', name));
  writeFileSync(bad, '');
  writeFileSync(join(photos, 'notes.txt'), 'x');
  mkdirSync(join(photos, '.hidden'));
  cpSync(good[0] as string, join(photos, '.hidden', 'x.jpg'));
});

const predict = (...args: string[]) =>
  torchgraft(['predict', file, '--device', 'cpu', '--batch-size', '1', ...args]);
const named = (text: string) =>
  text
    .trim()
    .split('\n')
    .map((line) => line.split('  ')[0]);

t.test('the others are answered, the failed are told, and the exit code is 1', async (t) => {
  const list = [good[0], bad, gone, good[1]] as string[];
  const { code, stdout, stderr } = await predict(...list);
  t.equal(code, 1);
  t.same(named(stdout), [good[0], good[1]]);
  t.match(
    stderr,
    /error \[IMAGE_UNREADABLE\]: .*bad\.jpg: it is empty.*\nerror \[FILE_NOT_FOUND\]: No image at .*gone\.jpg/,
  );
  const alone = await predict(good[0] as string, good[1] as string);
  t.same([alone.code, alone.stdout], [0, stdout], 'with the same answers');
  const json = JSON.parse((await predict(...list, '--json')).stdout);
  t.match(json, {
    predictions: [{ image: good[0] }, { image: good[1] }],
    failed: [
      { image: bad, code: 'IMAGE_UNREADABLE', reason: /it is empty/ },
      { image: gone, code: 'FILE_NOT_FOUND', reason: /No image at/ },
    ],
    skipped: [],
    metrics: { count: 2 },
  });
});

t.test('--skip-unreadable lists them, and is content unless nothing is left', async (t) => {
  const { code, stdout, stderr } = await predict(good[0] as string, bad, '--skip-unreadable');
  t.same([code, stderr], [0, '']);
  t.match(stdout.split('\n')[1], /^skipped .*bad\.jpg: Cannot decode/);
  const json = JSON.parse((await predict(good[0] as string, bad, '--skip-unreadable', '--json')).stdout);
  t.match(json, { predictions: [{ image: good[0] }], failed: [], skipped: [{ path: bad, reason: /empty/ }] });
  t.equal((await predict(bad, '--skip-unreadable')).code, 1);
});

t.test('folders and globs', async (t) => {
  const folder = await predict(photos, '--skip-unreadable');
  t.same([folder.code, named(folder.stdout).slice(1)], [0, good]);
  const glob = await predict(join(photos, '**', '*-0?.jpg'));
  t.same([glob.code, named(glob.stdout)], [0, good]);
  const empty = join(root, 'empty');
  mkdirSync(empty);
  writeFileSync(join(empty, 'a.bmp'), 'BM');
  const none = await predict(empty, join(photos, '*.webp'), good[0] as string);
  t.equal(none.code, 1);
  t.match(none.stderr, /no images found\. Files passed over, by extension: \.bmp \(1\)/);
  t.match(none.stderr, /error \[FILE_NOT_FOUND\]: No file fits .*\*\.webp\./);
  t.same(named(none.stdout), [good[0]]);
});

t.test('--max-pixels refuses larger images', async (t) => {
  const { code, stderr } = await predict(good[0] as string, '--max-pixels', '100');
  t.equal(code, 1);
  t.match(stderr, /pixels, \d+ in all, and 100 are the most/);
});

t.test('patterns', async (t) => {
  const dir = t.testdir({
    a: {
      'x1.jpg': '',
      'x2.jpg': '',
      'y.png': '',
      '.z.jpg': '',
      deep: { 'x3.jpg': '', er: { 'x4.jpg': '' } },
    },
    'b[1]': { 'x.jpg': '' },
    'c.jpg': {},
  });
  const found = async (pattern: string) =>
    (await filesLike(`${dir}/${pattern}`)).map((path) => path.slice(dir.length + 1));
  t.same(await found('a/*.jpg'), ['a/x1.jpg', 'a/x2.jpg']);
  t.same(await found('*/x?.jpg'), ['a/x1.jpg', 'a/x2.jpg']);
  t.same(await found('a/x[2-9].jpg'), ['a/x2.jpg']);
  t.same(await found('a/x[!2].jpg'), ['a/x1.jpg']);
  t.same(await found('a/*.{png,jpg}'), ['a/x1.jpg', 'a/x2.jpg', 'a/y.png']);
  t.same(await found('{a,b*}/x*.jpg'), ['a/x1.jpg', 'a/x2.jpg', 'b[1]/x.jpg']);
  t.same(await found('a/**/*.jpg'), ['a/deep/er/x4.jpg', 'a/deep/x3.jpg', 'a/x1.jpg', 'a/x2.jpg']);
  t.same(await found('**/x4.jpg'), ['a/deep/er/x4.jpg']);
  t.same(await found('a/.*'), ['a/.z.jpg']);
  t.same(await found('a/**'), ['a/deep/er/x4.jpg', 'a/deep/x3.jpg', 'a/x1.jpg', 'a/x2.jpg', 'a/y.png']);
  t.same(await found('*.jpg'), [], 'a folder is no file');
  t.same(await found('nowhere/*.jpg'), []);
  t.same(await found('a/(x).+'), []);
});

t.test('from a program: each image its answer or its error', async (t) => {
  const list = [bad, good[0], 'nowhere.jpg', good[1], good[2]] as string[];
  await using classifier = await loadClassifier(file, { device: 'cpu', threads: 1 });
  await using predictor = await createPredictor(file, {
    device: 'cpu',
    threads: 2,
    maxPixels: 128 * 128,
    precision: 'float32',
  });
  const expected = await classifier.predict(good);
  const classOf = ({ top }: Prediction) => top[0]?.class;
  for (const results of [
    await classifier.predictSettled(list, { batchSize: 2 }),
    await classifier.predictSettled(list),
    await predictor.predictSettled(list),
  ]) {
    t.same(
      results.map((one) => (one.status === 'fulfilled' ? classOf(one.value) : one.reason.code)),
      [
        'IMAGE_UNREADABLE',
        classOf(expected[0] as Prediction),
        'FILE_NOT_FOUND',
        ...expected.slice(1).map(classOf),
      ],
    );
  }
  t.same(await classifier.predictSettled([]), []);
  t.match(await classifier.predictSettled([bad]), [{ status: 'rejected' }]);
  const signal = AbortSignal.abort();
  await t.rejects(classifier.predictSettled(list, { signal }), { code: 'ABORTED' });
  await t.rejects(predictor.predictSettled(list, { signal }), { code: 'ABORTED' });
  await t.rejects(classifier.predictSettled([5 as never]), { code: 'INVALID_TYPE' });
  await t.rejects(predictor.predictSettled(good[0] as never), {
    code: 'INVALID_TYPE',
    message: /predictSettled/,
  });
  // The first in order, though the other fails sooner: it is not there.
  for (let again = 0; again < 5; again++) {
    await t.rejects(predictor.predictMany([good[0] as string, bad, 'nowhere.jpg']), {
      code: 'IMAGE_UNREADABLE',
    });
  }
  const large = { data: new Uint8Array(129 * 128 * 3), width: 129, height: 128, channels: 3 as const };
  t.ok(await predictor.predict(large), 'decoded pixels take no more memory than they do');
});

t.test('a predictor has a limit of its own', async (t) => {
  await using small = await createPredictor(file, { device: 'cpu', threads: 1, maxPixels: 100 });
  await t.rejects(small.predict(good[0] as string), {
    code: 'IMAGE_UNREADABLE',
    message: /100 are the most \(`maxPixels`\)/,
  });
  await using usual = await createPredictor(file, { device: 'cpu', threads: 1 });
  t.ok(await usual.predict(good[0] as string));
});
