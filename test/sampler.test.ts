/** The balanced sampler: how often, from what, and the same from cached features, images and after a stop. */
import { join } from 'node:path';
import t from 'tap';
import { drawNumbers, orderOf } from '../src/data/sampler.js';
import { type FineTuneOptions, fineTune } from '../src/index.js';
import { bitsOf, defects, figures, open, quick, train } from './defects.js';

/** 900, 90 and 10 of three classes. */
const labels = Int32Array.from({ length: 1000 }, (_, i) => (i % 100 === 0 ? 2 : i % 10 === 0 ? 1 : 0));
const samples = Array.from(labels, (label, i) => ({ path: `${i}`, label }));

function countsOf(order: Int32Array): number[] {
  const counts = [0, 0, 0];
  for (const index of order)
    counts[labels[index] as number] = (counts[labels[index] as number] as number) + 1;
  return counts;
}

t.test('all classes come equally often, and every image of a class', (t) => {
  const order = orderOf(samples, 'balanced', 3, 1);
  t.equal(order.length, samples.length);
  t.same(countsOf(order), [347, 342, 311], 'of this seed and epoch');
  const pooled = [0, 0, 0];
  const ofRare = new Map<number, number>();
  const epochs = 60;
  for (let epoch = 1; epoch <= epochs; epoch++) {
    const drawn = orderOf(samples, 'balanced', 0, epoch);
    for (const [label, count] of countsOf(drawn).entries()) pooled[label] = (pooled[label] as number) + count;
    for (const index of drawn) if (labels[index] === 2) ofRare.set(index, (ofRare.get(index) ?? 0) + 1);
  }
  const chiSquare = (counts: number[]) => {
    const expected = counts.reduce((a, b) => a + b) / counts.length;
    return counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  };
  // 99.9 % of chi-square with 2 and with 9 degrees of freedom.
  t.ok(chiSquare(pooled) < 13.8, `classes ${pooled}`);
  t.equal(ofRare.size, 10);
  t.ok(chiSquare([...ofRare.values()]) < 27.9, 'images of the rare class');
  t.end();
});

t.test('a pure function of seed and epoch; a class without images is none', (t) => {
  const order = orderOf(samples, 'balanced', 3, 1);
  t.same(orderOf(samples, 'balanced', 3, 1), order);
  t.notSame(orderOf(samples, 'balanced', 4, 1), order);
  t.notSame(orderOf(samples, 'balanced', 3, 2), order);
  t.same(new Set(orderOf([{ path: 'a', label: 5 }], 'balanced')), new Set([0]));
  t.end();
});

t.test('augmentation tells draws of one image apart', (t) => {
  t.same(drawNumbers(Int32Array.of(2, 0, 2, 2, 1)), [2, 0, 7, 12, 1]);
  const shuffled = orderOf(samples, 'shuffle', 1, 1);
  t.same(drawNumbers(shuffled), shuffled, 'and leaves a shuffled pass as it is');
  t.end();
});

/** 16 images of the first class and 1 or 2 of the others. */
const skewed = defects(60, 6);
const first = skewed.splits.train[0]?.label;
skewed.splits.train = skewed.splits.train.filter(({ label }, i) => label === first || i % 7 === 0);
skewed.summary.fingerprint = 'skewed';
const options = { ...quick, epochs: 3, sampler: 'balanced' } satisfies FineTuneOptions;

async function outcome(given: FineTuneOptions) {
  const model = await open(t);
  const reports = await train(model, skewed, given);
  return { bits: await bitsOf(model), reports: reports.map(figures) };
}

t.test('cached features and images are drawn alike, and not as a shuffled pass', async (t) => {
  const kept = await outcome({ ...options, cache: 'memory' });
  const live = await outcome({ ...options, split: false });
  const shuffled = await outcome({ ...options, sampler: 'shuffle' });
  for (const [i, { trainLoss }] of kept.reports.entries()) {
    t.ok(Math.abs((trainLoss as number) - (live.reports[i]?.trainLoss as number)) < 1e-4, `epoch ${i + 1}`);
    t.not(trainLoss, shuffled.reports[i]?.trainLoss);
  }
  const model = await open(t);
  const run = fineTune(model, skewed, { ...options, epochs: 2, cache: 'memory' });
  for await (const _ of run);
  const { features } = run.computation ?? {};
  t.ok((features?.computed as number) <= skewed.splits.train.length + 6, 'no image is computed twice');
});

t.test('stopped within an epoch and resumed, it is bit for bit the run that went on', async (t) => {
  for (const given of [
    { ...options, cache: 'memory' },
    { ...options, strategy: 'full', augment: 'default', cache: 'none' },
  ] satisfies FineTuneOptions[]) {
    const checkpoint = join(t.testdir(), 'checkpoint.pt');
    const controller = new AbortController();
    let batches = 0;
    const stopping: FineTuneOptions = {
      ...{ ...given, checkpoint, resume: true, signal: controller.signal },
      onBatch: () => ++batches === 4 && controller.abort(),
    };
    await t.rejects(train(await open(t), skewed, stopping), { code: 'ABORTED' });
    const resumed = await outcome({ ...given, checkpoint, resume: true });
    const whole = await outcome(given);
    t.same(resumed.bits, whole.bits);
    t.same(resumed.reports.at(-1), whole.reports.at(-1));
    await t.rejects(outcome({ ...given, checkpoint, resume: true, sampler: 'shuffle' }), {
      code: 'CHECKPOINT_INVALID',
      message: /`sampler`/,
    });
  }
});

t.test('lbfgs refuses it', async (t) => {
  const model = await open(t);
  t.throws(() => fineTune(model, skewed, { optimizer: 'lbfgs', sampler: 'balanced' }), {
    code: 'INVALID_VALUE',
    message: /classWeights/,
  });
});
