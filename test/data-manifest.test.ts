import { join } from 'node:path';
import t from 'tap';
import { imageManifest } from '../src/data/manifest.js';

const images = {
  a: { '1.jpg': '1', '2.jpg': '22' },
  b: { '1.jpg': '333', '2.jpg': '4444', 'x, y.jpg': '55555' },
};

t.test('CSV with splits', async (t) => {
  const list = [
    '\ufefflabel,path,split,note',
    ...['cat,a/1.jpg,train,x', 'dog,b/1.jpg, train,', 'cat,a/2.jpg,valid,', '', 'dog,b/2.jpg,Validation,'],
    '"dog","b/x, y.jpg",test,"two\nlines"',
  ].join('\r\n');
  const dir = t.testdir({ ...images, 'list.csv': list });
  const { classes, splits, warnings, summary } = await imageManifest(join(dir, 'list.csv'));
  t.same(classes, ['cat', 'dog']);
  t.same(splits, {
    train: [
      { path: join(dir, 'a/1.jpg'), label: 0 },
      { path: join(dir, 'b/1.jpg'), label: 1 },
    ],
    val: [
      { path: join(dir, 'a/2.jpg'), label: 0 },
      { path: join(dir, 'b/2.jpg'), label: 1 },
    ],
    test: [{ path: join(dir, 'b/x, y.jpg'), label: 1 }],
  });
  t.match(warnings, [/`cat` has no images in test/]);
  t.equal(summary.validation, 'given');
});

t.test('JSON Lines without splits; numeric labels sort as numbers', async (t) => {
  const lines = [
    { path: 'a/1.jpg', label: 10 },
    { path: 'a/2.jpg', label: 10 },
    { path: 'b/1.jpg', label: 9 },
    { path: join(t.testdirName, 'b', '2.jpg'), label: 9, split: null },
  ];
  const dir = t.testdir({
    ...images,
    'list.jsonl': `${lines.map((line) => JSON.stringify(line)).join('\n')}\n\n`,
  });
  const { classes, summary, splits } = await imageManifest(join(dir, 'list.jsonl'), { seed: 3 });
  t.same(classes, ['9', '10']);
  t.same(summary.counts, { train: { 9: 1, 10: 1 }, val: { 9: 1, 10: 1 } });
  t.same(summary.validation, { share: 0.2, seed: 3 });
  t.ok([...splits.train, ...splits.val].some(({ path }) => path === join(dir, 'b', '2.jpg')));
});

t.test('the same file in two splits is leakage', async (t) => {
  const list = 'path,label,split\na/1.jpg,a,train\nb/1.jpg,b,train\na/1.jpg,a,val\nb/2.jpg,b,val\n';
  const dir = t.testdir({ ...images, 'list.csv': list });
  t.match((await imageManifest(join(dir, 'list.csv'))).warnings, [/Leakage: .*a\/1\.jpg.*a\/1\.jpg/]);
});

t.test('manifests that cannot be used', async (t) => {
  const cases: [string, string, string, RegExp][] = [
    ['list.csv', 'file,label\na/1.jpg,a\n', 'DATA_INVALID', /line 2: path/],
    ['list.csv', 'path,label\na/1.jpg,\n', 'DATA_INVALID', /line 2: label: is empty/],
    ['list.csv', 'path,label\na/1.jpg,a,b\n', 'DATA_INVALID', /not valid CSV.*line 2/],
    [
      'list.csv',
      'path,label,split\na/1.jpg,a,training\n',
      'DATA_INVALID',
      /line 2: unknown split `training`/,
    ],
    [
      'list.csv',
      'path,label,split\na/1.jpg,a,train\na/2.jpg,b,\n',
      'DATA_INVALID',
      /1 of 2 lines have no split/,
    ],
    ['list.csv', 'path,label\na/1.jpg,a\na/9.jpg,b\na/2.jpg,a\n', 'FILE_NOT_FOUND', /a\/9\.jpg/],
    ['list.csv', 'path,label\n', 'DATA_INVALID', /no images/],
    ['list.csv', '', 'DATA_INVALID', /no images/],
    ['list.jsonl', '{"path":"a/1.jpg","label":"a"}\n{oops\n', 'DATA_INVALID', /line 2: not valid JSON/],
    ['list.jsonl', '{"path":"a/1.jpg"}\n', 'DATA_INVALID', /line 1: label/],
    ['list.jsonl', '5\n', 'DATA_INVALID', /line 1/],
    ['list.txt', '', 'DATA_INVALID', /expected a \.csv/],
  ];
  for (const [name, content, code, message] of cases) {
    const dir = t.testdir({ ...images, [name]: content });
    await t.rejects(imageManifest(join(dir, name)), { code, message }, `${name}: ${content}`);
  }
  await t.rejects(imageManifest(join(t.testdirName, 'gone.csv')), {
    code: 'FILE_NOT_FOUND',
    message: /gone\.csv/,
  });
});
