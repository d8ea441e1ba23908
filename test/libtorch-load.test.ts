import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import t from 'tap';
import { loadAddon } from '../src/addon.js';
import { requireLibtorch } from '../src/libtorch/find.js';

const addonUrl = JSON.stringify(new URL('../src/addon.js', import.meta.url).href);

t.test('the addon loads once, against the libtorch that was found', async (t) => {
  const binding = loadAddon();
  t.equal(loadAddon(), binding);
  t.equal(binding.info().torch.split('+')[0], requireLibtorch().version);
});

t.test('it loads in worker threads too, where libtorch is there already', async (t) => {
  // Workers do not inherit tap's TypeScript loader, so they take what was compiled.
  const compiled = JSON.stringify(new URL('../lib/addon.js', import.meta.url).href);
  const code = `import(${compiled}).then(({ loadAddon }) =>
    require('node:worker_threads').parentPort.postMessage(loadAddon().info().torch));`;
  const answers = await Promise.all(
    [1, 2, 3].map(() => {
      const worker = new Worker(code, { eval: true });
      return new Promise((done, fail) => worker.once('message', done).once('error', fail));
    }),
  );
  t.same(answers, Array(3).fill(loadAddon().info().torch));
});

t.test('a process that loaded it ends by itself with exit code 0', async (t) => {
  const { status, stderr } = runLoad({});
  t.equal(status, 0, stderr);
});

t.test(
  'libtorch of another version is refused with a sentence, before anything of it is loaded',
  async (t) => {
    const [major, minor] = loadAddon().info().compiledFor.split('.').map(Number);
    const other = `${major}.${minor === 12 ? 13 : 12}.0`;
    const dir = t.testdir({
      lib: { 'libc10.so': '', 'libtorch_cpu.so': '', 'libtorch.so': '' },
      'version.py': `__version__ = '${other}+cpu'\n`,
    });
    const { status, stdout } = runLoad({ TORCHGRAFT_LIBTORCH: dir });
    t.equal(status, 0);
    t.match(JSON.parse(stdout), { code: 'LIBTORCH_VERSION', message: `holds ${other}` });
  },
);

t.test(
  'missing libtorch is refused with the command that fetches it, and nothing is downloaded',
  async (t) => {
    const cache = t.testdir({});
    const { stdout } = runLoad({ TORCHGRAFT_LIBTORCH: '', TORCHGRAFT_CACHE: join(cache, 'none') });
    t.match(JSON.parse(stdout), { code: 'LIBTORCH_NOT_FOUND', message: /npx torchgraft setup/ });
  },
);

/** Loads the addon in a process of its own, which prints null or the error. */
function runLoad(environment: Record<string, string>) {
  const code = `const { loadAddon } = await import(${addonUrl}); let failure = null;
    try { loadAddon() } catch ({ code, message }) { failure = { code, message } }
    console.log(JSON.stringify(failure));`;
  return spawnSync(process.execPath, [...process.execArgv, '--input-type=module', '--eval', code], {
    env: { ...process.env, ...environment },
    encoding: 'utf8',
  });
}
