/** Groups in fineTune: weights and GroupDRO on kept features and on live images, the worst group, resuming; and DFR. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { randomIntegers } from '../src/data/random.js';
import {
  extractFeatures,
  type FineTuneOptions,
  findLearningRate,
  fineTune,
  type ImageDataset,
  loadClassifier,
  retrainLastLayer,
  sliceMetrics,
} from '../src/index.js';
import { drawBalanced, halve, rowsByGroup } from '../src/probe/balanced.js';
import { fitBalanced } from '../src/probe/last-layer.js';
import { scoresOf } from '../src/probe/linear.js';
import { bitsOf, changed, defects, open, quick, train } from './defects.js';

/** Half of the images of each class are of scanner A in validation, most of those of even classes in training. */
function scanned(): ImageDataset {
  const data = defects(24, 24);
  for (const [name, samples] of Object.entries(data.splits)) {
    for (const [index, sample] of samples.entries()) {
      const isOdd = name === 'val' ? index % 2 === 1 : index % 4 === 3;
      sample.slices = { scanner: isOdd ? 'B' : 'A' };
    }
  }
  return data;
}

// Epoch 0 has no training loss: the weights that are kept are trained ones.
const earlyStopping = { metric: 'trainLoss' };
const options = {
  ...quick,
  ...{ epochs: 2, batchSize: 8, cache: 'memory', earlyStopping },
} satisfies FineTuneOptions;

for (const loss of ['balanced', 'dro'] as const) {
  for (const cache of ['memory', 'none'] as const) {
    t.test(
      `${loss}, features kept in ${cache}: other weights than without, and the worst group`,
      async (t) => {
        const groups = { slice: 'scanner', loss, ...(loss === 'dro' ? { stepSize: 0.5 } : {}) };
        const bits: Record<string, string>[] = [];
        for (const given of [{}, { groups }, { groups }]) {
          const model = await open(t);
          const reports = await train(model, scanned(), { ...options, cache, ...given });
          bits.push(await bitsOf(model));
          if (!('groups' in given)) continue;
          for (const { metrics } of reports) {
            const worst = metrics.valWorstGroupAccuracy as number;
            t.ok(worst >= 0 && worst <= (metrics.valAccuracy as number));
          }
        }
        const [plain, first, second] = bits as [
          Record<string, string>,
          Record<string, string>,
          Record<string, string>,
        ];
        t.ok(changed(plain, first).length > 0);
        t.same(changed(first, second), [], 'the same seed gives the same weights');
      },
    );
  }
}

t.test('GroupDRO resumed between two epochs is bit-equal', async (t) => {
  const checkpoint = join(t.testdir(), 'checkpoint.pt');
  const groups = { slice: 'scanner', loss: 'dro', stepSize: 0.5 } as const;
  const whole = { ...options, epochs: 4, groups } satisfies FineTuneOptions;
  const straight = await open(t);
  await train(straight, scanned(), whole);

  const stopper = new AbortController();
  const broken = fineTune(await open(t), scanned(), { ...whole, checkpoint, signal: stopper.signal });
  await t.rejects(
    async () => {
      for await (const { epoch } of broken) if (epoch === 2) stopper.abort();
    },
    { code: 'ABORTED' },
  );
  t.ok(existsSync(checkpoint));
  const resumed = await open(t);
  await train(resumed, scanned(), { ...whole, checkpoint, resume: true });
  t.same(changed(await bitsOf(straight), await bitsOf(resumed)), []);

  const other = scanned();
  for (const sample of other.splits.train) sample.slices = { scanner: sample.label === 0 ? 'A' : 'B' };
  const again = fineTune(await open(t), other, { ...whole, checkpoint, resume: true });
  await t.rejects(
    async () => {
      for await (const _ of again);
    },
    { code: 'CHECKPOINT_INVALID', message: /another `data`/ },
  );
});

t.test('lp-ft and lr-find take groups; what does not go with them is refused', async (t) => {
  const groups = { slice: 'scanner', loss: 'dro' } as const;
  const run = fineTune(await open(t), scanned(), {
    ...{ ...options, strategy: 'lp-ft:last:2', probeEpochs: 1, epochs: 1, groups },
  });
  for await (const _ of run);
  t.equal(run.result?.stages[0]?.optimizer, 'adamw', 'the probe is not by L-BFGS');
  const found = await findLearningRate(await open(t), scanned(), {
    ...options,
    groups,
    sweep: { steps: 20 },
  });
  t.ok(found.curve.length > 1);

  const refuse = async (given: FineTuneOptions, message: RegExp) => {
    const model = await open(t);
    t.throws(() => fineTune(model, scanned(), { ...options, ...given }), { message });
  };
  await refuse({ groups: 'scaner' }, /no slice `scaner`\. Did you mean `scanner`\?/);
  await refuse({ groups: { slice: 'scanner', los: 'dro' } as never }, /unknown option `groups\.los`.*`loss`/);
  await refuse({ groups, optimizer: 'lbfgs' }, /lbfgs/);
  const loss = 'def loss(output, target):\n    return torch.cross_entropy_loss(output, target)';
  await refuse({ groups, loss }, /one number for a batch/);
  await refuse({ earlyStopping: { metric: 'valWorstGroupAccuracy' } }, /unknown metric/i);
  const model = await open(t);
  t.throws(() => fineTune(model, defects(8, 8), { ...options, groups }), {
    message: /It has none: give `slices`/,
  });
});

t.test('balanced draws and halves', async (t) => {
  const groups = Int32Array.of(0, 0, 0, 1, 1, 0, 2, 2, 2, 2);
  const rows = rowsByGroup(groups, 3);
  const drawn = drawBalanced(rows, 1, 1);
  t.same(
    [0, 1, 2].map((group) => drawn.filter((row) => groups[row] === group).length),
    [2, 2, 2],
  );
  t.equal(new Set(drawn).size, 6);
  const draws = Array.from({ length: 20 }, (_, draw) => String(drawBalanced(rows, 1, draw)));
  t.ok(new Set(draws).size > 5, 'draws differ');
  const [first, second] = halve(rows, 0);
  t.same(
    first.map(({ length }) => length),
    [2, 1, 2],
  );
  t.same(
    first.flatMap((part, group) => [...part, ...(second[group] as Int32Array)]).sort(),
    groups.map((_, i) => i),
  );
});

/** A weak true feature, and a strong one that goes with the class in 95 % of the first `plain` rows. */
function spuriousRows(count: number, share: number, seed: number) {
  const next = randomIntegers(seed, 0);
  const noise = () => (next() + next() + next() + next()) / 2 ** 31 - 4;
  const labels = Int32Array.from({ length: count }, (_, row) => row % 2);
  const spurious = labels.map((label, row) => ((row >> 1) % 100 < share * 100 ? label : 1 - label));
  const features = new Float32Array(count * 4);
  for (let row = 0; row < count; row++) {
    features[row * 4] = 2 * (labels[row] as number) - 1 + 0.8 * noise();
    features[row * 4 + 1] = 5 * (2 * (spurious[row] as number) - 1) + 0.5 * noise();
    features[row * 4 + 2] = noise();
    features[row * 4 + 3] = noise();
  }
  const groups = [0, 1].flatMap((label) => ['0', '1'].map((value) => ({ value, label, count: 0 })));
  const indices = labels.map((label, row) => 2 * label + (spurious[row] as number));
  return { split: { features, shape: [count, 4] as [number, number], labels }, found: { indices, groups } };
}

t.test('DFR lifts the worst group of a spurious correlation', async (t) => {
  const learnt = spuriousRows(1200, 0.95, 1);
  const judged = spuriousRows(800, 0.5, 2);
  const { labels } = judged.split;
  const worstOf = async (map: Parameters<typeof scoresOf>[0]) => {
    const scores = await scoresOf(map, { data: judged.split.features, rows: 800, columns: 4 });
    const right = labels.map((label, row) =>
      Number((scores[2 * row + 1] as number) > (scores[2 * row] as number) === (label === 1)),
    );
    const shares = [0, 1, 2, 3].map((group) => {
      const own = right.filter((_, row) => judged.found.indices[row] === group);
      return own.reduce((sum, hit) => sum + hit, 0) / own.length;
    });
    return Math.min(...shares);
  };
  const settings = { draws: 10, maxIterations: 200, seed: 0, signal: undefined };
  const alike = { indices: new Int32Array(1200), groups: [{ value: 'all', label: 0, count: 1200 }] };
  const plain = await fitBalanced(learnt.split, alike, ['a', 'b'], { ...settings, C: [1] });
  const robust = await fitBalanced(learnt.split, learnt.found, ['a', 'b'], {
    ...settings,
    C: [0.01, 0.1, 1],
  });
  t.equal(robust.perGroup, 30);
  t.equal(robust.held.length, 3);
  const [before, after] = [await worstOf(plain.linear), await worstOf(robust.linear)];
  t.ok(after > before + 0.15, `the worst group went from ${before} to ${after}`);
  t.ok(after > 0.75);
});

t.test('retrainLastLayer writes a head that serves, with no figures of what it learnt from', async (t) => {
  const model = await open(t);
  const data = scanned();
  await train(model, data, options);
  const given = { groups: 'scanner', C: [0.1, 1], draws: 3, threads: 1, cache: 'memory' as const };
  const before = await extractFeatures(model, data, { threads: 1, cache: 'memory' });
  const result = await retrainLastLayer(model, data, given);
  t.equal(result.perGroup, 2);
  t.ok(result.groups.every(({ count }) => count === 2));
  t.equal(result.groups.length, 12);
  t.same(model.card?.metrics, {});
  const after = await extractFeatures(model, data, { threads: 1, cache: 'memory' });
  t.same(after.val.features, before.val.features, 'the trunk is as it was');
  const file = join(t.testdir(), 'model.pt');
  await model.save(file);
  const classifier = await loadClassifier(file, { device: 'cpu', threads: 1 });
  t.teardown(() => classifier.dispose());
  const { scores, slices } = await classifier.evaluate(data);
  t.same(
    slices.scanner,
    data.splits.val.map(({ slices }) => slices?.scanner),
  );
  t.equal(sliceMetrics(scores, slices.scanner as string[], classifier.classes).slices.length, 2);
  await t.rejects(retrainLastLayer(model, data, { ...given, groups: 'scaner' }), {
    message: /Did you mean `scanner`/,
  });
  for (const [index, sample] of data.splits.val.entries())
    sample.slices = { scanner: index === 0 ? 'B' : 'A' };
  await t.rejects(retrainLastLayer(model, data, given), { code: 'INVALID_VALUE', message: /one image only/ });
});
