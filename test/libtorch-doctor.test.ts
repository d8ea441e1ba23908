import { createRequire } from 'node:module';
import { join } from 'node:path';
import t from 'tap';
import { type DoctorReport, doctor, renderDoctor } from '../src/doctor.js';
import { readPin } from '../src/libtorch/pin.js';

const ownVersion = createRequire(import.meta.url)('../package.json').version;

/** Runs the doctor with these variables, and puts the former ones back. */
async function doctorWith(values: Record<string, string>): Promise<DoctorReport> {
  const before = Object.keys(values).map((name) => [name, process.env[name]] as const);
  Object.assign(process.env, values);
  try {
    return await doctor();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  }
}

t.test('after set-up nothing that libtorch or the addon need is missing', async (t) => {
  const report = await doctor();
  t.same(
    report.problems.filter(({ problem }) => !/AVX2/.test(problem)),
    [],
  );
  t.equal(report.versions.torchgraft, ownVersion);
  t.equal(report.versions.node, process.versions.node);
  t.match(report.addon?.info, { napi: Number, threads: Number, cuda: Boolean });
  t.equal(report.addon?.info?.torch.split('+')[0], report.libtorch?.version);
  t.equal(report.threads.torch, report.addon?.info?.threads);
  t.equal(report.cpu.avx512, report.cpu.avx512 && report.cpu.avx2, 'AVX-512 includes AVX2');
  const text = renderDoctor(report);
  for (const word of ['libtorch', 'addon', 'sharp', 'AVX2', 'AVX-512', 'bf16', 'gpus', 'threads', 'cache'])
    t.match(text, word);
  t.same(JSON.parse(JSON.stringify(report)), report, 'the report is plain data');
});

t.test('without libtorch the doctor names the command that fetches it', async (t) => {
  const cache = t.testdir({ libtorch: { note: 'x'.repeat(1000) } });
  const report = await doctorWith({ TORCHGRAFT_LIBTORCH: '', TORCHGRAFT_CACHE: cache });
  t.equal(report.ok, false);
  t.equal(report.libtorch, null);
  t.equal(report.addon?.info ?? null, null);
  t.same(report.cache, { directory: cache, bytes: 1000 });
  t.match(report.problems, [{ problem: readPin().version, next: 'npx torchgraft setup' }]);
  t.match(
    renderDoctor(report),
    /✘ libtorch .* is neither installed nor in the cache\n {2}next: npx torchgraft setup/,
  );
});

t.test('a folder that is no libtorch, and one that cannot be loaded, are reported', async (t) => {
  const dir = t.testdir({
    none: {},
    broken: {
      lib: { 'libc10.so': 'no library', 'libtorch_cpu.so': '', 'libtorch.so': '' },
      'version.py': `__version__ = '${readPin().version}+cpu'\n`,
    },
  });
  const none = await doctorWith({ TORCHGRAFT_LIBTORCH: join(dir, 'none') });
  t.match(none.problems, [{ problem: /holds no libtorch/, next: /npx torchgraft setup/ }]);
  const broken = await doctorWith({ TORCHGRAFT_LIBTORCH: join(dir, 'broken') });
  t.match(broken.libtorch, { source: 'environment', flavour: 'cpu' });
  t.match(broken.problems, [{ problem: /libc10\.so cannot be loaded/, next: /npx torchgraft setup/ }]);
});
