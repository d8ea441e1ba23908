import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { cp } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { requireLibtorch } from '../../src/libtorch/find.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const manifest = createRequire(import.meta.url)('../../package.json');
const platform = `${process.platform}-${process.arch}`;
const npm =
  process.env.npm_execpath ?? join(dirname(process.execPath), '../lib/node_modules/npm/bin/npm-cli.js');

interface Packed {
  filename: string;
  size: number;
  files: { path: string; size: number }[];
}

/** Packs the clone as it would be published, ready-made addon included. */
function packTarball(destination: string): Packed {
  execFileSync(process.execPath, [join(root, 'scripts', 'prebuild.js')], { cwd: root, stdio: 'pipe' });
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', destination];
  const output = JSON.parse(execFileSync(process.execPath, [npm, ...args], { cwd: root, encoding: 'utf8' }));
  // An array up to npm 11, an object by package name after it.
  return Object.values(output)[0] as Packed;
}

/**
 * Copies what the package depends on out of this clone's node_modules, so that installing needs no network, and
 * names each in the project's own dependencies: npm keeps what it finds in place only when the project asks for it. What
 * lies within another package, in a version of its own, comes with that.
 */
async function copyDependencies(project: string) {
  const args = ['ls', '--omit=dev', '--all', '--parseable'];
  const listed = execFileSync(process.execPath, [npm, ...args], { cwd: root, encoding: 'utf8' });
  const paths = listed.split('\n').filter((path) => path.includes('node_modules'));
  const dependencies: Record<string, string> = {};
  for (const path of paths) {
    const { name, version } = JSON.parse(readFileSync(join(path, 'package.json'), 'utf8'));
    if (path.lastIndexOf('node_modules') === path.indexOf('node_modules')) dependencies[name] = version;
    const target = join(project, path.slice(path.indexOf('node_modules')));
    await cp(path, target, { recursive: true, dereference: true });
  }
  writeFileSync(join(project, 'package.json'), JSON.stringify({ private: true, dependencies }));
  // Links the commands of what was copied: npm takes a package without its links for a broken one.
  execFileSync(process.execPath, [npm, 'rebuild', '--ignore-scripts'], { cwd: project, stdio: 'pipe' });
}

/** An environment where nothing but node can be started: no compiler, no cmake, no python. */
function bareEnvironment(dir: string): NodeJS.ProcessEnv {
  const bin = join(dir, 'bin');
  mkdirSync(bin);
  symlinkSync(process.execPath, join(bin, 'node'));
  // npm starts a shell for nothing here, but looks for one.
  symlinkSync('/bin/sh', join(bin, 'sh'));
  const kept = ['HOME', 'TORCHGRAFT_CACHE', 'TORCHGRAFT_LIBTORCH', 'XDG_CACHE_HOME'] as const;
  const values = kept.map((name) => [name, process.env[name]]).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(values), PATH: bin };
}

t.test('package.json runs nothing on installation', async (t) => {
  for (const name of ['preinstall', 'install', 'postinstall', 'prepare', 'prepublish']) {
    t.notOk(name in manifest.scripts, name);
  }
});

t.test('the tarball, installed without scripts and without a compiler', async (t) => {
  const dir = t.testdir({ project: {} });
  const packed = packTarball(dir);
  const paths = packed.files.map(({ path }) => path);

  t.test('holds what is needed and nothing else', async (t) => {
    for (const path of [
      'package.json',
      'libtorch.json',
      'lib/addon.js',
      `prebuilds/${platform}/torchgraft.node`,
    ]) {
      t.ok(paths.includes(path), path);
    }
    const allowed = /^(lib|prebuilds|assets)\/|^(package|libtorch)\.json$|^[A-Z]+(\.md)?$/;
    t.same(
      paths.filter((path) => !allowed.test(path)),
      [],
    );
    const libraries = paths.filter((path) =>
      /\.(so|dylib|dll)\b|libtorch_|\.test\.|(?<!\.d)\.ts$/.test(path),
    );
    t.same(libraries, [], 'no libtorch, no tests, no TypeScript sources');
    t.ok(packed.size < 8e6, `${packed.size} bytes packed`);
  });

  const project = join(dir, 'project');
  const env = bareEnvironment(dir);
  await copyDependencies(project);
  const install = [
    'install',
    join(dir, packed.filename),
    '--ignore-scripts',
    '--offline',
    '--no-audit',
    '--no-fund',
  ];
  execFileSync(process.execPath, [npm, ...install], { cwd: project, env, stdio: 'pipe' });
  const installed = join(project, 'node_modules', 'torchgraft');
  const run = (...args: string[]) =>
    execFileSync(process.execPath, args, {
      cwd: project,
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    });

  t.test('loads', async (t) => {
    t.notOk(existsSync(join(installed, 'build')), 'nothing was compiled');
    const file = JSON.stringify(join(installed, 'lib', 'doctor.js'));
    const code = `import { doctor } from ${file}; console.log(JSON.stringify(await doctor()));`;
    const report = JSON.parse(run('--input-type=module', '--eval', code));
    t.equal(report.addon.file, join(installed, 'prebuilds', platform, 'torchgraft.node'));
    t.equal(report.addon.info.torch.split('+')[0], requireLibtorch().version);
    t.equal(report.versions.torchgraft, manifest.version);
    t.type(report.versions.sharp, 'string');
  });

  const cli = join(installed, manifest.bin.torchgraft);
  t.test('trains and predicts', async (t) => {
    const data = join(installed, 'assets', 'defects');
    const model = join(installed, 'assets', 'backbone.pt');
    const command = ['train', '--model', model, '--data', data, '--out', 'run', '--epochs', '1', '--json'];
    const events = run(cli, ...command, '--image-size', '96')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    t.match(events.at(-1), { event: 'done', bestValAccuracy: Number });

    const folder = join(data, 'val', 'crack');
    const image = join(folder, readdirSync(folder).sort()[0] ?? '');
    const predicted = JSON.parse(run(cli, 'predict', 'run', image, '--json'));
    t.equal(predicted.predictions.length, 1);
    t.ok(readFileSync(join(project, 'run', 'model.pt')).length > 0);
  });
});
