import t from 'tap';
import { classificationMetrics } from '../src/metrics/meter.js';
import type { ModelDescription } from '../src/native.js';
import {
  calibrationTable,
  confusionTable,
  figuresTable,
  perClassTable,
} from '../src/report/metrics-tables.js';
import { modelTable } from '../src/report/model-table.js';
import { formatTime, Progress } from '../src/report/progress.js';
import { displayWidth, formatTable } from '../src/report/table.js';

const esc = '\x1b';

t.test('tables are aligned, whatever the script of their texts', (t) => {
  const table = formatTable(
    [{ title: 'name' }, { title: 'n', align: 'right' }],
    [
      ['ants', '1'],
      ['蚂蚁', '10'],
      ['e\u0301te\u0301', '100'],
      ['🐝', '7'],
      [`a\n${esc}[31mb`, '2'],
    ],
  );
  const lines = table.split('\n');
  t.same(
    lines.slice(0, 3).map((line) => line.split(/ +/)),
    [
      ['name', 'n'],
      ['-'.repeat(18), '---'],
      ['ants', '1'],
    ],
  );
  t.same([...new Set(lines.slice(1).map(displayWidth))], [23], table);
  t.equal(lines.at(-1), 'a\\u000a\\u001b[31mb    2');
  t.equal(formatTable([{ title: 'a' }, { title: 'b' }], [['1', '']]), 'a  b\n-  -\n1');
  t.end();
});

function metricsOf(classes: string[], pairs: [truth: number, predicted: number][]) {
  const logits = new Float32Array(pairs.length * classes.length);
  for (const [row, [, predicted]] of pairs.entries()) logits[row * classes.length + predicted] = 1;
  return classificationMetrics(
    logits,
    Int32Array.from(pairs, ([truth]) => truth),
    1,
    { classes },
  );
}

t.test('per-class and confusion tables', (t) => {
  const metrics = metricsOf(['ants', 'bees'], [...Array(3).fill([0, 0]), [0, 1], [1, 1]]);
  t.equal(
    perClassTable(metrics),
    [
      'class             precision  recall      f1  support  roc auc  pr auc',
      '----------------  ---------  ------  ------  -------  -------  ------',
      'ants                 1.0000  0.7500  0.8571        4   0.8750  0.9500',
      'bees                 0.5000  1.0000  0.6667        1   0.8750  0.5000',
      'macro average        0.7500  0.8750  0.7619        5',
      'micro average        0.8000  0.8000  0.8000        5',
      'weighted average     0.9000  0.8000  0.8190        5',
    ].join('\n'),
  );
  t.equal(
    confusionTable(metrics),
    [
      'true \\ predicted  ants  bees',
      '----------------  ----  ----',
      'ants                 3     1',
      'bees                 0     1',
    ].join('\n'),
  );
  t.end();
});

t.test('figures, with intervals where there are some, and the reliability curve', (t) => {
  const metrics = metricsOf(['ants', 'bees'], [...Array(3).fill([0, 0]), [0, 1], [1, 1]]);
  const interval = { value: 0.8, low: 0.4, high: 1, method: 'wilson' } as const;
  t.equal(
    figuresTable(metrics, { accuracy: interval, kappa: { ...interval, low: null, high: null } }),
    [
      'figure              value  interval',
      '-----------------  ------  ----------------',
      'accuracy           0.8000  0.4000 to 1.0000',
      'balanced accuracy  0.8750',
      'macro F1           0.7619',
      'MCC                0.6124',
      "Cohen's kappa      0.5455  - to -",
      'ROC-AUC            0.8750',
      'PR-AUC             0.5000',
      'ECE                0.0689',
      'MCE                0.0689',
      'Brier score        0.1648',
      'NLL                0.5133',
    ].join('\n'),
  );
  t.equal(
    calibrationTable(metrics),
    [
      'confidence    samples    mean  accuracy',
      '------------  -------  ------  --------',
      '0.67 to 0.73        5  0.7311    0.8000',
    ].join('\n'),
  );
  const one = figuresTable(metricsOf(['ants'], [[0, 0]])).split('\n');
  t.same(one.slice(0, 3), [
    'figure              value',
    '-----------------  ------',
    'accuracy           1.0000',
  ]);
  t.match(one.join('\n'), /^ROC-AUC +-$/m, 'undefined');
  t.end();
});

t.test('many classes: the most frequent confusions in place of the matrix', (t) => {
  const classes = Array.from({ length: 30 }, (_, index) => `c${index}`);
  const metrics = metricsOf(classes, [
    [0, 0],
    [4, 7],
    [4, 7],
    [29, 1],
  ]);
  t.same(confusionTable(metrics).split('\n').slice(2), ['c4    c7             2', 'c29   c1             1']);
  t.end();
});

t.test('the table of a model: tree, shapes, counts, state, group, totals', (t) => {
  const parameter = (name: string, shape: number[], trainable: boolean, group: number) => ({
    name,
    shape,
    dtype: 'float32',
    trainable,
    group,
  });
  const description = {
    modules: [
      { path: '', type: 'Net', training: false },
      { path: 'body', type: 'Sequential', training: false },
      { path: 'body.bn', type: 'BatchNorm2d', training: false },
      { path: 'fc', type: 'Linear', training: false },
    ],
    parameters: [
      parameter('scale', [], true, -1),
      parameter('body.bn.weight', [2000], false, 0),
      parameter('body.bn.bias', [2000], true, 1),
      parameter('fc.weight', [2, 4], true, 1),
    ],
    buffers: [
      { name: 'body.bn.running_mean', shape: [2000], dtype: 'float32' },
      { name: 'body.bn.num_batches_tracked', shape: [], dtype: 'int64' },
    ],
  } as unknown as ModelDescription;
  const lines = modelTable(description).split('\n');
  const cells = lines.slice(2, 6).map((line) => line.trimEnd().split(/ {2,}/));
  t.same(cells, [
    ['(model)', 'Net', 'scale[]', '1', 'trainable'],
    ['', 'body', 'Sequential'],
    [
      '',
      'bn',
      'BatchNorm2d',
      'weight[2000] bias[2000]',
      'running_mean[2000] num_batches_tracked[]:int64',
      '4,000',
      'partly',
      '0,1',
    ],
    ['', 'fc', 'Linear', 'weight[2,4]', '8', 'trainable', '1'],
  ]);
  t.match(lines[4], /^ {4}bn /, 'indented by depth');
  t.same(lines.slice(7), [
    'parameters: 4,009',
    'trainable: 2,009',
    'frozen: 2,000',
    'values in buffers: 2,001',
  ]);
  t.end();
});

function fakeStream(isTTY: boolean, columns = 120) {
  const writes: string[] = [];
  return { isTTY, columns, writes, write: (text: string) => writes.push(text) };
}

function watch(
  stream: ReturnType<typeof fakeStream>,
  env: Record<string, string>,
  updates: [ms: number, done: number, seconds?: number][],
) {
  let clock = 1000;
  const progress = new Progress({ stream, env, now: () => clock });
  progress.start('epoch 1/2', 200);
  for (const [milliseconds, done, seconds] of updates) {
    clock = 1000 + milliseconds;
    progress.update(done, seconds);
  }
  progress.line('epoch 1/2  loss 0.5');
  progress.finish();
  return stream.writes;
}

t.test('on a terminal one line is rewritten, at most ten times a second', (t) => {
  const writes = watch(fakeStream(true), {}, [
    [0, 0],
    [50, 10],
    [2000, 50],
  ]);
  t.equal(writes.length, 4, 'two updates, the bar taken off, the line');
  t.equal(writes[0], `\repoch 1/2  ${esc}[32m${esc}[39m${'░'.repeat(24)}  0/200${esc}[K`);
  t.equal(
    writes[1],
    `\repoch 1/2  ${esc}[32m${'█'.repeat(6)}${esc}[39m${'░'.repeat(18)}  50/200  25.0 images/s  6s left${esc}[K`,
  );
  t.same(writes.slice(2), [`\r${esc}[K`, 'epoch 1/2  loss 0.5\n']);
  t.end();
});

t.test('the rate is counted from the beginning of the pass, or without that from the first batch on', (t) => {
  // The display begins with the first batch's end, here 4 s after its begin.
  const [first, second] = watch(fakeStream(true), { NO_COLOR: '1' }, [
    [0, 20, 4],
    [4000, 40, 8],
  ]);
  t.match(first, '20/200  5.0 images/s  36s left');
  t.match(second, '40/200  5.0 images/s  32s left');
  const [none, rate] = watch(fakeStream(true), { NO_COLOR: '1' }, [
    [60_000, 20],
    [64_000, 40],
  ]);
  t.notMatch(none, 'images/s', 'of one batch whose beginning is not known there is no rate');
  t.match(rate, '40/200  5.0 images/s  32s left');
  t.end();
});

t.test('lines on a terminal wrap at words, and hide nothing', (t) => {
  const stream = fakeStream(true, 40);
  const progress = new Progress({ stream, env: {} });
  progress.line('note   a sentence that is longer than the line of this terminal\u202e');
  t.equal(
    stream.writes.join(''),
    'note   a sentence that is longer than\n       the line of this terminal\\u202e\n',
  );
  t.end();
});

t.test('no colour with NO_COLOR, no line wider than the terminal', (t) => {
  const plain = watch(fakeStream(true), { NO_COLOR: '1' }, [[1000, 100, 1]]);
  t.match(plain[0], '█'.repeat(12) + '░'.repeat(12));
  t.notMatch(plain[0], `${esc}[32m`);
  for (const columns of [70, 50, 20]) {
    const line = watch(fakeStream(true, columns), { NO_COLOR: '1' }, [[1000, 100, 1]])[0] ?? '';
    t.ok(
      displayWidth(line.replace('\r', '').replace(`${esc}[K`, '')) < columns,
      `${columns} columns: ${line}`,
    );
  }
  t.end();
});

t.test('in a pipe and on a dumb terminal: plain lines, at most one every 5 seconds', (t) => {
  const updates: [number, number][] = Array.from({ length: 121 }, (_, index) => [index * 100, index]);
  const expected = [
    'epoch 1/2  50/200  10.0 images/s  15s left\n',
    'epoch 1/2  100/200  10.0 images/s  10s left\n',
    'epoch 1/2  loss 0.5\n',
  ];
  t.same(watch(fakeStream(false), {}, updates), expected);
  t.same(watch(fakeStream(true), { TERM: 'dumb' }, updates), expected);
  t.end();
});

t.test('times', (t) => {
  t.same([0, 59.4, 59.6, 185, 3599.9, 7650, -1].map(formatTime), [
    '0s',
    '59s',
    '1m00s',
    '3m05s',
    '1h00m',
    '2h07m',
    '0s',
  ]);
  t.end();
});
