import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { cacheDirectory, gpuFirst } from '../src/libtorch/cache.js';
import { findLibtorch, requireLibtorch } from '../src/libtorch/find.js';
import { inspectFolder } from '../src/libtorch/folder.js';
import { isSupported, platform, readPin } from '../src/libtorch/pin.js';
import { neededPath } from '../src/libtorch/unpack.js';

const pin = readPin();
const settings = ['TORCHGRAFT_LIBTORCH', 'TORCHGRAFT_CACHE', 'XDG_CACHE_HOME'] as const;

/** Clears what the machine says about libtorch, and sets what a test wants. */
function setEnvironment(values: Partial<Record<(typeof settings)[number], string>>) {
  for (const name of settings) {
    if (values[name] === undefined) delete process.env[name];
    else process.env[name] = values[name];
  }
}

const saved = Object.fromEntries(settings.map((name) => [name, process.env[name]]));
t.teardown(() => setEnvironment(saved));

/** A folder that looks like a libtorch. */
function makeLibtorch(directory: string, version: string) {
  mkdirSync(join(directory, 'lib'), { recursive: true });
  for (const name of ['libc10.so', 'libtorch_cpu.so', 'libtorch.so'])
    writeFileSync(join(directory, 'lib', name), '');
  writeFileSync(join(directory, 'version.py'), `__version__ = '${version}'\n`);
}

t.test('the supported versions are the range of libtorch.json, both ends included', async (t) => {
  for (const version of ['2.11.0', '2.13.0', '2.14.3']) t.equal(isSupported(version, pin), true, version);
  for (const version of ['2.10.9', '2.15.0', '1.13.0', '3.12.0', 'x'])
    t.equal(isSupported(version, pin), false, version);
  t.equal(isSupported(pin.version, pin), true);
});

t.test('a folder tells its version and flavour', async (t) => {
  const dir = t.testdir({ wheel: {}, archive: {}, header: {}, empty: {} });
  makeLibtorch(join(dir, 'wheel'), '2.13.0+cu130');
  t.match(inspectFolder(join(dir, 'wheel')), { version: '2.13.0', flavour: 'cu130' });

  makeLibtorch(join(dir, 'archive'), '');
  writeFileSync(join(dir, 'archive', 'build-version'), '2.12.1+cpu\n');
  t.match(inspectFolder(join(dir, 'archive')), { version: '2.12.1', flavour: 'cpu' });

  makeLibtorch(join(dir, 'header'), '');
  mkdirSync(join(dir, 'header', 'include', 'torch'), { recursive: true });
  const lines = ['MAJOR 2', 'MINOR 11', 'PATCH 0'].map((line) => `#define TORCH_VERSION_${line}\n`);
  writeFileSync(join(dir, 'header', 'include', 'torch', 'version.h'), lines.join(''));
  t.match(inspectFolder(join(dir, 'header')), { version: '2.11.0', flavour: 'cpu' });
  writeFileSync(join(dir, 'header', 'lib', 'libtorch_cuda.so'), '');
  t.match(inspectFolder(join(dir, 'header')), { version: '2.11.0', flavour: 'cuda' });

  t.equal(inspectFolder(join(dir, 'empty')), undefined);
  t.equal(inspectFolder(join(dir, 'missing')), undefined);
});

t.test('the cache lies where the variables say', async (t) => {
  setEnvironment({ TORCHGRAFT_CACHE: '/a/b', XDG_CACHE_HOME: '/c' });
  t.equal(cacheDirectory(), '/a/b');
  setEnvironment({ XDG_CACHE_HOME: '/c' });
  t.equal(cacheDirectory(), '/c/torchgraft');
  setEnvironment({});
  t.match(cacheDirectory(), /\.cache\/torchgraft$/);
});

t.test('TORCHGRAFT_LIBTORCH goes before the cache, and builds for a GPU before the CPU', async (t) => {
  const dir = t.testdir({ own: {}, cache: { libtorch: {} } });
  const cache = join(dir, 'cache');
  const cached = (flavour: string) => join(cache, 'libtorch', `${pin.version}-${flavour}-${platform}`);
  setEnvironment({ TORCHGRAFT_CACHE: cache });
  t.equal(findLibtorch(), undefined);
  t.throws(() => requireLibtorch(), { code: 'LIBTORCH_NOT_FOUND', message: /npx torchgraft setup/ });

  makeLibtorch(cached('cpu'), `${pin.version}+cpu`);
  t.match(findLibtorch(), { source: 'cache', directory: cached('cpu'), flavour: 'cpu' });
  makeLibtorch(cached('cu130'), `${pin.version}+cu130`);
  t.match(requireLibtorch(), { source: 'cache', directory: cached('cu130'), flavour: 'cu130' });

  makeLibtorch(join(dir, 'own'), '2.12.0+cpu');
  setEnvironment({ TORCHGRAFT_CACHE: cache, TORCHGRAFT_LIBTORCH: join(dir, 'own') });
  t.match(findLibtorch(), { source: 'environment', version: '2.12.0', directory: join(dir, 'own') });
});

t.test('a half-made folder in the cache is not taken', async (t) => {
  const dir = t.testdir({ libtorch: { [`${pin.version}-cpu-${platform}`]: { lib: { 'libc10.so': '' } } } });
  setEnvironment({ TORCHGRAFT_CACHE: dir });
  t.equal(findLibtorch(), undefined);
});

t.test('TORCHGRAFT_LIBTORCH that does not fit is said, not passed over', async (t) => {
  const dir = t.testdir({ empty: {}, old: {} });
  setEnvironment({ TORCHGRAFT_LIBTORCH: join(dir, 'empty') });
  t.throws(() => findLibtorch(), { code: 'LIBTORCH_NOT_FOUND', message: join(dir, 'empty') });
  makeLibtorch(join(dir, 'old'), '2.10.0+cpu');
  setEnvironment({ TORCHGRAFT_LIBTORCH: join(dir, 'old') });
  t.throws(() => findLibtorch(), { code: 'LIBTORCH_VERSION', message: /2\.10\.0 .* 2\.11 to 2\.14/ });
});

t.test('only what is needed is unpacked', async (t) => {
  const needed = [
    'torch/lib/libc10.so',
    'torch/lib/libgomp.so.1',
    'torch/lib/libgomp-98b21ff3.so.1',
    'torch/lib/libtorch_cuda.so',
    'torch/include/torch/script.h',
    'torch/version.py',
    'libtorch/lib/libtorch.so',
    'libtorch/build-version',
  ];
  const unneeded = [
    'torch/lib/libtorch_python.so',
    'torch/lib/libshm.so',
    'torch/lib/libshm/core.cpp',
    'torch/lib/libjitbackend_test.so',
    'torch/lib/libbackend_with_compiler.so',
    'torch/bin/protoc',
    'torch/test/cpp/x.so',
    'torch/_C.cpython-311-x86_64-linux-gnu.so',
    'torch/include/',
    'torch/nn/modules/linear.py',
    'torch-2.13.0.dist-info/METADATA',
  ];
  for (const name of needed) t.equal(neededPath(name), name.slice(name.indexOf('/') + 1), name);
  for (const name of unneeded) t.equal(neededPath(name), undefined, name);
});

t.test('flavours are sorted with the CPU last', async (t) => {
  t.same(gpuFirst(['a-cpu-linux', 'a-cu130-linux', 'a-cu126-linux']), [
    'a-cu126-linux',
    'a-cu130-linux',
    'a-cpu-linux',
  ]);
});
