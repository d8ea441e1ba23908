// Makes a fresh clone ready: npm packages, TypeScript, libtorch, the native addon. Each step is skipped when its
// result is there. Only Node's own modules may be imported here, since npm packages are not in yet.
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runStep } from './progress.js';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const at = (...path) => join(root, ...path);
const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'));

// Leaving by process.exit lets a running step remove what it has half done.
process.once('SIGINT', () => process.exit(130));
process.once('SIGTERM', () => process.exit(143));

let libtorch;

await runStep('Node', checkNode);
await runStep('npm packages', installPackages);
await runStep('TypeScript', compileTypeScript);
await runStep('libtorch', prepareLibtorch);
await runStep('native addon', compileAddon);

function checkNode() {
  const needed = readJson(at('package.json')).engines.node.replace('>=', '').split('.').map(Number);
  const found = process.versions.node.split('.').map(Number);
  const difference = needed.map((part, index) => found[index] - part).find((part) => part !== 0) ?? 0;
  if (difference < 0) {
    throw new Error(
      `${process.version} is too old: ${needed.join('.')} or newer is needed. Install it from nodejs.org.`,
    );
  }
  return `${process.version} on ${process.platform}-${process.arch}`;
}

async function installPackages(progress) {
  if (packagesAreIn()) return 'up to date';
  const folder = at('node_modules');
  if (lstatSync(folder, { throwIfNoEntry: false })?.isSymbolicLink()) {
    return 'node_modules is a link and differs from package-lock.json; left as it is';
  }
  progress.note('npm ci');
  const npm = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ['npm'];
  await runCommand(
    [...npm, 'ci', '--include=dev', '--no-audit', '--no-fund'],
    'Check the network and run `npm ci`.',
  );
  return 'installed';
}

/** Whether npm's own record of what it installed has every package of package-lock.json in that version. */
function packagesAreIn() {
  const record = at('node_modules', '.package-lock.json');
  if (!existsSync(record)) return false;
  const installed = readJson(record).packages;
  return Object.entries(readJson(at('package-lock.json')).packages).every(
    ([path, { version, optional }]) => path === '' || optional || installed[path]?.version === version,
  );
}

async function compileTypeScript() {
  const sources = listFiles(at('src')).filter((name) => name.endsWith('.ts'));
  const hash = createHash('sha256').update(readFileSync(at('tsconfig.json')));
  for (const name of sources) hash.update(name).update(readFileSync(at('src', name)));
  const digest = hash.digest('hex');
  const record = at('build', 'typescript.sha256');
  const isCompiled = (name) => existsSync(at('lib', name.replace(/\.ts$/, '.js')));
  const recorded = existsSync(record) ? readFileSync(record, 'utf8') : '';
  if (recorded === digest && sources.filter((name) => !name.endsWith('.d.ts')).every(isCompiled))
    return 'up to date';
  for (const name of readdirSync(at('lib')))
    if (name !== '.gitkeep') rmSync(at('lib', name), { recursive: true });
  await runCommand(
    [process.execPath, at('node_modules', 'typescript', 'bin', 'tsc'), '-p', root],
    'Correct the above.',
  );
  mkdirSync(at('build'), { recursive: true });
  writeFileSync(record, digest);
  return `compiled ${sources.length} files`;
}

async function prepareLibtorch(progress) {
  const { ensureLibtorch } = await import('../lib/libtorch/ensure.js');
  const onProgress = ({ step, text, done, total }) =>
    step === 'note' ? progress.note(text) : progress.show(step, done / 1e6, total / 1e6, 'MB');
  libtorch = await ensureLibtorch({ onProgress });
  return `${libtorch.version} (${libtorch.flavour}) in ${libtorch.directory}`;
}

async function compileAddon(progress) {
  const { buildNative, findCurrentAddon } = await import('./build-native.js');
  const current = findCurrentAddon(libtorch.version);
  if (current) return `up to date in ${current}`;
  requireCompiler();
  const lines = [];
  try {
    await buildNative(libtorch, (line) => {
      lines.push(line);
      // Ninja prints [3/10], make [ 30%].
      const step = /^\[\s*(\d+)(?:\/(\d+)|%)\]/.exec(line);
      if (step) progress.show('compile', Number(step[1]), Number(step[2] ?? 100));
    });
  } catch (error) {
    progress.clear();
    console.error(lines.slice(-60).join('\n'));
    throw new Error(`${error.message}. Correct the above and run \`npm run build:native\`.`);
  }
  return `compiled for libtorch ${libtorch.version}`;
}

function requireCompiler() {
  const works = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
  const missing = [
    !works('cmake') && 'cmake',
    !works(process.env.CXX || 'c++') && 'g++',
    !works('ninja') && !works('make') && 'make',
  ].filter(Boolean);
  if (missing.length === 0) return;
  throw new Error(
    `${missing.join(' and ')} not found. Install with \`apt-get install -y ${missing.join(' ')}\` (or your system's ` +
      'way) and run `npm run setup` again.',
  );
}

function listFiles(directory) {
  const entries = readdirSync(directory, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile());
  return files
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(directory.length + 1))
    .sort();
}

/** Runs a command that speaks for itself; `advice` is the next step when it fails. */
function runCommand([command, ...args], advice) {
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'inherit', 'inherit'] });
  return new Promise((done, fail) => {
    child.on('error', (error) => fail(new Error(`${command}: ${error.message}. ${advice}`)));
    child.on('close', (code) =>
      code === 0 ? done() : fail(new Error(`${command} ended with exit code ${code}. ${advice}`)),
    );
  });
}
