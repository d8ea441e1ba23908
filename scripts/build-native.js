// Compiles binding/*.cc into build/Release/torchgraft.node with cmake-js.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, freemem } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
/** Where the addon is compiled to. */
export const output = join(root, 'build', 'Release');

/** SHA-256 of all that decides what the addon becomes, apart from the compiler. */
function hashSources() {
  const hash = createHash('sha256');
  const binding = readdirSync(join(root, 'binding'), { recursive: true }).sort();
  const sources = binding.filter((name) => /\.(cc|h)$/.test(name)).map((name) => join('binding', name));
  for (const source of [...sources, 'CMakeLists.txt'])
    hash.update(source).update(readFileSync(join(root, source)));
  return hash.digest('hex');
}

/** Path of an addon (compiled here, else prebuilt) made from these sources for this version, or undefined. */
export function findCurrentAddon(version) {
  const sources = hashSources();
  return [output, join(root, 'prebuilds', `${process.platform}-${process.arch}`)]
    .filter((directory) => existsSync(join(directory, 'torchgraft.node')))
    .slice(0, 1) // The first is the one that would be loaded.
    .filter((directory) => {
      const record = join(directory, 'torchgraft.json');
      if (!existsSync(record)) return false;
      const made = JSON.parse(readFileSync(record, 'utf8'));
      return made.libtorch === version && made.sources === sources;
    })[0];
}

/** Runs one cmake-js command; `onLine` receives what it prints, line by line. */
function runCmakeJs(args, onLine) {
  const cmakeJs = createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js');
  // A precompiled header and ccache only go together when ccache is told to look past its time stamps.
  const env = {
    CCACHE_SLOPPINESS: 'pch_defines,time_macros,include_file_mtime,include_file_ctime',
    ...process.env,
  };
  const child = spawn(process.execPath, [cmakeJs, ...args, '--log-level', 'warn'], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  for (const stream of [child.stdout, child.stderr]) {
    let rest = '';
    stream.setEncoding('utf8').on('data', (text) => {
      const lines = (rest + text).split('\n');
      rest = lines.pop();
      for (const line of lines) onLine(line);
    });
    stream.on('end', () => rest && onLine(rest));
  }
  return new Promise((done, fail) => {
    child.on('error', fail);
    child.on('close', (code) =>
      code === 0 ? done() : fail(new Error(`cmake-js ${args[0]} failed with exit code ${code}`)),
    );
  });
}

/** Configures and compiles against `libtorch` ({ directory, version }), and records what was made. */
export async function buildNative({ directory, version }, onLine = console.log) {
  // Hashed before, so that a source changed meanwhile is compiled again next time.
  const sources = hashSources();
  await runCmakeJs(['configure', `--CDLIBTORCH=${resolve(directory)}`], onLine);
  // One compiler on libtorch's headers takes up to 1.5 GB.
  const jobs = Math.max(1, Math.min(availableParallelism(), Math.floor(freemem() / 1.5e9)));
  await runCmakeJs(['build', '--parallel', String(jobs)], onLine);
  writeFileSync(join(output, 'torchgraft.json'), JSON.stringify({ libtorch: version, sources }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const { requireLibtorch } = await import('../lib/libtorch/find.js').catch(() => {
      throw new Error('lib/ is empty. Run `npm run compile` first, or `npm run setup` for everything.');
    });
    await buildNative(requireLibtorch());
  } catch (error) {
    console.error(error.message);
    process.exit(1);
  }
}
