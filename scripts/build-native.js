// Compiles binding/*.cc into build/Release/torchgraft.node with cmake-js.
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

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

/** Configures and compiles against the libtorch in `libtorch`. */
export async function buildNative(libtorch, onLine = console.log) {
  await runCmakeJs(['configure', `--CDLIBTORCH=${resolve(libtorch)}`], onLine);
  await runCmakeJs(['build', '--parallel', String(availableParallelism())], onLine);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const libtorch = process.env.TORCHGRAFT_LIBTORCH;
  if (!libtorch) {
    console.error(
      'TORCHGRAFT_LIBTORCH is not set: a folder with lib/ and include/. `npm run setup` finds one by itself.',
    );
    process.exit(1);
  }
  await buildNative(libtorch).catch((error) => {
    console.error(error.message);
    process.exit(1);
  });
}
