/** What the time of a run went to. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { fineTune } from '../src/index.js';
import { Stopwatch } from '../src/stopwatch.js';
import { torchgraft } from './command-line.js';
import { backbone, copyDefects, defects, open, quick } from './defects.js';

const sum = (seconds: Record<string, number>) => Object.values(seconds).reduce((a, b) => a + b, 0);

t.test('what is measured within something else counts for itself alone', async (t) => {
  const watch = new Stopwatch();
  const begun = performance.now();
  const wait = () => new Promise((resolve) => setImmediate(resolve));
  const value = await watch.spend('outer', async () => {
    await watch.spend('inner', wait);
    await watch.spend('other', wait);
    await watch.spend('inner', wait);
    return 7;
  });
  const passed = (performance.now() - begun) / 1000;
  t.equal(value, 7);
  t.same(Object.keys(watch.seconds), ['outer', 'inner', 'other'], 'in the order in which they began');
  t.ok(Object.values(watch.seconds).every((seconds) => seconds >= 0));
  t.ok(sum(watch.seconds) <= passed, 'nothing counts twice');
  await t.rejects(
    watch.spend('failing', () => Promise.reject(new Error('mine'))),
    { message: 'mine' },
  );
  const before = watch.seconds;
  await wait();
  t.same(watch.seconds, before, 'nothing is counted while nothing is measured');
});

t.test('a run says what its time went to', async (t) => {
  const begun = performance.now();
  const result = await fineTune(await open(t, backbone), defects(24, 12), {
    ...{ ...quick, baselines: 'measure', checkpoint: join(t.testdir(), 'checkpoint.pt') },
    preprocessing: { size: 96, resize: 96 },
  });
  const names = [
    'preparation',
    'baselines',
    'audit',
    'planning',
    'features',
    'training',
    'validation',
    'checkpoints',
  ];
  t.same(Object.keys(result.seconds).sort(), names.sort());
  t.ok(sum(result.seconds) <= (performance.now() - begun) / 1000);
});

t.test('train shows it, and run.json has it', async (t) => {
  const folder = t.testdir();
  copyDefects(join(folder, 'data'), 4);
  const { code, stderr } = await torchgraft([
    ...['train', '--model', backbone, '--data', join(folder, 'data'), '--out', join(folder, 'run')],
    ...['--strategy', 'head', '--epochs', '1', '--image-size', '96'],
  ]);
  t.equal(code, 0, stderr);
  t.match(stderr, /^time {3}\w+ \d+\.\d s/m);
  const { seconds, totalSeconds } = JSON.parse(readFileSync(join(folder, 'run', 'run.json'), 'utf8'));
  for (const name of ['data', 'model', 'features', 'training', 'baselines', 'audit', 'saving', 'report']) {
    t.type(seconds[name], 'number', name);
  }
  // The report is written when the result has been shown.
  t.ok(sum(seconds) - seconds.report <= totalSeconds);
});
