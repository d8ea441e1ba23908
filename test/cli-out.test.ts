/** Where results go is looked at before anything is loaded, in words; an earlier run is never lost by accident. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { fineTune, search, writeReport } from '../src/index.js';
import { torchgraft } from './command-line.js';
import { backbone, copyDefects, defects, open, quick } from './defects.js';

const folder = t.testdir({});
const data = join(folder, 'data');
copyDefects(data, 3);
const small = ['--strategy', 'head', '--epochs', '1', '--image-size', '96', '--precision', 'float32'];
const bare = [...small, '--no-baselines', '--no-report'];
const train = (out: string, ...more: string[]) => [
  ...['train', '--model', backbone, '--data', data, '--out', out, ...bare, ...more],
];
const run = join(folder, 'run');
const done = await torchgraft(train(run));
t.equal(done.code, 0, done.stderr);

/** Every command that leaves files, told to leave them at `out`; the model does not exist, so that loading it would be said. */
const missing = join(folder, 'missing.pt');
const commands: [name: string, kind: 'folder' | 'file', args: (out: string) => string[]][] = [
  ['train', 'folder', (out) => ['train', '--model', missing, '--data', data, '--out', out]],
  ['search', 'folder', (out) => ['search', '--model', missing, '--data', data, '--out', out]],
  ['lr-find', 'folder', (out) => ['lr-find', '--model', missing, '--data', data, '--out', out]],
  [
    'adapt-domain',
    'folder',
    (out) => ['adapt-domain', '--model', missing, '--source', data, '--target', data, '--out', out],
  ],
  ['quickstart', 'folder', (out) => ['quickstart', '--epochs', '1', '--out', out]],
  ['wise-ft', 'file', (out) => ['wise-ft', run, '--base', missing, '--data', data, '--out', out]],
  ['debias', 'file', (out) => ['debias', run, '--data', missing, '--groups', 'x', '--out', out]],
  ['report', 'file', (out) => ['report', run, '--out', out]],
];

t.test('a file in the way is told, and nothing was loaded', async (t) => {
  const file = join(folder, 'file');
  writeFileSync(file, 'mine');
  const link = join(folder, 'link');
  symlinkSync(file, link);
  for (const [name, kind, args] of commands) {
    for (const out of kind === 'folder' ? [file, join(file, 'x', 'y'), link] : [join(file, 'x.pt'), folder]) {
      const { code, stdout, stderr } = await torchgraft(args(out));
      t.equal(code, 1, `${name} ${out}`);
      t.match(stderr, /^error \[FILE_UNWRITABLE\]: .*(is a file|which is a file|is a folder)\. /, name);
      t.notMatch(stderr, /\n {4}at /, 'no stack');
      t.equal(stdout, '');
    }
  }
  t.equal(readFileSync(file, 'utf8'), 'mine');
});

t.test('an earlier run is refused, and neither touched nor loaded beside', async (t) => {
  const names: Record<string, string> = {
    ...{ train: 'checkpoint.pt', search: 'search.jsonl', 'lr-find': 'lr-find.json' },
    ...{ 'adapt-domain': 'domain.json', quickstart: 'model.pt' },
  };
  for (const [name, kind, args] of commands) {
    const earlier = join(folder, 'earlier', name);
    mkdirSync(earlier, { recursive: true });
    const file = join(earlier, names[name] ?? 'x.pt');
    writeFileSync(file, 'hours of work');
    const { code, stderr } = await torchgraft(args(kind === 'folder' ? earlier : file));
    t.equal(code, 1, name);
    t.match(stderr, /^error \[FILE_UNWRITABLE\]: .*--overwrite/, name);
    const canResume = name === 'train' || name === 'search';
    t.equal(stderr.includes('--resume'), canResume, `${name}: ${stderr}`);
    t.equal(readFileSync(file, 'utf8'), 'hours of work');
  }
});

t.test('a folder that was not there is not left behind by a command that fails', async (t) => {
  for (const [name, kind, args] of commands.filter(([name]) => name !== 'quickstart' && name !== 'report')) {
    const root = join(folder, 'new', name);
    const { code, stderr } = await torchgraft(args(join(root, 'deep', kind === 'folder' ? 'run' : 'x.pt')));
    t.not(code, 0, name);
    t.notMatch(stderr, 'FILE_UNWRITABLE', name);
    t.notOk(existsSync(join(folder, 'new')), name);
  }
});

const isRoot = process.getuid?.() === 0;
t.test('no permission is told in words', isRoot ? { skip: 'root may write everywhere' } : {}, async (t) => {
  const closed = join(folder, 'closed');
  mkdirSync(closed);
  chmodSync(closed, 0o555);
  t.teardown(() => chmodSync(closed, 0o755));
  for (const [name, kind, args] of commands) {
    const { code, stderr } = await torchgraft(args(join(closed, kind === 'folder' ? 'run' : 'x.pt')));
    t.equal(code, 1, name);
    t.match(stderr, /^error \[FILE_UNWRITABLE\]: Cannot write .*: permission denied\. /, name);
  }
});

t.test('a place that takes no folders is told in words', async (t) => {
  if (!existsSync('/proc/self')) return t.comment('there is no /proc here');
  const { code, stderr } = await torchgraft(train('/proc/run'));
  t.equal(code, 1);
  t.match(stderr, /^error \[FILE_UNWRITABLE\]: Cannot write \/proc\/run: /);
  t.notMatch(stderr, /\n {4}at /);
});

t.test('--overwrite replaces all of an earlier run, --resume goes on, and both are too much', async (t) => {
  const out = join(folder, 'again');
  t.equal((await torchgraft(train(out))).code, 0);
  for (const old of ['adapter.safetensors', 'adapted.pt', 'report.html'])
    writeFileSync(join(out, old), 'old');
  writeFileSync(join(out, 'notes.txt'), 'mine');
  const before = statSync(join(out, 'model.pt')).mtimeMs;
  const refused = await torchgraft(train(out));
  t.equal(refused.code, 1);
  t.match(refused.stderr, /again holds an earlier run \(model\.pt, run\.json, checkpoint\.pt\)\./);
  t.equal(statSync(join(out, 'model.pt')).mtimeMs, before);
  t.equal((await torchgraft(train(out, '--resume'))).code, 0);
  const both = await torchgraft(train(out, '--resume', '--overwrite'));
  t.equal(both.code, 2);
  t.match(both.stderr, /either --resume or --overwrite/);
  const replaced = await torchgraft(train(out, '--overwrite', '--seed', '3'));
  t.equal(replaced.code, 0, replaced.stderr);
  t.equal(JSON.parse(readFileSync(join(out, 'run.json'), 'utf8')).request.seed, 3);
  t.same(
    readdirSync(out).sort(),
    ['checkpoint.pt', 'model.pt', 'notes.txt', 'run.json'],
    'nothing stale stays',
  );
});

t.test('--overwrite removes nothing where the model is not there', async (t) => {
  const out = join(folder, 'kept');
  mkdirSync(out);
  for (const name of ['model.pt', 'search.jsonl', 'run.json'])
    writeFileSync(join(out, name), 'hours of work');
  for (const verb of ['train', 'search']) {
    const { code } = await torchgraft([
      verb,
      '--model',
      missing,
      '--data',
      data,
      '--out',
      out,
      '--overwrite',
    ]);
    t.equal(code, 1);
    t.same(readdirSync(out).sort(), ['model.pt', 'run.json', 'search.jsonl'], verb);
  }
});

t.test('functions that write late look first', async (t) => {
  const model = await open(t);
  const images = defects(12, 6);
  const file = join(folder, 'a-file');
  writeFileSync(file, '');
  let computed = 0;
  const options = { ...quick, onBatch: () => void computed++ };
  const run = async (checkpoint: string) => {
    for await (const _ of fineTune(model, images, { ...options, checkpoint }));
  };
  await t.rejects(run(join(folder, 'nowhere', 'c.pt')), {
    code: 'FILE_NOT_FOUND',
    message: /Create it first/,
  });
  await t.rejects(run(folder), { code: 'FILE_UNWRITABLE', message: /is a folder/ });
  await t.rejects(search(missing, images, { folder: file }), {
    code: 'FILE_UNWRITABLE',
    message: /is a file/,
  });
  t.equal(computed, 0, 'before anything is computed');
  const training = fineTune(model, images, options);
  for await (const _ of training);
  const told = { model, data: images, result: training.result as never };
  await t.rejects(writeReport(folder, told), { code: 'FILE_UNWRITABLE' });
  await t.rejects(model.save(folder), {
    code: 'FILE_UNWRITABLE',
    message: /^Cannot write .*: .*directory\. /,
  });
  await t.rejects(model.save(join(file, 'model.pt')), { code: 'FILE_NOT_FOUND' });
});
