// The judging of plans, on planted faults: each is refused, in float32 and where bfloat16's rounding cannot hide it, and the
// same network computed in another right way is taken.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { requireLibtorch } from '../../src/libtorch/find.js';
import { compiler, hasCompiler } from './feature-driver.js';

const { directory } = requireLibtorch();
if (!hasCompiler() || !existsSync(join(directory, 'include', 'ATen', 'ATen.h'))) {
  t.plan(0, `no ${compiler}, or no headers in ${directory}: the proof is not compiled`);
  process.exit();
}

interface Judged {
  network: 'mobile' | 'zero' | 'strange';
  fault: string;
  precision: 'float32' | 'bfloat16';
  accepted: boolean;
  failure: string;
}

function judge(): Judged[] {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const program = join(t.testdir(), 'proof');
  const lib = join(directory, 'lib');
  const sources = [join(root, 'test', 'native', 'proof.cc'), join(root, 'binding', 'proof.cc')];
  const made = spawnSync(
    compiler,
    [
      ...['-std=c++20', '-Wall', '-Wextra', '-isystem', join(directory, 'include'), ...sources],
      ...['-o', program, `-L${lib}`, '-ltorch_cpu', '-lc10', `-Wl,-rpath,${lib}`],
    ],
    { encoding: 'utf8' },
  );
  if (made.status !== 0) throw new Error(`${compiler} failed:\n${made.stderr}`);
  const { stdout, status, stderr } = spawnSync(program, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`proof ended with ${status}: ${stderr}`);
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Judged);
}

const judged = judge();
const of = (network: Judged['network'], fault: string, precision?: Judged['precision']) => {
  const found = judged.filter(
    (one) => one.network === network && one.fault === fault && (precision ?? one.precision) === one.precision,
  );
  t.ok(found.length > 0, `${network}, ${fault}`);
  return found;
};

t.test('a right way of computing is taken in both precisions', async (t) => {
  for (const { precision, accepted, failure } of of('mobile', 'none'))
    t.ok(accepted, `${precision} ${failure}`);
});

t.test('a planted fault is refused in both precisions', async (t) => {
  for (const fault of ['mask', 'residual', 'padding', 'mirrored', 'no bias gradient']) {
    for (const { precision, accepted, failure } of of('mobile', fault)) {
      t.notOk(accepted, `${fault}, ${precision}: ${failure}`);
    }
  }
});

t.test('gradients a tenth too large may hide in bfloat16, not in float32', async (t) => {
  for (const { accepted, failure } of of('mobile', 'enlarged', 'float32')) {
    t.notOk(accepted);
    t.match(failure, /gradient of block\d\.deep\.conv\.weight deviates by 0\.(1|0999)/);
  }
});

t.test('a gradient that is zero but for rounding is compared with rounding', async (t) => {
  for (const { accepted, failure } of of('zero', 'unknown rounding')) {
    t.notOk(accepted, 'its own norm says nothing');
    t.match(failure, /gradient of conv\.bias/);
  }
  for (const { precision, accepted, failure } of of('zero', 'none'))
    t.ok(accepted, `${precision} ${failure}`);
  for (const { accepted, failure } of of('zero', 'bias gradient')) t.notOk(accepted, failure);
});

t.test('shapes, gradients on one side, and what is no number', async (t) => {
  for (const fault of ['same', 'none on both sides', 'zero on both sides']) {
    for (const { accepted } of of('strange', fault)) t.ok(accepted, fault);
  }
  for (const fault of [
    'shape',
    'none',
    'not a number',
    'loss',
    'loss not a number',
    'none in the reference',
    'zero in the reference',
  ]) {
    for (const { accepted } of of('strange', fault)) t.notOk(accepted, fault);
  }
});
