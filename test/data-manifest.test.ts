import { mkdirSync, writeFileSync } from 'node:fs';
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
    [
      'list.csv',
      'url,label\na/1.jpg,a\n',
      'DATA_INVALID',
      /line 2: path: is missing\. The columns are `url`, `label`/,
    ],
    ['list.csv', 'path,label\na/1.jpg,\n', 'DATA_INVALID', /line 2: label: is empty/],
    [
      'list.csv',
      'path,label\na/1.jpg,a,b\n',
      'DATA_INVALID',
      /line 2: `b` is in column 3, which the first line gives no name/,
    ],
    [
      'list.csv',
      'path,label,split\na/1.jpg,a,constructor\n',
      'DATA_INVALID',
      /line 2: unknown split `constructor`/,
    ],
    [
      'list.csv',
      'path,label,split\na/1.jpg,a,train\na/2.jpg,b,\n',
      'DATA_INVALID',
      /1 of 2 lines have no split, the first being line 3/,
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

/** A text of lines. */
const text = (...lines: string[]) => `${lines.join('\n')}\n`;
const rows = (delimiter: string) =>
  ['a/1.jpg', 'a/2.jpg', 'b/1.jpg', 'b/2.jpg'].map((path) => `${path}${delimiter}${path[0]}`);
/** Of an empty file each; paths of the manifests. */
async function counted(file: string) {
  const { splits, classes, warnings } = await imageManifest(file);
  return { classes, count: splits.train.length + splits.val.length + (splits.test?.length ?? 0), warnings };
}

t.test('usual forms of a list are understood', async (t) => {
  const lines: Record<string, string> = {
    'semicolon.csv': text('path;label', ...rows(';')),
    'tab.csv': text('path\tlabel', ...rows('\t')),
    'tab.tsv': text('path\tlabel\tnote', ...rows('\t').map((row) => `${row}\t`)),
    'bar.csv': text('path|label', ...rows('|')),
    'excel.csv': text('sep=;', 'path;label', ...rows(';')),
    'case.csv': text('Path,LABEL', ...rows(',')),
    'blanks.csv': text('', '  ', ' path , label ', ...rows(' , '), '', ',', ' , ', ''),
    'quotes.csv': text('"path","label"', ...rows('","').map((row) => `"${row}"`)),
    'trailing.csv': text('path,label,,', ...rows(',').map((row) => `${row},,,`)),
    'short.csv': text('path,label,note', ...rows(',')),
    'carriage.csv': text('path,label', ...rows(',')).replaceAll('\n', '\r\n'),
    'mac.csv': text('path,label', ...rows(',')).replaceAll('\n', '\r'),
    'mark.csv': `\ufeff${text('path,label', ...rows(','))}`,
    'windows.csv': text('path,label', ...rows(',').map((row) => row.replace('/', '\\'))),
    'no-end.csv': text('path,label', ...rows(',')).trimEnd(),
    'mark.jsonl': `\ufeff${text(...rows(' ').map((row) => JSON.stringify({ path: row.slice(0, 7), label: row[8] })))}`,
    'carriage.jsonl': text(...rows(' ').map((row) => `{"Path":"${row.slice(0, 7)}","Label":"${row[8]}"}\r`)),
  };
  const dir = t.testdir({ ...images, ...lines });
  for (const name of Object.keys(lines)) {
    t.same(await counted(join(dir, name)), { classes: ['a', 'b'], count: 4, warnings: [] }, name);
  }
});

t.test('usual names of columns are known, and told', async (t) => {
  const headers: [string, RegExp][] = [
    ['filename,class', /took `filename` as path and `class` as label/],
    ['File,Category', /took `File` as path and `Category` as label/],
    ['image_path,class_name', /took `image_path` as path and `class_name` as label/],
    ['Image Name,label', /took `Image Name` as path\./],
    ['file_name,label', /took `file_name` as path\./],
    ['img,Class', /took `img` as path and `Class` as label/],
  ];
  const dir = t.testdir(images);
  const file = join(dir, 'list.csv');
  for (const [header, warning] of headers) {
    writeFileSync(file, text(header, ...rows(',')));
    const { count, classes, warnings } = await counted(file);
    t.same([count, classes], [4, ['a', 'b']], header);
    t.match(warnings, [warning]);
  }
  writeFileSync(
    file,
    text('path,label,set', ...rows(',').map((row, at) => `${row},${['Training', 'Dev'][at % 2]}`)),
  );
  const { splits, warnings } = await imageManifest(file);
  t.same([splits.train.length, splits.val.length], [2, 2]);
  t.match(warnings, [/took `set` as split/]);
  // Other values are of something else.
  writeFileSync(file, text('path,label,set', ...rows(',').map((row) => `${row},blue`)));
  t.same((await counted(file)).warnings, []);
});

t.test('a row is never lost: it counts, or is refused by name', async (t) => {
  const dir = t.testdir({ ...images, 'c.jpg': '6' });
  const cases: [string, string | Buffer, RegExp][] = [
    [
      'l.csv',
      text('path,label,split', 'a/1.jpg,a,train', 'a/2.jpg,a,__proto__'),
      /line 3: unknown split `__proto__`/,
    ],
    ['l.csv', text('path,label,split', 'a/1.jpg,a,toString'), /line 2: unknown split `toString`/],
    ['l.csv', text('path,label,set', 'a/1.jpg,a,train', 'a/2.jpg,a,blue'), /line 3: unknown split `blue`/],
    [
      'l.csv',
      text('a/1.jpg,a', 'a/2.jpg,a'),
      /line 1: the first line is an image already\. Begin with .*path,label/,
    ],
    ['l.csv', text('path,label,label', 'a/1.jpg,a,a'), /two columns are called `label`/],
    [
      'l.csv',
      text('path,label', '"a/1.jpg","a', 'a/2.jpg,b"'),
      /line 3: label: holds a line break\. Is a closing quote missing/,
    ],
    ['l.csv', text('path,label', 'a/1.jpg,"a', 'a/2.jpg,b'), /not valid CSV/],
    ['l.csv', text('path,label', 'a/1.jpg,a', ',b'), /line 3: path: is empty/],
    ['l.csv', text('path,label', 'https://x.org/1.jpg,a'), /line 2: path: `https:.*` is an address/],
    [
      'l.csv',
      text('path,label', 'a/1.jpg,a', 'a/2.jpg,b', 'a/1.jpg,b'),
      /a\/1\.jpg is `a` on line 2 and `b` on line 4/,
    ],
    [
      'l.csv',
      text('path,label', 'a/1.jpg,a', './a/1.jpg,b'),
      /`a` on line 2 and `b` on line 3.*`labels`.*`a\|b`/,
    ],
    [
      'l.csv',
      Buffer.from(`\ufeff${text('path,label', ...rows(','))}`, 'utf16le'),
      /is UTF-16.*Save it as UTF-8/,
    ],
    ['l.csv', Buffer.from(text('path,label', ...rows(',')), 'utf16le'), /is UTF-16.*Save it as UTF-8/],
    ['l.jsonl', Buffer.from('\ufeff{"path":"a/1.jpg","label":"a"}', 'utf16le'), /is UTF-16/],
    [
      'l.csv',
      Buffer.from(text('path,label', 'a/1.jpg,caf\xe9'), 'latin1'),
      /is not UTF-8 \(at or after line 1\)\. Save/,
    ],
    ['l.csv', Buffer.from('PK\x03\x04\0\0', 'latin1'), /is a spreadsheet or an archive\. Save it as CSV/],
    [
      'l.jsonl',
      text('[{"path":"a/1.jpg","label":"a"},', '{}]'),
      /line 1: not valid JSON\. It looks like a list/,
    ],
    ['l.jsonl', text('["a/1.jpg","a"]'), /line 1: expected an object/],
    ['l.jsonl', text('{"path":5,"label":"a"}'), /line 1: path: expected a text/],
    ['l.jsonl', text('{"path":"a/1.jpg","label":["a","b"]}'), /line 1: label: expected a text.*`labels`/],
    ['l.jsonl', text('{"path":"a/1.jpg","label":"a"}', '{"label":"b"}'), /line 2: path: is missing/],
    ['l.csv', text('path,target', 'a/1.jpg,"1,5"'), /target is `1,5`; expected a finite number\. Write 1\.5/],
    [
      'l.csv',
      text('path,target', 'a/1.jpg,high'),
      /target is `high`.*Names of classes go into a column `label`/,
    ],
    ['l.json', '[]', /expected a \.csv, \.tsv, \.jsonl or \.ndjson file/],
  ];
  for (const [name, content, message] of cases) {
    const file = join(dir, name);
    writeFileSync(file, content);
    await t.rejects(imageManifest(file), { code: 'DATA_INVALID', message }, String(content));
  }
  const file = join(dir, 'list.csv');
  mkdirSync(file);
  await t.rejects(imageManifest(file), { code: 'DATA_INVALID', message: /list\.csv is not a file/ });
});

t.test('classes, slices and targets may be called as what all objects have', async (t) => {
  const names = ['constructor', '__proto__', 'toString', 'hasOwnProperty'];
  const paths = ['a/1.jpg', 'a/2.jpg', 'b/1.jpg', 'b/2.jpg'];
  const lines = names.flatMap((name, at) => [
    `${paths[at]},${name},train,x`,
    // Each class has an image in each split.
    `c/${at}.jpg,${name},val,`,
  ]);
  const c = Object.fromEntries(names.map((_, at) => [`${at}.jpg`, `${'x'.repeat(10 + at)}`]));
  const dir = t.testdir({ ...images, c, 'l.csv': text('path,label,split,constructor', ...lines) });
  const { classes, summary, splits, warnings } = await imageManifest(join(dir, 'l.csv'), {
    slices: ['constructor'],
  });
  t.same(classes, [...names].sort());
  t.same(
    Object.entries(summary.counts.train ?? {}),
    [...names].sort().map((name) => [name, 1]),
  );
  t.same(
    splits.train.map(({ label, slices }) => [classes[label], Object.entries(slices ?? {})]),
    names.map((name) => [name, [['constructor', 'x']]]),
  );
  t.same(warnings, []);
  t.same(JSON.parse(JSON.stringify(summary)), summary);
});

t.test('what may be a mistake is told', async (t) => {
  const dir = t.testdir(images);
  const file = join(dir, 'list.csv');
  const cases: [string[], RegExp[]][] = [
    [
      ['a/1.jpg,Cat', 'a/2.jpg,cat', 'b/1.jpg,Cat', 'b/2.jpg,cat'],
      [/^Classes `Cat`, `cat` differ only in case/],
    ],
    [
      ['a/1.jpg,a', 'a/1.jpg,a', 'a/2.jpg,b', 'b/1.jpg,b'],
      [/1 line repeats an image, for example line 3 that of line 2/],
    ],
    [
      ['a/1.jpg,a', 'a/2.jpg,"a "', 'b/1.jpg,a', 'b/2.jpg,"a "'],
      [/^Classes `a`, `a ` differ only in case or blanks/],
    ],
  ];
  for (const [lines, warnings] of cases) {
    writeFileSync(file, text('path,label', ...lines));
    const found = await counted(file);
    t.equal(found.count, 4);
    t.match(found.warnings, warnings);
  }
});

t.test('to measure on, a list of one split or class is enough', async (t) => {
  const dir = t.testdir(images);
  const file = join(dir, 'list.csv');
  const cases: [string[], object][] = [
    [['path,label,split', 'a/1.jpg,a,test', 'b/1.jpg,b,test'], { test: { a: 1, b: 1 } }],
    [['path,label,split', 'a/1.jpg,a,val'], { val: { a: 1 } }],
    [['path,label', 'a/1.jpg,a', 'a/2.jpg,a'], { test: { a: 2 } }],
    [['path,labels', 'a/1.jpg,', 'a/2.jpg,'], { test: {} }],
    [['path,target', 'a/1.jpg,3'], { test: { target: 1 } }],
  ];
  for (const [lines, counts] of cases) {
    writeFileSync(file, text(...lines));
    t.same((await imageManifest(file, { purpose: 'evaluation' })).summary.counts, counts, lines.join());
  }
});
