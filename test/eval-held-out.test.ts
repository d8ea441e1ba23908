/** An evaluation takes every image that it is given: without training images, with one split, with one class. */
import { cpSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import t from 'tap';
import { imageFolder, imageManifest, loadClassifier, loadModel } from '../src/index.js';
import { torchgraft } from './command-line.js';
import { copyDefects, defects, defectsFolder, open, quick, residual, train } from './defects.js';

const root = t.testdir();
const file = join(root, 'model.pt');
const classes = readdirSync(join(defectsFolder, 'val')).sort();
const [first, second] = classes as [string, string];
/** 6 classes of 5 images each. */
const heldOut = join(root, 'heldout');

t.before(async () => {
  copyDefects(join(root, 'all'), 5);
  cpSync(join(root, 'all', 'val'), heldOut, { recursive: true });
  const model = await open(t);
  await train(model, defects(24, 12), quick);
  await model.save(file);
});

async function evaluate(folder: string, options = {}) {
  await using classifier = await loadClassifier(file, { device: 'cpu', threads: 1 });
  const data = await imageFolder(folder, { purpose: 'evaluation' });
  return await classifier.evaluate(data, options);
}

/** A folder with copies of the held-out images of these classes. */
function copied(name: string, of: readonly string[], below = ''): string {
  const folder = join(root, name);
  for (const one of of) cpSync(join(heldOut, one), join(folder, below, one), { recursive: true });
  return folder;
}

t.test('class folders without splits: all images, each the same whatever else is there', async (t) => {
  const all = await evaluate(heldOut);
  t.same([all.split, all.metrics.count], ['test', 30]);
  t.same(
    all.metrics.perClass.map(({ support }) => support),
    classes.map(() => 5),
  );
  const said = new Map(all.predictions.map(({ path, ...rest }) => [basename(path), rest]));
  const some = await evaluate(copied('two', [second, first]));
  t.equal(some.metrics.count, 10);
  for (const { path, truth, predicted } of some.predictions) {
    const same = said.get(basename(path));
    t.same([truth, predicted], [same?.truth, same?.predicted]);
  }
  const one = await evaluate(copied('one', [second]));
  t.equal(one.metrics.count, 5);
  t.ok(one.predictions.every(({ truth }) => truth === second));
  t.same(
    one.metrics.perClass.map(({ support }) => support),
    classes.map((name) => (name === second ? 5 : 0)),
  );
});

t.test('one split alone is what is measured', async (t) => {
  for (const [name, split] of [
    ['test', 'test'],
    ['Validation', 'val'],
    ['Training', 'train'],
  ] as const) {
    const folder = copied(`only ${name}`, classes, name);
    const { metrics, ...rest } = await evaluate(folder);
    t.same([rest.split, metrics.count], [split, 30], name);
    await t.rejects(evaluate(folder, { split: split === 'val' ? 'test' : 'val' }), {
      code: 'INVALID_VALUE',
      message: new RegExp(`has no split .*It has ${split} \\(30\\)`),
    });
  }
});

t.test('classes that the model does not know are named, where they are measured', async (t) => {
  const folder = copied('unknown', [first]);
  cpSync(join(heldOut, second), join(folder, second.toUpperCase()), { recursive: true });
  await t.rejects(evaluate(folder), {
    code: 'DATA_INVALID',
    message: new RegExp(
      `does not know the class ${second.toUpperCase()}\\. Did you mean .${second}.\\? It knows ${first}`,
    ),
  });
  const other = copied('other', [first], 'test');
  cpSync(join(heldOut, second), join(other, 'train', 'another'), { recursive: true });
  t.equal((await evaluate(other)).metrics.count, 5, 'the split measured has none of it');
});

t.test('where no image can be read there are no metrics, and the first is told', async (t) => {
  const folder = join(root, 'broken');
  mkdirSync(join(folder, first), { recursive: true });
  for (const name of ['1.jpg', '2.jpg']) writeFileSync(join(folder, first, name), 'no image');
  await t.rejects(evaluate(folder, { unreadable: 'skip' }), {
    code: 'DATA_INVALID',
    message: /None of the 2 images to measure on can be read.*1\.jpg/,
  });
});

const count = ({ stdout }: { stdout: string }) => /^(\w+): (\d+) images/.exec(stdout)?.slice(1, 3);

t.test('torchgraft eval', async (t) => {
  const run = (data: string, ...args: string[]) =>
    torchgraft(['eval', file, '--data', data, '--device', 'cpu', ...args]);
  t.same(count(await run(heldOut)), ['test', '30']);
  t.same(count(await run(join(root, 'only test'))), ['test', '30']);
  t.same(count(await run(join(root, 'only Validation'))), ['val', '30']);
  const list = join(root, 'list.csv');
  const rows = readdirSync(join(heldOut, first)).map((name) => `heldout/${first}/${name},${first},test`);
  writeFileSync(list, ['path,label,split', ...rows].join('\n'));
  t.same(count(await run(list)), ['test', '5']);
  const json = JSON.parse((await run(list, '--split', 'test', '--json')).stdout);
  t.same([json.split, json.metrics.count, json.predictions.length], ['test', 5, 5]);
  const missing = await run(list, '--split', 'val');
  t.match(missing, { code: 2, stderr: /the data has no split `val`\. It has test \(5\)/ });
});

t.test('what a model was trained on is split as it was then', async (t) => {
  const own = join(root, 'own');
  const folder = copied('seen', classes);
  const trained = await torchgraft([
    ...[
      'train',
      '--model',
      residual,
      '--data',
      folder,
      '--out',
      own,
      '--epochs',
      '1',
      '--strategy',
      'head',
      '--seed',
      '3',
    ],
    ...['--image-size', '32', '--no-report', '--no-baselines', '--device', 'cpu'],
  ]);
  t.equal(trained.code, 0, trained.stderr);
  const again = await torchgraft(['eval', own, '--data', folder, '--device', 'cpu', '--json']);
  const { split, predictions } = JSON.parse(again.stdout);
  const { splits } = await imageFolder(folder, { seed: 3 });
  t.same(
    [split, predictions.map(({ path }: { path: string }) => path)],
    ['val', splits.val.map(({ path }) => path)],
  );
  t.match(
    again.stderr,
    /The model was trained on these images: measured on are those that it did not learn from/,
  );
  t.same(count(await torchgraft(['eval', own, '--data', folder, '--split', 'val', '--device', 'cpu'])), [
    'val',
    '6',
  ]);
  rmSync(join(folder, first), { recursive: true });
  const changed = await torchgraft(['eval', own, '--data', folder, '--device', 'cpu']);
  t.same(count(changed), ['test', '25']);
  t.match(changed.stderr, /trained on images from there, which have changed since/);
});

t.test('of labels and numbers too', async (t) => {
  const model = await loadModel(residual, { device: 'cpu', threads: 1 });
  t.teardown(() => model.dispose());
  const paths = classes.flatMap((name) =>
    readdirSync(join(heldOut, name)).map((own) => `heldout/${name}/${own}`),
  );
  const list = join(root, 'targets.csv');
  writeFileSync(
    list,
    ['path,target,split', ...paths.map((path, at) => `${path},${at},${at % 3 === 0 ? 'val' : 'train'}`)].join(
      '\n',
    ),
  );
  await train(model, await imageManifest(list, { task: 'regression' }), quick);
  const saved = join(root, 'numbers.pt');
  await model.save(saved);
  await using classifier = await loadClassifier(saved, { device: 'cpu', threads: 1 });
  const single = join(root, 'single.csv');
  writeFileSync(single, `path,target\n${paths[0]},4\n`);
  const { split, metrics } = await classifier.evaluateTargets(
    await imageManifest(single, { purpose: 'evaluation' }),
  );
  t.same([split, metrics.count], ['test', 1]);
});
