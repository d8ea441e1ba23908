/** What a command loads, and that this little fits a process with few addresses. */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { torchgraft } from './command-line.js';
import { backbone, copyDefects } from './defects.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const cli = join(root, 'lib', 'cli', 'main.js');
const folder = t.testdir({});
const data = join(folder, 'data');
copyDefects(data, 2);
const run = join(folder, 'run');
const image = join(data, 'val', 'dent', 'dent-00.jpg');
const more = ['--strategy', 'head', '--epochs', '1', '--image-size', '96', '--no-baselines', '--no-report'];
const trained = await torchgraft(['train', '--model', backbone, '--data', data, '--out', run, ...more]);
t.equal(trained.code, 0, trained.stderr);

/** Addresses of all scripts that Node ran, relative to the repository: V8's coverage names each. */
function loadedBy(args: string[]): string[] {
  const coverage = join(folder, `coverage-${args.join('-').replaceAll(/\W/g, '')}`);
  const env = { ...process.env, NODE_V8_COVERAGE: coverage };
  const { status, stderr } = spawnSync(process.execPath, args, { cwd: root, env, encoding: 'utf8' });
  t.equal(status, 0, stderr);
  const urls = readdirSync(coverage).flatMap((file) => {
    const { result } = JSON.parse(readFileSync(join(coverage, file), 'utf8'));
    return result.map(({ url }: { url: string }) => url);
  });
  const files = urls.filter((url) => url.startsWith('file:')).map((url) => fileURLToPath(url));
  return [...new Set(files.filter((file) => file.startsWith(root)).map((file) => file.slice(root.length)))];
}

/** Which of the package's dependencies are among them; tap puts some of its own into every process. */
function dependenciesOf(files: string[]): string[] {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const loaded = files.flatMap((file) => /^node_modules\/([^/]+)/.exec(file)?.[1] ?? []);
  return Object.keys(dependencies).filter((name) => loaded.includes(name));
}

t.test('help and version load the parser and nothing else', (t) => {
  for (const args of [['--version'], ['--help'], []]) {
    const files = loadedBy([cli, ...(args.length > 0 ? args : ['help'])]);
    t.same(dependenciesOf(files), ['commander'], args.join(' '));
    const own = files.filter((file) => file.startsWith('lib/'));
    t.ok(own.length > 5 && own.length < 20, own.join(' '));
    t.notOk(
      own.some((file) => /model|addon|train|native/.test(file)),
      own.join(' '),
    );
  }
  t.end();
});

t.test('a command loads its own code', (t) => {
  const heavy = ['sharp', 'undici', 'echarts'];
  for (const args of [
    ['train', '--help'],
    ['predict', '--help'],
    ['predict', run, image],
    ['inspect', run],
    ['cache'],
  ]) {
    const packages = dependenciesOf(loadedBy([cli, ...args]));
    t.same(
      packages.filter((name) => heavy.includes(name)),
      [],
      args.join(' '),
    );
  }
  t.ok(loadedBy([cli, 'train', '--help']).includes('lib/cli/train.js'));
  t.notOk(loadedBy([cli, 'train', '--help']).includes('lib/cli/run.js'));
  t.end();
});

t.test('the library loads neither the decoder, the charts nor the downloader before they are needed', (t) => {
  const code = `await import(${JSON.stringify(join(root, 'lib', 'index.js'))})`;
  const packages = dependenciesOf(loadedBy(['--input-type=module', '--eval', code]));
  t.ok(packages.includes('zod'), packages.join(' '));
  for (const heavy of ['sharp', 'echarts', 'undici', 'commander']) {
    t.notOk(packages.includes(heavy), heavy);
  }
  t.end();
});

const hasBash = spawnSync('bash', ['--version']).status === 0;
t.test('4 GB of addresses are enough', hasBash ? {} : { skip: 'bash is not installed' }, (t) => {
  for (const args of [
    ['--version'],
    ['--help'],
    ['train', '--help'],
    ['inspect', run],
    ['predict', run, image],
    ['doctor'],
  ]) {
    const script = 'ulimit -v 4000000; exec "$@"';
    const { status, stderr } = spawnSync('bash', ['-c', script, 'bash', process.execPath, cli, ...args], {
      encoding: 'utf8',
    });
    t.equal(status, 0, `${args.join(' ')}: ${stderr}`);
  }
  t.end();
});
