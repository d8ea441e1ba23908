/** `torchgraft wise-ft`. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { imageFolder, loadClassifier } from '../src/index.js';
import { torchgraft } from './command-line.js';
import { backbone, copyDefects, open, residual } from './defects.js';

const root = t.testdir({});
const data = join(root, 'defects');
const run = join(root, 'run');
copyDefects(data, 5);

t.before(async () => {
  const { code, stderr } = await torchgraft([
    ...['train', '--model', backbone, '--data', data, '--out', run, '--epochs', '1', '--strategy', 'full'],
    ...[
      '--image-size',
      '32',
      '--batch-size',
      '6',
      '--learning-rate',
      '0.01',
      '--no-baselines',
      '--no-report',
    ],
    // The last epoch is the best, whatever came of it: its weights differ from the pretrained ones.
    ...['--early-stop', 'trainLoss:9'],
  ]);
  if (code !== 0) throw new Error(stderr);
});

t.test(
  'a table, a model and a plot; retention takes the pretrained trunk where all accuracy may go',
  async (t) => {
    const retain = ['--retain', join(data, 'val'), '--choose', 'retention', '--tolerance', '1'];
    const { code, stdout, stderr } = await torchgraft([
      ...['wise-ft', run, '--base', backbone, '--data', data, '--alphas', '1,0', ...retain],
    ]);
    t.equal(code, 0, stderr);
    const [titles, , first, last, , chosen, saved] = stdout.split('\n');
    t.match(titles, /^ +alpha +accuracy +macro F1 +loss +agreement +divergence$/);
    t.match(first, /^\* +0 +\d\.\d{4} +\d\.\d{4} +\d+\.\d{4} +1\.0000 +0\.0000$/);
    t.match(last, /^ +1 +\d\.\d{4} .*[1-9]\d*$/, 'the fine-tuned trunk says something else');
    t.match(chosen, /^chosen alpha 0: val accuracy \d+\.\d\d %; the head is the fine-tuned one$/);
    t.equal(saved, `saved  ${join(run, 'wise-ft.pt')}, ${join(run, 'wise-ft.svg')}`);
    t.match(stderr, /^alpha 0: accuracy \d+\.\d\d %\nalpha 1: accuracy \d+\.\d\d %\n$/);
    t.match(readFileSync(join(run, 'wise-ft.svg'), 'utf8'), /^<svg /);

    const [mixed, base, tuned] = [
      await open(t, join(run, 'wise-ft.pt')),
      await open(t, backbone),
      await open(t, join(run, 'model.pt')),
    ];
    const names = (await base.summary()).parameters.map(({ name }) => name);
    const [ofMixed, ofBase, ofTuned] = await Promise.all(
      [mixed, base, tuned].map((model) => model.native.values(names)),
    );
    const isHead = (name: string) => name.startsWith('fc.');
    t.ok(names.some(isHead));
    for (const [at, name] of names.entries()) {
      t.same(ofMixed?.[at]?.data, (isHead(name) ? ofTuned : ofBase)?.[at]?.data, name);
    }
    t.notSame(ofBase?.[0]?.data, ofTuned?.[0]?.data, 'fine-tuning changed the trunk');
  },
);

t.test('--json: what is chosen is what the saved model does', async (t) => {
  const out = join(root, 'new', 'mixed.pt');
  const { code, stdout, stderr } = await torchgraft([
    ...['wise-ft', run, '--base', backbone, '--data', data, '--alphas', '0,0.5,1', '--out', out, '--json'],
  ]);
  t.equal(code, 0, stderr);
  const { model, plot, points, chosen, isHeadInterpolated, skipped } = JSON.parse(stdout);
  t.same([model, plot], [out, join(root, 'new', 'mixed.svg')]);
  t.ok(existsSync(plot));
  t.same(
    points.map(({ alpha }: { alpha: number }) => alpha),
    [0, 0.5, 1],
  );
  const accuracies = points.map(({ validation }: typeof chosen) => validation.accuracy);
  t.equal(chosen.validation.accuracy, Math.max(...accuracies));
  t.same([isHeadInterpolated, skipped], [false, []]);
  await using classifier = await loadClassifier(out, { device: 'cpu', threads: 1 });
  const { metrics } = await classifier.evaluate(await imageFolder(data));
  t.equal(metrics.accuracy, chosen.validation.accuracy);
});

t.test('--start lets the head go along: between a model and itself nothing changes', async (t) => {
  const out = join(root, 'same.pt');
  const { code, stdout, stderr } = await torchgraft([
    ...['wise-ft', run, '--base', backbone, '--data', data, '--start', run, '--alphas', '0,0.3,1'],
    ...['--out', out],
  ]);
  t.equal(code, 0, stderr);
  t.match(stdout, /chosen alpha 0: .*; the head went along/);
  const rows = stdout.split('\n').slice(2, 5);
  t.equal(new Set(rows.map((row) => row.trim().split(/ +/).at(-1))).size, 1, stdout);
});

t.test('an unreadable image fails, or is skipped and listed once', async (t) => {
  const folder = t.testdir();
  copyDefects(folder, 2);
  const broken = join(folder, 'val', 'ok', 'broken.jpg');
  writeFileSync(broken, 'no image');
  const request = [
    ...['wise-ft', run, '--base', backbone, '--data', folder, '--retain', join(folder, 'val')],
    ...['--alphas', '0,1', '--out', join(root, 'skipped.pt')],
  ];
  t.match(await torchgraft(request), { code: 1, stderr: /IMAGE_UNREADABLE.*broken\.jpg/ });
  t.notOk(existsSync(join(root, 'skipped.pt')));
  const { code, stdout } = await torchgraft([...request, '--skip-unreadable']);
  t.equal(code, 0);
  t.equal(stdout.split(`skipped ${broken}: Cannot decode`).length, 2);
});

t.test('wrong usage', async (t) => {
  const request = ['wise-ft', run, '--data', data, '--overwrite'];
  t.match(await torchgraft(request), { code: 2, stderr: /--base/ });
  t.match(await torchgraft([...request, '--base', 'missing.pt']), { code: 1, stderr: /FILE_NOT_FOUND/ });
  const based = [...request, '--base', backbone];
  t.match(await torchgraft([...based, '--alphas', '0,1.5']), { code: 2, stderr: /from 0 to 1/ });
  t.match(await torchgraft([...based, '--choose', 'retention']), { code: 2, stderr: /needs images/ });
  const stranger = await torchgraft([...request, '--base', residual]);
  t.match(stranger, { code: 2, stderr: /was not made of .*residual\.pt.*no weights in common/s });
});
