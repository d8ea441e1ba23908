/** L-BFGS: it ends where PyTorch's does, at the optimum; in fineTune on kept features; refused where it does not fit. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { loadAddon } from '../src/addon.js';
import { createTrainer, type FineTuneOptions, fineTune } from '../src/index.js';
import type {
  NativeGroup,
  NativeLoss,
  NativeModel,
  NativeOptimizer,
  NativePreprocess,
  NativeTraining,
  StepResult,
} from '../src/native.js';
import { bitsOf, changed, defects, figures, fixtureModel, open, quick, train } from './defects.js';
import { pixels } from './process/tiny.js';

interface Case {
  name: string;
  optimizer: NativeOptimizer;
  loss: NativeLoss;
  groups: NativeGroup[];
  /** Loss before the first step. */
  start: number;
  /** What is made least, loss and L2 terms, after each step. */
  values: number[];
  /** 2-norms of its gradient, the first before the first step. */
  norms: number[];
  /** The lowest value of loss and L2 term, in float64. */
  optimum: number;
}

interface Fixture {
  shape: number[];
  samples: string;
  indices: number[];
  cases: Case[];
}

const folder =
  process.env.TORCHGRAFT_PARITY_FIXTURES ?? fileURLToPath(new URL('./fixtures/training', import.meta.url));
const fixture = JSON.parse(gunzipSync(readFileSync(join(folder, 'lbfgs.json.gz'))).toString()) as Fixture;
const head = ['head.weight', 'head.bias'];
const samples = new Float32Array(new Uint8Array(Buffer.from(fixture.samples, 'base64')).buffer);
const probe = {
  inputs: [{ data: samples, shape: fixture.shape, dtype: 'float32' as const }],
  target: targetOf(fixture.indices),
};

function targetOf(indices: number[]) {
  return { data: Int32Array.from(indices), shape: [indices.length], dtype: 'int32' as const };
}

function trainingOf(
  { optimizer, groups, loss }: Pick<Case, 'optimizer' | 'groups' | 'loss'>,
  changes: Partial<NativeTraining> = {},
): NativeTraining {
  const { classWeights } = loss as { classWeights?: ArrayLike<number> };
  return {
    ...{ optimizer, groups, clipNorm: 0, accumulate: 1, auxiliaryWeight: 0.4, seed: 0 },
    loss: {
      ...loss,
      ...(classWeights ? { classWeights: Float32Array.from(classWeights) } : {}),
    } as NativeLoss,
    preprocess: null,
    augment: null,
    ...changes,
  };
}

async function openNative(file: string): Promise<NativeModel> {
  const model = await loadAddon().load(file, { device: 'cpu', threads: 1 });
  t.teardown(() => model.dispose());
  return model;
}

/** What is made least: the loss and the L2 terms. */
async function objective(model: NativeModel, each: Case, loss: number): Promise<number> {
  let sum = loss;
  for (const [i, { data }] of (await model.values(head)).entries()) {
    const decay =
      each.groups.find(({ parameters }) => parameters.includes(head[i] as string))?.weightDecay ?? 0;
    for (const value of data as Float32Array) sum += (decay / 2) * value * value;
  }
  return sum;
}

for (const split of [false, true]) {
  for (const each of fixture.cases) {
    t.test(`${each.name}${split ? ', with the body as compiled prefix' : ''}`, async (t) => {
      const model = await openNative(join(folder, 'probe.pt'));
      await model.setTrainable(head, false);
      await model.configure(trainingOf(each));
      if (split) t.ok((await model.plan(probe, { precision: 'float32', split })).split);
      const rates = each.groups.map(({ learningRate }) => learningRate);
      const start = await model.step({ ...probe, learningRates: rates.map(() => 0) });
      t.ok(Math.abs(start.loss - each.start) < 1e-6, `first loss ${start.loss}, in PyTorch ${each.start}`);
      const norm = each.norms[0] as number;
      t.ok(
        Math.abs(start.gradientNorm - norm) < 1e-6,
        `first norm ${start.gradientNorm}, in PyTorch ${norm}`,
      );
      let value = 0;
      let last = start;
      for (const [i, expected] of each.values.entries()) {
        last = await model.step({ ...probe, learningRates: rates });
        value = await objective(model, each, last.loss);
        t.ok(Math.abs(value - expected) < 1e-5, `step ${i + 1}: ${value}, in PyTorch ${expected}`);
      }
      t.equal(last.count, fixture.indices.length);
      if (each.name.startsWith('short') || each.name.startsWith('loose')) return;
      t.ok(
        last.gradientNorm < 2e-4,
        `the last norm is ${last.gradientNorm}, in PyTorch ${each.norms.at(-1)}`,
      );
      t.ok(Math.abs(value - each.optimum) < 1e-6, `${value}, at best ${each.optimum}`);
    });
  }
}

/** A convolutional head on the kept features of four images, each `times` times: at the start, and after a step. */
async function fitRepeated(times: number): Promise<StepResult[]> {
  const model = await openNative(fixtureModel('squeeze'));
  const layers = ['classifier.1.weight', 'classifier.1.bias'];
  await model.setTrainable(layers, false);
  const optimizer: NativeOptimizer = {
    ...{ kind: 'lbfgs', maxIterations: 3, historySize: 10 },
    ...{ toleranceGradient: 1e-7, toleranceChange: 1e-9 },
  };
  const groups = [{ parameters: layers, learningRate: 1, weightDecay: 0.01 }];
  const loss: NativeLoss = {
    ...{ kind: 'crossEntropy', labelSmoothing: 0 },
    classWeights: Float32Array.of(1, 5, 0.5, 3, 1),
  };
  const preprocess: NativePreprocess = { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25], size: [128, 128] };
  await model.configure(trainingOf({ optimizer, groups, loss }, { preprocess }));
  const images = { inputs: [pixels(4, 128)], target: targetOf([0, 1, 2, 3]) };
  const { cacheable } = await model.plan(images, { precision: 'float32', split: true });
  t.ok(cacheable);
  await model.openFeatures({ path: '', identity: 'x', label: 'x', memoryBytes: 2 ** 24, fileBytes: 0 });
  const keys = Uint8Array.from({ length: 4 * 32 }, (_, i) => i);
  const stored = await model.storeFeatures({ inputs: images.inputs, keys });
  const repeat = (values: ArrayLike<number>) =>
    Array.from(values, (value) => Array(times).fill(value)).flat();
  const batch = { rows: Int32Array.from(repeat(stored)), target: targetOf(repeat([0, 1, 2, 3])) };
  return [
    await model.step({ ...batch, learningRates: [0] }),
    await model.step({ ...batch, learningRates: [1] }),
  ];
}

t.test('many rows go through in slices: the loss is that of all at once, whatever it weighs', async (t) => {
  const [start, end] = (await fitRepeated(1)) as [StepResult, StepResult];
  // 127 KB a row: two slices, of which the second has the last class alone.
  const [first, last] = (await fitRepeated(150)) as [StepResult, StepResult];
  t.equal(first.count, 600);
  t.ok(Math.abs(first.loss / start.loss - 1) < 1e-6, `${first.loss} in slices, ${start.loss} at once`);
  // Convolutions sum gradients over 2.4 million places in float32.
  const norms = first.gradientNorm / start.gradientNorm;
  t.ok(Math.abs(norms - 1) < 0.02, `${first.gradientNorm} in slices, ${start.gradientNorm} at once`);
  t.ok(end.loss < start.loss - 0.1, `${start.loss} -> ${end.loss}`);
  t.ok(Math.abs(last.loss / end.loss - 1) < 0.01, `${last.loss} in slices, ${end.loss} at once`);
});

t.test('a step that fails changes nothing', async (t) => {
  const model = await open(t);
  await model.replaceHead({ classes: 3, imageSize: 32 });
  await model.setTrainable(['fc.weight', 'fc.bias']);
  const data = Float32Array.from({ length: 2 * 3 * 32 * 32 }, (_, i) => (i < 3 * 32 * 32 ? 1 : Math.sin(i)));
  const batch = {
    inputs: [{ data, shape: [2, 3, 32, 32], dtype: 'float32' as const }],
    target: targetOf([0, 2]),
  };
  // Finite at the start, and without end.
  const loss = 'def loss(output, target):\n    return -(output * output).sum().exp()';
  const broken = await createTrainer(model, { optimizer: 'lbfgs', loss });
  const before = await bitsOf(model);
  await t.rejects(broken.step(batch), { code: 'LOSS_NOT_FINITE' });
  t.same(changed(before, await bitsOf(model)), []);
  const still = await createTrainer(model, { optimizer: 'lbfgs' });
  const { loss: unmoved } = await still.step({ ...batch, factor: 0 });
  t.same(changed(before, await bitsOf(model)), [], 'a factor of 0 evaluates alone');
  t.ok((await still.step(batch)).loss < unmoved / 10);
  t.same(changed(before, await bitsOf(model)), ['fc.bias', 'fc.weight']);
});

const small = defects(24, 12);
const options = { ...quick, optimizer: 'lbfgs', cache: 'memory' } as const;

t.test('fits the head in a few epochs, alone, and the same in each run', async (t) => {
  const run = async (given: FineTuneOptions) => {
    const model = await open(t);
    const before = await bitsOf(model);
    const training = fineTune(model, small, given);
    for await (const _ of training);
    const result = training.result as NonNullable<typeof training.result>;
    return {
      model,
      before,
      bits: await bitsOf(model),
      result,
      losses: result.history.map((e) => e.trainLoss as number),
    };
  };
  const given = { ...options, epochs: 4, augment: 'default' } as const;
  const { before, bits, result, losses, model } = await run(given);
  for (const [i, loss] of losses.entries())
    t.ok(i === 0 || loss <= (losses[i - 1] as number) + 1e-4, `${losses}`);
  const slow = await run({ ...given, optimizer: 'adamw' });
  t.ok((losses[0] as number) < Math.min(...slow.losses), `${losses} in place of ${slow.losses}`);
  t.same(changed(before, bits), ['fc.bias', 'fc.weight']);
  t.equal(result.computation.views, 1);
  t.equal(result.computation.features?.computed, 36);
  t.ok(result.history.every(({ learningRate }) => learningRate === 1));
  t.match(model.card?.provenance.options, {
    optimizer: { kind: 'lbfgs', maxIterations: 20, historySize: 10 },
    schedule: { kind: 'constant', warmup: 0 },
  });
  t.same(
    (await run({ ...given, batchSize: 7, threads: 3 })).bits,
    bits,
    'batches and seeds of order change nothing',
  );
});

t.test('an epoch is one step, also with images left out, and resumes', async (t) => {
  const bad = join(t.testdir({ 'bad.jpg': 'no image' }), 'bad.jpg');
  const spoilt = structuredClone(small);
  (spoilt.splits.train[3] as { path: string }).path = bad;
  const steps: string[] = [];
  const onBatch: FineTuneOptions['onBatch'] = ({ phase, done }) =>
    phase === 'train' && steps.push(String(done));
  const given = { ...options, epochs: 3, unreadable: 'skip', onBatch } as const;
  const whole = await train(await open(t), spoilt, given);
  t.same(steps, ['23', '23', '23']);
  const checkpoint = join(t.testdir(), 'checkpoint.pt');
  const controller = new AbortController();
  const stopping = { ...given, checkpoint, signal: controller.signal };
  for await (const { epoch } of fineTune(await open(t), spoilt, stopping)) if (epoch === 1) break;
  const resumed = await train(await open(t), spoilt, { ...given, checkpoint, resume: true });
  t.same(resumed.map(figures), whole.slice(1).map(figures));
});

const refused: [FineTuneOptions, RegExp][] = [
  [{ strategy: 'last:2' }, /`lbfgs` .*strategy `head`, or another optimizer for `last:2`/],
  [{ strategy: 'full' }, /another optimizer for `full`/],
  [{ views: 'live' }, /Leave `views` out/],
  [{ views: 2 }, /Leave `views` out/],
  [{ accumulate: 2 }, /Leave `accumulate` out/],
  [{ clipNorm: 1 }, /Leave `clipNorm` out/],
  [{ schedule: 'cosine' }, /Leave `schedule` out/],
  [{ schedule: 'constant:0.1' }, /Leave `schedule` out/],
  [{ schedule: { kind: 'constant', warmupEpochs: 1 } }, /Leave `schedule` out/],
  [{ learningRates: { fc: 0.1 } }, /Leave `learningRates` out/],
  [{ cache: 'none' }, /Use cache `memory` or `disk`/],
  [{ split: false }, /Leave `split` out/],
  [{ head: { hidden: [4], dropout: 0.1 } }, /Leave `head\.dropout` out/],
  [{ trainBatchNorm: true }, /Leave `trainBatchNorm` out/],
];

t.test('what does not fit is refused before anything is done, with the way out', async (t) => {
  const model = await open(t);
  const before = await bitsOf(model);
  const rangeError = { name: 'RangeError', code: 'INVALID_VALUE' };
  for (const [given, message] of refused) {
    t.throws(() => fineTune(model, small, { ...options, ...given }), { ...rangeError, message });
  }
  fineTune(model, small, { ...options, schedule: 'constant', views: 1 });
  t.throws(() => fineTune(model, small, { optimizer: { kind: 'lbfgs', historySise: 3 } as never }), {
    code: 'INVALID_TYPE',
    message: /`optimizer\.historySise`\. Did you mean `historySize`/,
  });
  for (const given of [{ accumulate: 2 }, { clipNorm: 1 }, { learningRates: { fc: 1 } }]) {
    await t.rejects(createTrainer(model, { optimizer: 'lbfgs', ...given }), {
      ...rangeError,
      message: new RegExp(`createTrainer: optimizer \`lbfgs\` .*Leave \`${Object.keys(given)[0]}\` out`),
    });
  }
  t.same(changed(before, await bitsOf(model)), []);
  const statistics = await open(t, fixtureModel('../splits/mixes-samples'));
  await t.rejects(train(statistics, small, options), {
    ...rangeError,
    message: /cannot be: they depend on the whole batch\. Use another optimizer, for example `adamw`/,
  });
});

t.test('a model that draws random numbers in eval mode is refused, and is as it was', async (t) => {
  const changing = await open(t, fixtureModel('../kinds/random-depth'));
  const before = await bitsOf(changing);
  const why = /draws random numbers in eval mode too \(aten::bernoulli_\).*Trace it in eval mode/;
  await t.rejects(train(changing, small, options), { code: 'INVALID_VALUE', message: why });
  await t.rejects(createTrainer(changing, { optimizer: 'lbfgs' }), {
    name: 'RangeError',
    code: 'INVALID_VALUE',
    message: new RegExp(
      `optimizer \`lbfgs\` .*${why.source}.*Or use another optimizer, for example \`adamw\``,
    ),
  });
  t.same(changed(before, await bitsOf(changing)), [], 'the head too');
  await createTrainer(changing, { optimizer: 'adamw' });
  for (const name of ['residual.traced-eval', 'residual.traced-train', 'mlp.traced']) {
    await createTrainer(await open(t, fixtureModel(name)), { optimizer: 'lbfgs' });
  }
});
