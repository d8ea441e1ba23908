/** retain, regularisation and distillation of fineTune: what is measured, what is held, and that runs can be resumed. */
import { join } from 'node:path';
import t from 'tap';
import { type FineTuneOptions, fineTune, loadModel, type RetentionReport } from '../src/index.js';
import {
  bitsOf,
  changed,
  defects,
  defectsFolder,
  fixtureModel,
  open,
  quick,
  residual,
  train,
} from './defects.js';

const small = defects(20, 6);
const retain = { images: defects(4, 12).splits.val.map(({ path }) => path) };
const options = {
  ...quick,
  epochs: 3,
  strategy: 'full',
  augment: { horizontalFlip: 0.5, rotation: 10 },
  learningRate: 0.02,
  retain,
  earlyStopping: { metric: 'trainLoss' },
} satisfies FineTuneOptions;

async function outcome(given: FineTuneOptions, file = residual) {
  const model = await open(t, file);
  const run = fineTune(model, small, given);
  for await (const _ of run);
  const result = run.result as NonNullable<typeof run.result>;
  const { heads } = await model.summary();
  return {
    bits: await bitsOf(model),
    losses: result.history.map(({ trainLoss }) => trainLoss),
    retention: result.retention as RetentionReport,
    card: model.card,
    stages: result.stages.map(({ optimizer }) => optimizer),
    heads,
  };
}

const kinds: Record<string, FineTuneOptions> = {
  'l2-sp': { regularisation: { kind: 'l2-sp', alpha: 3 } },
  ewc: { regularisation: 'ewc' },
  distillation: { distillation: { weight: 5 } },
  'ewc and distillation': { regularisation: { kind: 'ewc', lambda: 10 }, distillation: {} },
};

t.test('what is left of the source task is measured', async (t) => {
  const { retention, card, heads } = await outcome(options);
  t.equal(retention.images, 12);
  t.equal(retention.labels, 'source');
  t.same(retention.before, { agreement: 1, divergence: 0 });
  t.ok(retention.after.divergence > 0.01 && retention.after.agreement <= 1);
  t.same((card?.metrics as { retention?: unknown }).retention, retention);
  t.same([heads.length, heads[0]?.outFeatures], [1, small.classes.length]);
  const untouched = await outcome({ ...options, strategy: 'head' });
  t.same(untouched.retention.after, { agreement: 1, divergence: 0 }, 'a new head forgets nothing');
});

t.test('given labels are compared with, and the source model may be wrong about them', async (t) => {
  const labels = retain.images.map(() => 2);
  const { retention } = await outcome({ ...options, epochs: 1, retain: { ...retain, labels } });
  t.equal(retention.labels, 'given');
  t.ok(retention.before.agreement < 1);
  t.equal(retention.before.divergence, 0);
});

t.test('each mitigation holds the model nearer to its source, and leaves one head', async (t) => {
  // Without dropout and BatchNorm, which would have a say too.
  const file = fixtureModel('plain');
  const { retention: plain } = await outcome(options, file);
  for (const [name, more] of Object.entries(kinds)) {
    const { retention, heads, losses } = await outcome({ ...options, ...more }, file);
    t.ok(retention.after.divergence < plain.after.divergence, name);
    t.same([heads.length, heads[0]?.outFeatures], [1, small.classes.length]);
    t.ok(losses.every((loss) => Number.isFinite(loss)));
  }
});

for (const [name, more] of Object.entries(kinds)) {
  t.test(`${name}: a run that was stopped and resumed ends bit-equal`, async (t) => {
    const given = { ...options, ...more };
    const whole = await outcome(given);
    const checkpoint = join(t.testdir(), 'checkpoint.pt');
    // Within an epoch, and in a validation.
    for (const after of [4, 9]) {
      const controller = new AbortController();
      let batches = 0;
      const model = await open(t);
      const stopping = {
        ...{ ...given, checkpoint, resume: true, signal: controller.signal },
        onBatch: () => ++batches === after && controller.abort(),
      };
      await t.rejects(train(model, small, stopping), { code: 'ABORTED' });
      const { heads } = await model.summary();
      t.same(heads[0]?.outFeatures, small.classes.length, 'the source head is off when a run was aborted');
    }
    const resumed = await outcome({ ...given, checkpoint, resume: true });
    t.same(resumed.bits, whole.bits);
    t.same(resumed.retention, whole.retention);
    const other = await open(t);
    await train(other, small, { ...quick, strategy: 'full' });
    await t.rejects(
      train(other, small, { ...given, checkpoint, resume: true }),
      /another `source`/,
      'another source model is refused',
    );
  });
}

t.test('stages: a probe by L-BFGS, then everything; kept features', async (t) => {
  const multi = {
    ...options,
    epochs: 2,
    strategy: 'lp-ft',
    regularisation: 'l2-sp',
    distillation: {},
  } as const;
  const { stages, heads } = await outcome(multi);
  t.same(stages, ['lbfgs', 'adamw']);
  t.equal(heads[0]?.outFeatures, small.classes.length);
  const kept = {
    ...options,
    strategy: 'last:3',
    views: 2,
    distillation: { weight: 5 },
    cache: 'memory',
  } as const;
  const before = await bitsOf(await open(t));
  const { bits } = await outcome({ ...kept, regularisation: 'ewc' });
  const moved = changed(before, bits);
  t.ok(moved.includes('block.conv2.weight'));
  t.notOk(
    moved.some((key) => key.startsWith('conv1.')),
    'what is frozen stays',
  );
});

t.test('L2-SP takes the place of weight decay', async (t) => {
  const given = { ...options, epochs: 1, augment: 'none', retain: undefined } as const;
  const none = await outcome({ ...given, regularisation: { kind: 'l2-sp', alpha: 0, beta: 0 } });
  const plain = await outcome({ ...given, weightDecay: 1e-9 });
  const apart = none.losses.map((loss, i) => Math.abs((loss as number) - (plain.losses[i] as number)));
  t.ok(Math.max(...apart) < 1e-4);
});

t.test(
  'a model that was fine-tuned before goes on with its head, which is its source head too',
  async (t) => {
    const folder = t.testdir();
    const file = join(folder, 'first.pt');
    const first = await open(t);
    await train(first, small, { ...quick, epochs: 2 });
    await first.save(file);
    const model = await loadModel(file, { device: 'cpu', threads: 1 });
    t.teardown(() => model.dispose());
    const labelled = { images: defectsFolder, labels: 'folders' } as const;
    const run = fineTune(model, small, { ...options, epochs: 1, retain: labelled, distillation: {} });
    for await (const _ of run);
    t.equal(run.result?.retention?.labels, 'given');
    t.ok((run.result?.retention?.before.agreement ?? 1) < 1);
  },
);

t.test('refusals', async (t) => {
  const model = await open(t);
  const refused: [FineTuneOptions, RegExp][] = [
    [{ regularisation: 'ewc' }, /retain/],
    [{ regularisation: 'l2sp' as never }, /Did you mean `l2-sp`/],
    [{ distillation: { wieght: 1 } as never }, /Did you mean `weight`/],
    [{ distillation: {}, head: { hidden: [4] } }, /hidden/],
    [{ regularisation: 'l2-sp', optimizer: 'lbfgs' }, /lbfgs/],
    [{ retain: 7 as never }, /retain/],
  ];
  for (const [given, message] of refused) t.throws(() => fineTune(model, small, given), message);
  const broken: [FineTuneOptions['retain'], string][] = [
    [join(t.testdir(), 'nothing'), 'FILE_NOT_FOUND'],
    [t.testdir(), 'DATA_INVALID'],
    [{ images: retain.images, labels: [1] }, 'INVALID_VALUE'],
    [{ images: retain.images, labels: retain.images.map(() => 5) }, 'INVALID_VALUE'],
    [{ images: defectsFolder, labels: 'folders' }, 'INVALID_VALUE'],
  ];
  const before = await bitsOf(model);
  for (const [given, code] of broken) {
    await t.rejects(train(model, small, { ...quick, retain: given }), { code });
  }
  t.same(await bitsOf(model), before, 'nothing was changed');
});
