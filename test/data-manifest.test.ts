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

t.test('several labels, or numbers, an image', async (t) => {
  const dir = t.testdir({
    ...images,
    'labels.csv': 'path,labels,split\na/1.jpg,rust | dent,train\na/2.jpg,,train\nb/1.jpg,dent,val\n',
    'labels.jsonl':
      '{"path":"a/1.jpg","labels":["dent","rust"]}\n{"path":"a/2.jpg","labels":""}\n{"path":"b/1.jpg","labels":"dent"}\n{"path":"b/2.jpg","labels":["dent"]}\n',
    'target.csv': 'path,target,split\na/1.jpg,1.5,train\na/2.jpg,-2e3,train\nb/1.jpg,0,val\n',
    'targets.jsonl':
      '{"path":"a/1.jpg","target_width":3,"target_2":4}\n{"path":"a/2.jpg","target_2":6,"target_width":5}\n',
  });
  const read = (name: string) => imageManifest(join(dir, name));
  const labels = await read('labels.csv');
  t.same(
    [labels.task, labels.summary.task, labels.classes],
    ['multi-label', 'multi-label', ['dent', 'rust']],
  );
  t.same(
    labels.splits.train.map(({ label, targets }) => [label, targets]),
    [
      [-1, [1, 1]],
      [-1, [0, 0]],
    ],
  );
  t.same(labels.summary.counts, { train: { dent: 1, rust: 1 }, val: { dent: 1, rust: 0 } });
  t.match(labels.warnings.join(), /Class `rust` has no images in val/);
  const split = await read('labels.jsonl');
  t.same(
    [split.splits.train.length, split.splits.val.length],
    [3, 1],
    'one of the two whose rarest label is `dent`',
  );
  const target = await read('target.csv');
  t.same([target.task, target.classes], ['regression', ['target']]);
  t.same(
    target.splits.train.map(({ targets }) => targets),
    [[1.5], [-2000]],
  );
  const targets = await read('targets.jsonl');
  t.same(targets.classes, ['width', '2'], 'in the order of the first line');
  const all = [...targets.splits.train, ...targets.splits.val].sort((a, b) => (a.path < b.path ? -1 : 1));
  t.same(
    all.map((sample) => sample.targets),
    [
      [3, 4],
      [5, 6],
    ],
  );
  t.not(labels.summary.fingerprint, (await read('labels.jsonl')).summary.fingerprint);
  t.equal(
    (
      await imageManifest(
        join(t.testdir({ ...images, 'l.csv': 'path,label\na/1.jpg,a\na/2.jpg,a\nb/1.jpg,b\n' }), 'l.csv'),
      )
    ).task,
    undefined,
  );
});

t.test('labels and targets that cannot be used', async (t) => {
  const cases: [string, string, RegExp][] = [
    ['m.csv', 'path,label,labels\na/1.jpg,a,b\n', /line 2: both `label` and `labels` are given/],
    ['m.csv', 'path,label,target\na/1.jpg,a,1\n', /both `label` and `target` are given/],
    ['m.csv', 'path,labels,target_x\na/1.jpg,a,1\n', /both `labels` and `target_x`/],
    ['m.csv', 'path,target\na/1.jpg,high\n', /line 2: target is `high`; expected a finite number/],
    ['m.csv', 'path,target\na/1.jpg,1\na/2.jpg,\n', /line 3: target is ``; expected a finite number/],
    ['m.csv', 'path,target\na/1.jpg,Infinity\n', /target is `Infinity`/],
    ['m.csv', 'path,target\na/1.jpg,NaN\n', /target is `NaN`/],
    ['m.csv', 'path,target\na/1.jpg,1e39\n', /target is `1e39`/],
    ['m.csv', 'path,score\na/1.jpg,1\n', /one of label, labels and target/],
    ['m.csv', 'path,labels\na/1.jpg,a||b\n', /`a\|\|b` has an empty name/],
    ['m.csv', 'path,labels\na/1.jpg,a|a\n', /`a` is given twice/],
    ['m.csv', 'path,labels\na/1.jpg,\na/2.jpg,\n', /no image has any label/],
    ['m.csv', 'path,labels,split\na/1.jpg,a,train\na/2.jpg,b,val\n', /no training images of `b`/],
    ['m.jsonl', '{"path":"a/1.jpg","labels":5}\n', /line 1: labels: expected names/],
    ['m.jsonl', '{"path":"a/1.jpg","labels":null}\n', /labels: expected names/],
    ['m.jsonl', '{"path":"a/1.jpg","labels":["a",3]}\n', /labels: expected names/],
    [
      'm.jsonl',
      '{"path":"a/1.jpg","target":1}\n{"path":"a/2.jpg","label":"a"}\n',
      /line 2: the lines before are regression/,
    ],
    [
      'm.jsonl',
      '{"path":"a/1.jpg","target":1}\n{"path":"a/2.jpg","target_b":1}\n',
      /line 2: the lines before have no `target_b`/,
    ],
    [
      'm.jsonl',
      '{"path":"a/1.jpg","target_a":1,"target_b":1}\n{"path":"a/2.jpg","target_a":1}\n',
      /line 2: target_b is missing/,
    ],
    ['m.jsonl', '{"path":"a/1.jpg","target":true}\n', /target is `true`/],
  ];
  for (const [name, content, message] of cases) {
    const dir = t.testdir({ ...images, [name]: content });
    await t.rejects(imageManifest(join(dir, name)), { code: 'DATA_INVALID', message }, content);
  }
});

t.test('a list of another task than the one asked for is refused', async (t) => {
  const dir = t.testdir({ ...images, 'm.csv': 'path,target\na/1.jpg,1\na/2.jpg,2\n' });
  const file = join(dir, 'm.csv');
  t.equal((await imageManifest(file, { task: 'regression' })).task, 'regression');
  await t.rejects(imageManifest(file, { task: 'multi-label' }), {
    code: 'DATA_INVALID',
    message: /line 2: the list is regression, not multi-label/,
  });
  await t.rejects(imageManifest(file, { task: 'detection' as never }), { code: 'INVALID_VALUE' });
});
