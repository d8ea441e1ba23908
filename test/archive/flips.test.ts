/** One flipped bit anywhere in what torchgraft saves: it is refused, or it changes nothing. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { loadModel, saveAdapter } from '../../src/index.js';
import { configure, native, open, pathOf, train } from '../native/fixtures.js';
import type { Flips } from './flip-all.js';

const child = fileURLToPath(new URL('./flip-all.ts', import.meta.url));

/**
 * What came of a flip in each byte of a file, in a process of its own. All bytes of all three take minutes; none was wrong
 * then, for any bit.
 */
function flipAll(kind: 'model' | 'checkpoint' | 'adapter', file: string, base: string, every: number): Flips {
  const given = [child, kind, file, base, String(every)];
  return JSON.parse(execFileSync(process.execPath, [...process.execArgv, ...given]).toString());
}

const card = JSON.stringify({ some: 'card' });

t.test('a saved model', async (t) => {
  const file = join(t.testdir(), 'model.pt');
  const model = await open(t, 'two-heads');
  await model.save(file, { 'torchgraft.json': card });
  const { flips, refused, unchanged, wrong } = flipAll('model', file, pathOf('two-heads'), 3);
  t.same(wrong, []);
  t.equal(refused + unchanged, flips);
  t.ok(refused > 900, `${refused} of ${flips} refused, ${unchanged} change nothing`);
});

t.test('a checkpoint', async (t) => {
  const file = join(t.testdir(), 'checkpoint.pt');
  const model = await native.load(pathOf('plain'), { device: 'cpu', threads: 1 });
  await configure(model);
  await train(model, 2);
  await model.keepBest();
  await model.saveCheckpoint(file, { 'torchgraft.json': card });
  await model.dispose();
  const { flips, refused, unchanged, wrong } = flipAll('checkpoint', file, pathOf('plain'), 11);
  t.same(wrong, []);
  t.equal(refused + unchanged, flips);
  t.ok(refused > 900, `${refused} of ${flips} refused, ${unchanged} change nothing`);
});

t.test('an adapter', async (t) => {
  const file = join(t.testdir(), 'adapter.safetensors');
  const model = await loadModel(pathOf('plain'), { device: 'cpu', threads: 1 });
  t.teardown(() => model.dispose());
  const { layers } = await model.summary();
  await model.addAdapters({ layers, rank: 1, scale: 2, seed: 1 });
  await saveAdapter(model, file);
  const { flips, refused, wrong } = flipAll('adapter', file, pathOf('plain'), 2);
  t.same(wrong, []);
  t.equal(refused, flips, 'its checksum covers every byte');
});
