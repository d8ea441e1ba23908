import { existsSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import t from 'tap';
import type { ImageDataset } from '../src/data/dataset.js';
import { imageFolder } from '../src/data/folder.js';

/** Files of contents that differ unless given; names ending in / are folders. */
async function tree(root: string, files: (string | [string, string])[]): Promise<string> {
  for (const file of files) {
    const [name, content] = typeof file === 'string' ? [file, file] : file;
    const path = join(root, name);
    await mkdir(name.endsWith('/') ? path : dirname(path), { recursive: true });
    if (!name.endsWith('/')) await writeFile(path, content);
  }
  return root;
}

function many(folder: string, count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${folder}/${String(i).padStart(3, '0')}.jpg`);
}

const names = (dataset: ImageDataset, split: 'train' | 'val' | 'test') =>
  (dataset.splits[split] ?? []).map(({ path, label }) => `${path.split('/').slice(-2).join('/')}=${label}`);

t.test('train, val and test folders', async (t) => {
  const dir = await tree(t.testdir(), [
    ...['train/b/2.JPG', 'train/b/10.png', 'train/a/1.jpeg', 'train/a/deep/1.webp'],
    ...['VALID/a/3.tiff', 'VALID/b/4.gif', 'test/b/5.jpg', 'notes/x.txt'],
  ]);
  const dataset = await imageFolder(dir);
  t.same(dataset.classes, ['a', 'b']);
  t.same(names(dataset, 'train'), ['a/1.jpeg=0', 'deep/1.webp=0', 'b/10.png=1', 'b/2.JPG=1']);
  t.same(names(dataset, 'val'), ['a/3.tiff=0', 'b/4.gif=1']);
  t.same(names(dataset, 'test'), ['b/5.jpg=1']);
  t.match(dataset.summary, {
    source: dir,
    classes: ['a', 'b'],
    counts: { train: { a: 2, b: 2 }, val: { a: 1, b: 1 }, test: { a: 0, b: 1 } },
    validation: 'given',
    fingerprint: /^[0-9a-f]{64}$/,
  });
  t.match(dataset.warnings, [/notes/, /`a` has no images in test/]);
  t.equal(dataset.warnings.length, 2);
  t.same(JSON.parse(JSON.stringify(dataset)), dataset, 'plain JSON');
});

t.test('class folders alone are split, seeded and stratified', async (t) => {
  const dir = await tree(t.testdir(), [...many('a', 50), ...many('b', 3), ...many('c', 2), ...many('d', 1)]);
  const dataset = await imageFolder(dir);
  t.same(dataset.summary.counts, { train: { a: 40, b: 2, c: 1, d: 1 }, val: { a: 10, b: 1, c: 1, d: 0 } });
  t.same(dataset.summary.validation, { share: 0.2, seed: 0 });
  t.match(dataset.warnings, [/`d` has no images in val/]);
  t.equal(dataset.warnings.length, 1);
  t.same(await imageFolder(dir), dataset, 'the same again');
  const other = await imageFolder(dir, { seed: 1 });
  t.not(names(other, 'val').join(), names(dataset, 'val').join(), 'another seed, another split');
  t.not(other.summary.fingerprint, dataset.summary.fingerprint);
  const half = await imageFolder(dir, { validation: 0.5 });
  t.same(half.summary.counts.val, { a: 25, b: 2, c: 1, d: 0 });
  const all = [...names(dataset, 'train'), ...names(dataset, 'val')].sort();
  t.equal(new Set(all).size, 56, 'every image is in exactly one split');
  // Moved elsewhere, the same tree gives the same split and the same fingerprint.
  const moved = await tree(join(t.testdirName, 'moved'), [
    ...[...many('a', 50), ...many('b', 3), ...many('c', 2), ...many('d', 1)],
  ]);
  t.equal((await imageFolder(moved)).summary.fingerprint, dataset.summary.fingerprint);
});

t.test('train alone gives up a share for validation; test stays', async (t) => {
  const dir = await tree(t.testdir(), [...many('train/a', 10), ...many('train/b', 10), ...many('test/a', 2)]);
  const { summary, splits } = await imageFolder(dir);
  t.same(summary.counts, { train: { a: 8, b: 8 }, val: { a: 2, b: 2 }, test: { a: 2, b: 0 } });
  t.ok(splits.val.every(({ path }) => path.includes('/train/')));
});

t.test('what is no image is passed over and counted', async (t) => {
  const dir = await tree(t.testdir(), [
    ...[
      'a/1.jpg',
      'a/2.jpg',
      'b/1.jpg',
      'b/2.jpg',
      'stray.jpg',
      '.git/x.jpg',
      'a/.DS_Store',
      'b/.cache/1.jpg',
    ],
    ...['a/readme.txt', 'b/old.bmp', 'b/older.BMP', 'b/LICENSE'],
  ]);
  const dataset = await imageFolder(dir);
  t.same(dataset.summary.counts, { train: { a: 1, b: 1 }, val: { a: 1, b: 1 } });
  t.match(dataset.warnings, [
    /^1 images outside/,
    /^2 hidden/,
    /\.bmp \(2\), \.txt \(1\), no extension \(1\)/,
  ]);
});

t.test('links to files and to class folders are followed', async (t) => {
  const dir = await tree(t.testdir(), ['real/1.jpg', 'real/2.jpg', 'set/a/1.jpg', 'set/a/2.jpg']);
  await symlink(join(dir, 'real'), join(dir, 'set', 'b'));
  await symlink(join(dir, 'real', '1.jpg'), join(dir, 'set', 'a', '3.jpg'));
  await symlink(join(dir, 'set'), join(dir, 'set', 'a', 'loop'));
  const { summary } = await imageFolder(join(dir, 'set'));
  t.same(summary.counts, { train: { a: 2, b: 1 }, val: { a: 1, b: 1 } });
});

t.test('leakage names both files', async (t) => {
  const dir = await tree(t.testdir(), [
    ...([
      ['train/a/1.jpg', 'same'],
      ['train/a/2.jpg', 'also'],
      ['train/a/5.jpg', 'same'],
    ] as [string, string][]),
    ...([
      ['train/b/1.jpg', 'else'],
      ['val/a/3.jpg', 'same'],
      ['val/b/4.jpg', 'also'],
    ] as [string, string][]),
  ]);
  const { warnings } = await imageFolder(dir);
  t.match(warnings, [
    /Leakage: .* in train \(.*train\/a\/1\.jpg\) and val \(.*val\/a\/3\.jpg\)\.$/,
    /Leakage: .* in train \(.*train\/a\/2\.jpg\) and val \(.*val\/b\/4\.jpg\), as `a` and `b`\.$/,
  ]);
  t.equal(warnings.length, 2, 'equal sizes alone and twins inside one split are no leakage');
  const copies = [...many('train/a', 15), ...many('val/b', 15)].map((name, i): [string, string] => [
    name,
    `${i % 15}`,
  ]);
  const lots = await imageFolder(await tree(join(dir, 'lots'), [...copies, 'train/b/x.jpg', 'val/a/y.jpg']));
  t.equal(lots.warnings.length, 11);
  t.match(lots.warnings[10], /5 more images/);
});

t.test('folders that cannot be learnt from', async (t) => {
  const cases: [string, string[], RegExp][] = [
    ['none', ['a/', 'b/'], /no images found/],
    ['one class', ['a/1.jpg', 'a/2.jpg'], /only one class, `a`/],
    ['empty class', ['a/1.jpg', 'a/2.jpg', 'b/1.jpg', 'b/2.jpg', 'c/'], /no training images of `c`/],
    [
      'unknown',
      ['train/a/1.jpg', 'train/b/1.jpg', 'val/a/2.jpg', 'val/c/2.jpg'],
      /of `c`\. val has .*val\/c\/2\.jpg/,
    ],
    ['no train', ['val/a/1.jpg', 'val/b/1.jpg'], /has val but no train/],
    ['twice', ['train/a/1.jpg', 'train/b/1.jpg', 'val/a/2.jpg', 'valid/a/2.jpg'], /val and valid/],
    ['singles', ['a/1.jpg', 'b/1.jpg'], /no image is left for validation/],
  ];
  const root = t.testdir();
  for (const [name, files, message] of cases) {
    await t.rejects(
      imageFolder(await tree(join(root, name), files)),
      { code: 'DATA_INVALID', message },
      name,
    );
  }
  const missing = join(root, 'nowhere');
  await t.rejects(imageFolder(missing), { code: 'FILE_NOT_FOUND', message: missing });
  await writeFile(join(root, 'file'), '');
  await t.rejects(imageFolder(join(root, 'file')), { code: 'DATA_INVALID', message: /is a file/ });
  await t.rejects(imageFolder('' as never), { code: 'INVALID_TYPE' });
  await t.rejects(imageFolder(root, { validation: 1 }), { code: 'INVALID_VALUE', message: /validation/ });
  await t.rejects(imageFolder(root, { sead: 1 } as never), { code: 'INVALID_TYPE', message: /seed/ });
});

t.test('a class missing in val is told', async (t) => {
  const dir = await tree(t.testdir(), ['train/a/1.jpg', 'train/b/1.jpg', 'val/a/2.jpg']);
  t.match((await imageFolder(dir)).warnings, [/`b` has no images in val/]);
});

t.test('a test folder without classes is left out', async (t) => {
  const dir = await tree(t.testdir(), [
    'train/a/1.jpg',
    'train/b/1.jpg',
    'val/a/2.jpg',
    'val/b/2.jpg',
    'test/9.jpg',
  ]);
  const { splits, warnings } = await imageFolder(dir);
  t.notOk('test' in splits);
  t.match(warnings, [/no class folders/]);
});

const shared = process.env.TORCHGRAFT_SHARED_DATA ?? join(import.meta.dirname, '..', '..', 'shared', 'data');
const ants = join(shared, 'images', 'hymenoptera');
t.test('ants and bees', { skip: existsSync(ants) ? false : 'no ../shared/data' }, async (t) => {
  const { classes, summary } = await imageFolder(ants);
  t.same(classes, ['ants', 'bees']);
  t.same(summary.counts, { train: { ants: 124, bees: 121 }, val: { ants: 70, bees: 83 } });
});
