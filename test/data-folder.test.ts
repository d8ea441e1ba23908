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
    /^1 image outside a class folder is not used\.$/,
    /^2 hidden files are not used\.$/,
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
    ['no train', ['val/a/1.jpg', 'val/b/1.jpg'], /has val but no train.*`eval` takes it/],
    ['test alone', ['test/a/1.jpg', 'test/b/1.jpg'], /has test but no train/],
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

/** What every split has of each class. */
const countsOf = async (dir: string, options = {}) => (await imageFolder(dir, options)).summary.counts;

t.test('splits are known by their usual names', async (t) => {
  const root = t.testdir();
  const pairs: [string, string, string?][] = [
    ['Training', 'Validation', 'Testing'],
    ['TRAIN', 'DEV', 'TEST'],
    ['train_images', 'val_images', 'test_images'],
    ['Train Set', 'validation-set', 'held-out'],
    ['trainset', 'valset', 'testset'],
    ['train2017', 'val2017', 'test2017'],
    ['01_train', '02_valid', '03_test'],
    ['TrainData', 'EvalData', 'TestData'],
    ['training', 'evaluation'],
  ];
  for (const [at, [train, val, test]] of pairs.entries()) {
    const files = [`${train}/a/1.jpg`, `${train}/b/2.jpg`, `${val}/a/3.jpg`, `${val}/b/4.jpg`];
    const dir = await tree(join(root, `${at}`), [...files, ...(test ? [`${test}/a/5.jpg`] : [])]);
    const { classes, summary, warnings } = await imageFolder(dir);
    t.same(classes, ['a', 'b'], `${train}, ${val}`);
    t.same(summary.counts, {
      train: { a: 1, b: 1 },
      val: { a: 1, b: 1 },
      ...(test ? { test: { a: 1, b: 0 } } : {}),
    });
    t.same(warnings.length, test ? 1 : 0, 'none but of the class that test lacks');
  }
});

t.test('names that may be splits are never classes without a word', async (t) => {
  const root = t.testdir();
  const refused: [string[], RegExp][] = [
    [
      ['seg_train/a/1.jpg', 'seg_train/b/1.jpg', 'seg_test/a/1.jpg'],
      /seg_test and seg_train look like splits/,
    ],
    [['seg_train/1.jpg', 'seg_test/1.jpg'], /seg_test and seg_train look like splits/],
    [['train/a/1.jpg', 'train/b/1.jpg', 'my_test/a/1.jpg'], /my_test beside train looks like a split/],
    [
      ['train/1.jpg', 'train/2.jpg', 'test/1.jpg'],
      /1 image in test and 2 images in train, but no class folders/,
    ],
    [['train/1.jpg', 'train/2.jpg'], /2 images in train, but no class folders/],
    [['train/a/1.jpg', 'train/b/1.jpg', 'val/3.jpg'], /val has no class folders, and holds 1 image/],
    [['Train/a/1.jpg', 'train/b/1.jpg'], /Train and train, which mean the same/],
    [['val/a/1.jpg', 'val/b/1.jpg', 'eval/a/1.jpg', 'train/a/1.jpg'], /eval and val, which mean the same/],
    [
      ['ok/1.jpg', 'dent/1.jpg', 'test/2019/1.jpg'],
      /has test but no train.*If it is a class as dent is, rename it/,
    ],
  ];
  for (const [at, [files, message]] of refused.entries()) {
    const dir = await tree(join(root, `${at}`), files);
    await t.rejects(imageFolder(dir), { code: 'DATA_INVALID', message }, files.join());
  }
  // A train is a vehicle too: a folder that holds images is a class.
  const vehicles = await tree(join(root, 'vehicles'), [...many('bus', 4), ...many('train', 4)]);
  const { classes, warnings } = await imageFolder(vehicles);
  t.same(classes, ['bus', 'train']);
  t.match(warnings, [/^train is taken for a class: it holds images and no class folders\.$/]);
  const tubes = await tree(join(root, 'tubes'), [...many('flask', 4), ...many('test_tube', 4)]);
  t.match(await imageFolder(tubes), { classes: ['flask', 'test_tube'], warnings: [] });
  const sites = await tree(join(root, 'sites'), [
    'A/a/1.jpg',
    'A/b/1.jpg',
    'A/a/2.jpg',
    'B/a/1.jpg',
    'B/b/1.jpg',
  ]);
  t.match((await imageFolder(sites)).warnings, [
    /^A, B are taken for classes, and each holds the folders a, b/,
  ]);
});

t.test('a folder around the data is looked into', async (t) => {
  const root = t.testdir();
  const files = ['a/1.jpg', 'a/2.jpg', 'b/3.jpg', 'b/4.jpg'];
  const under = (prefix: string) => files.map((file) => `${prefix}/${file}`);
  const plain = { train: { a: 1, b: 1 }, val: { a: 1, b: 1 } };
  const one = await tree(join(root, 'one'), [...under('unpacked'), '__MACOSX/unpacked/._1.jpg', 'README.md']);
  t.same(await countsOf(one), plain);
  t.match((await imageFolder(one)).warnings, [/^Reading .*one\/unpacked, the only folder in .*one\.$/]);
  t.same(await countsOf(await tree(join(root, 'three'), under('x/y/z'))), plain);
  const split = [...under('flowers/train'), 'flowers/val/a/5.jpg', 'flowers/val/b/6.jpg'];
  t.same(await countsOf(await tree(join(root, 'split'), split)), {
    train: { a: 2, b: 2 },
    val: { a: 1, b: 1 },
  });
  const doubled = [...under('train/train'), 'val/val/a/5.jpg', 'val/val/b/6.jpg', 'test/test/a/7.jpg'];
  t.same(await countsOf(await tree(join(root, 'doubled'), doubled)), {
    train: { a: 2, b: 2 },
    val: { a: 1, b: 1 },
    test: { a: 1, b: 0 },
  });
  const loop = await tree(join(root, 'loop'), ['notes.txt']);
  await symlink(loop, join(loop, 'inner'));
  await t.rejects(imageFolder(loop), { code: 'DATA_INVALID', message: /only one class|no images found/ });
});

t.test('what was passed over is told where no images are found', async (t) => {
  const root = t.testdir();
  const cases: [string[], RegExp][] = [
    [
      ['a/1.bmp', 'a/2.BMP', 'b/3.bmp', 'b/x.txt', 'b/.hidden.jpg'],
      /no images found\. Files passed over, by extension: \.bmp \(3\), \.txt \(1\); 1 hidden\. Formats that are read: JPEG, PNG,/,
    ],
    [
      ['1.jpg', '2.jpg', 'x.txt'],
      /no images found in class folders; 2 images lie directly in .*Expected a folder for each class, or a manifest/,
    ],
    [
      ['a/1.heic', 'a/2.heic', 'b/1.jpg', 'b/2.jpg'],
      /no training images of `a`\. .*by extension: \.heic \(2\)\. .*AVIF\. Add some/,
    ],
    [['a/', 'b/'], /no images found\. The folders a, b are empty/],
    [[], /no images found\. It is empty/],
  ];
  for (const [at, [files, message]] of cases.entries()) {
    const dir = join(root, `${at}`);
    await mkdir(dir);
    await t.rejects(imageFolder(await tree(dir, files)), { code: 'DATA_INVALID', message });
  }
});

t.test('classes that differ in case or blanks alone are told', async (t) => {
  const dir = await tree(t.testdir(), [
    ...many('Dent', 2),
    ...many('dent', 2),
    ...many('ok', 2),
    ...many('ok ', 2),
  ]);
  t.match((await imageFolder(dir)).warnings, [
    /^Classes `Dent`, `dent` differ only in case or blanks/,
    /^Classes `ok`, `ok ` differ only in case or blanks/,
  ]);
});

t.test('to measure on, all images are taken as they are', async (t) => {
  const root = t.testdir();
  const evaluation = { purpose: 'evaluation' } as const;
  const cases: [string[], object, string[]?][] = [
    [['a/1.jpg', 'a/2.jpg', 'b/3.jpg'], { test: { a: 2, b: 1 } }],
    [['a/1.jpg', 'a/2.jpg'], { test: { a: 2 } }],
    [['test/a/1.jpg', 'test/b/2.jpg'], { test: { a: 1, b: 1 } }],
    [['val/a/1.jpg'], { val: { a: 1 } }],
    [['Training/a/1.jpg', 'Testing/b/2.jpg'], { train: { a: 1, b: 0 }, test: { a: 0, b: 1 } }],
    [['a/1.jpg', 'b/'], { test: { a: 1 } }, ['No images of `b`.']],
    [['test/a/x/1.jpg', 'test/a/y/2.jpg'], { test: { a: 2 } }],
  ];
  for (const [at, [files, counts, warnings = []]] of cases.entries()) {
    const { summary, ...data } = await imageFolder(await tree(join(root, `${at}`), files), evaluation);
    t.same(summary.counts, counts, files.join());
    t.equal(summary.validation, 'given');
    if (warnings.length > 0) t.same(data.warnings, warnings);
  }
  await t.rejects(imageFolder(await tree(join(root, 'flat'), ['1.jpg']), evaluation), {
    code: 'DATA_INVALID',
  });
  await t.rejects(imageFolder(root, { purpose: 'test' as never }), {
    code: 'INVALID_VALUE',
    message: /purpose/,
  });
});

const shared = process.env.TORCHGRAFT_SHARED_DATA ?? join(import.meta.dirname, '..', '..', 'shared', 'data');
const ants = join(shared, 'images', 'hymenoptera');
t.test('ants and bees', { skip: existsSync(ants) ? false : 'no ../shared/data' }, async (t) => {
  const { classes, summary } = await imageFolder(ants);
  t.same(classes, ['ants', 'bees']);
  t.same(summary.counts, { train: { ants: 124, bees: 121 }, val: { ants: 70, bees: 83 } });
});
