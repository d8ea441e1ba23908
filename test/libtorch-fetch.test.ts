import { type ChildProcess, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import t, { type Test } from 'tap';
import { ZipFile } from 'yazl';
import { ensureLibtorch, type LibtorchProgress } from '../src/libtorch/ensure.js';
import { type Pin, platform, readPin } from '../src/libtorch/pin.js';

const { version, supported } = readPin();
const folderName = `${version}-cpu-${platform}`;

/** A wheel with the shape of PyTorch's: `bytes` of noise stand for the code. */
async function makeWheel(bytes = 1_000_000): Promise<Buffer> {
  const zip = new ZipFile();
  const files: Record<string, Buffer> = {
    'torch/version.py': Buffer.from(`__version__ = '${version}+cpu'\n`),
    'torch/lib/libc10.so': Buffer.from('c10'),
    'torch/lib/libtorch_cpu.so': randomBytes(bytes),
    'torch/lib/libtorch.so': Buffer.from('torch'),
    'torch/lib/libtorch_python.so': Buffer.from('python'),
    'torch/include/torch/script.h': Buffer.from('#pragma once\n'),
    'torch/bin/protoc': Buffer.from('protoc'),
  };
  for (const [name, data] of Object.entries(files)) zip.addBuffer(data, name);
  zip.end();
  return buffer(zip.outputStream);
}

function pinOf(wheel: Buffer): Pin {
  const sha256 = createHash('sha256').update(wheel).digest('hex');
  const archive = { flavour: 'cpu', base: 'https://localhost', file: `torch-${version}+cpu.whl`, sha256 };
  return { version, supported, archives: { [platform]: archive } };
}

async function serve(t: Test, listener: RequestListener): Promise<{ server: Server; url: string }> {
  const server = createServer(listener);
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** An empty cache, a python3 that does what `python` (shell text) says, and no proxy. */
function isolate(t: Test, url: string | undefined, python = 'echo "ERROR: no such wheel" >&2; exit 1') {
  const dir = t.testdir({ cache: {}, bin: { python3: `#!/bin/sh\n${python}\n` } });
  chmodSync(join(dir, 'bin', 'python3'), 0o755);
  const values: Record<string, string | undefined> = {
    TORCHGRAFT_CACHE: join(dir, 'cache'),
    TORCHGRAFT_LIBTORCH: undefined,
    TORCHGRAFT_LIBTORCH_URL: url,
    PATH: `${join(dir, 'bin')}:${process.env.PATH}`,
  };
  for (const name of ['http_proxy', 'https_proxy', 'no_proxy']) {
    values[name] = undefined;
    values[name.toUpperCase()] = undefined;
  }
  for (const [name, value] of Object.entries(values)) {
    const before = process.env[name];
    const put = (text: string | undefined) => {
      if (text === undefined) delete process.env[name];
      else process.env[name] = text;
    };
    put(value);
    t.teardown(() => put(before));
  }
  return join(dir, 'cache', 'libtorch');
}

t.test('the archive is fetched, checked and unpacked; the second time nothing is fetched', async (t) => {
  const wheel = await makeWheel();
  let requests = 0;
  const { url } = await serve(t, (request, response) => {
    requests++;
    t.equal(request.url, `/torch-${version}%2Bcpu.whl`);
    response.setHeader('content-length', wheel.length).end(wheel);
  });
  const parent = isolate(t, url);
  const seen: LibtorchProgress[] = [];
  const found = await ensureLibtorch({ pin: pinOf(wheel), onProgress: (progress) => seen.push(progress) });
  t.match(found, { version, flavour: 'cpu', source: 'cache', directory: join(parent, folderName) });
  t.same(readdirSync(parent), [folderName]);
  t.same(readdirSync(join(parent, folderName), { recursive: true }).sort(), [
    'include',
    'include/torch',
    'include/torch/script.h',
    'lib',
    'lib/libc10.so',
    'lib/libtorch.so',
    'lib/libtorch_cpu.so',
    'version.py',
  ]);
  for (const step of ['download', 'unpack'] as const) {
    const last = seen.findLast((progress) => progress.step === step);
    t.ok(last && 'done' in last && last.done === last.total && last.total > 0, `${step} ends complete`);
  }
  t.equal((await ensureLibtorch({ pin: pinOf(wheel) })).directory, found.directory);
  t.equal(requests, 1);
});

t.test('a changed archive is thrown away, and pip is asked', async (t) => {
  const wheel = await makeWheel();
  const { url } = await serve(t, (_request, response) => response.end(Buffer.from('something else')));
  const parent = isolate(t, url);
  await t.rejects(ensureLibtorch({ pin: pinOf(wheel) }), {
    code: 'LIBTORCH_NOT_FOUND',
    message: /SHA-256 [0-9a-f]{64} .* expected.*pip failed: ERROR: no such wheel.*TORCHGRAFT_LIBTORCH_URL/s,
  });
  t.same(readdirSync(parent), []);
});

t.test('a server that is not there is left quickly for pip, whose wheel is unpacked', async (t) => {
  const wheel = await makeWheel();
  const closed = await serve(t, () => {});
  closed.server.close();
  const source = join(t.testdir({}), '..', 'wheel.bin');
  writeFileSync(source, wheel);
  // pip's arguments end in `-d <folder>`.
  const parent = isolate(
    t,
    closed.url,
    `for last; do :; done\ncp '${source}' "$last/torch-${version}-cp311.whl"`,
  );
  const notes: string[] = [];
  const begin = performance.now();
  const found = await ensureLibtorch({
    pin: pinOf(wheel),
    onProgress: (progress) => progress.step === 'note' && notes.push(progress.text),
  });
  t.ok(performance.now() - begin < 5_000);
  t.equal(found.directory, join(parent, folderName));
  t.match(notes[1], /cannot be reached \(.*ECONNREFUSED.*\); asking pip/);
});

t.test('plain http is refused where the user did not name the server', async (t) => {
  const wheel = await makeWheel();
  let requests = 0;
  const { url } = await serve(t, (_request, response) => {
    requests++;
    response.end(wheel);
  });
  isolate(t, undefined);
  const pin = pinOf(wheel);
  const archive = pin.archives[platform];
  if (archive) archive.base = url;
  await t.rejects(ensureLibtorch({ pin }), { code: 'LIBTORCH_NOT_FOUND', message: /not HTTPS/ });
  t.equal(requests, 0);
});

t.test('the proxy of the environment is used', async (t) => {
  const asked: string[] = [];
  const closed = await serve(t, () => {});
  closed.server.close();
  const pin = pinOf(Buffer.from(''));
  const archive = pin.archives[platform];
  if (archive) archive.base = closed.url.replace('http:', 'https:');
  const { server, url: proxy } = await serve(t, () => {});
  server.on('connect', (request, socket) => {
    asked.push(request.url ?? '');
    socket.end('HTTP/1.1 403 Forbidden\r\n\r\n');
  });
  isolate(t, undefined);
  process.env.https_proxy = proxy;
  await t.rejects(ensureLibtorch({ pin }), { code: 'LIBTORCH_NOT_FOUND' });
  t.same(asked, [new URL(closed.url).host]);
  process.env.no_proxy = '127.0.0.1';
  await t.rejects(ensureLibtorch({ pin }), { message: /ECONNREFUSED/ });
  t.equal(asked.length, 1);
});

t.test('a wheel of another version is refused', async (t) => {
  const wheel = await makeWheel();
  const { url } = await serve(t, (_request, response) => response.end(wheel));
  const parent = isolate(t, url);
  await t.rejects(ensureLibtorch({ pin: { ...pinOf(wheel), version: '2.12.0' } }), {
    message: new RegExp(`holds libtorch ${version} where 2.12.0 was expected`),
  });
  t.same(readdirSync(parent), []);
});

t.test(
  'two at once, one of them killed half way: the other ends whole, and the rest is cleaned up',
  async (t) => {
    const wheel = await makeWheel(4_000_000);
    const half = wheel.length / 2;
    let waiting: (() => void)[] = [];
    const { url } = await serve(t, (_request, response) => {
      response.setHeader('content-length', wheel.length).write(wheel.subarray(0, half));
      waiting.push(() => response.end(wheel.subarray(half)));
    });
    const parent = isolate(t, url);
    const pinFile = join(t.testdirName, 'pin.json');
    writeFileSync(pinFile, JSON.stringify(pinOf(wheel)));

    const first = startFetch(pinFile);
    const second = startFetch(pinFile);
    const third = startFetch(pinFile);
    await until(() => waiting.length === 3 && partialFiles(parent).length === 3);
    first.kill('SIGKILL');
    await ending(first);
    t.notOk(existsSync(join(parent, folderName)), 'nothing appears before it is whole');
    for (const finish of waiting) finish();
    t.same(await Promise.all([ending(second), ending(third)]), [0, 0]);

    const libtorch = join(parent, folderName);
    t.equal(readFileSync(join(libtorch, 'lib', 'libtorch_cpu.so')).length, 4_000_000);
    waiting = [];
    await ensureLibtorch({ pin: pinOf(wheel) });
    t.same(readdirSync(parent), [folderName], 'what the killed one left is gone');
    t.equal(waiting.length, 0);
  },
);

t.test('leaving the process half way removes what was fetched', async (t) => {
  const wheel = await makeWheel();
  const { url } = await serve(t, (_request, response) => {
    response.setHeader('content-length', wheel.length).write(wheel.subarray(0, wheel.length / 2));
  });
  const parent = isolate(t, url);
  const pinFile = join(t.testdirName, 'pin.json');
  writeFileSync(pinFile, JSON.stringify(pinOf(wheel)));
  const child = startFetch(pinFile, "process.once('SIGINT', () => process.exit(130));");
  await until(() => partialFiles(parent).length === 1);
  child.kill('SIGINT');
  t.equal(await ending(child), 130);
  t.same(readdirSync(parent), []);
});

t.test('a broken folder in the place is replaced', async (t) => {
  const wheel = await makeWheel();
  const { url } = await serve(t, (_request, response) => response.end(wheel));
  const parent = isolate(t, url);
  mkdirSync(join(parent, folderName, 'lib'), { recursive: true });
  t.equal((await ensureLibtorch({ pin: pinOf(wheel) })).directory, join(parent, folderName));
});

/** ensureLibtorch in a process of its own, in this environment. */
function startFetch(pinFile: string, before = ''): ChildProcess {
  const ensure = JSON.stringify(new URL('../src/libtorch/ensure.js', import.meta.url).href);
  const code =
    `import { readFileSync } from 'node:fs'; import { ensureLibtorch } from ${ensure};${before}` +
    `await ensureLibtorch({ pin: JSON.parse(readFileSync(${JSON.stringify(pinFile)}, 'utf8')) });`;
  const args = [...process.execArgv, '--input-type=module', '--eval', code];
  return spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] });
}

function ending(child: ChildProcess): Promise<number | null> {
  return new Promise((done) => child.on('close', done));
}

function partialFiles(parent: string): string[] {
  if (!existsSync(parent)) return [];
  return readdirSync(parent, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.whl'));
}

async function until(condition: () => boolean) {
  while (!condition()) await new Promise((done) => setTimeout(done, 20));
}
