/** What learns, how fast, and by which loss: strategies, patterns, groups, schedules, losses. */
import t from 'tap';
import { type FineTuneOptions, fineTune, type Model } from '../src/index.js';
import { bitsOf, changed, defects, figures, fixtureModel, open, quick, train } from './defects.js';

const small = defects(12, 6);
const isParameter = (name: string) => /(weight|bias)$/.test(name);
const statistics = (norm: string) =>
  ['num_batches_tracked', 'running_mean', 'running_var'].map((name) => `${norm}.${name}`);

/** Names of all that a run changes; a first run of no effect has given the model its head. */
async function learns(model: Model, options: FineTuneOptions): Promise<string[]> {
  await train(model, small, { ...quick, freeze: ['fc.bias'], learningRates: { '*': 0 } });
  const before = await bitsOf(model);
  // Judged by a training metric, so that epoch 1 is the best and its weights stay.
  await train(model, small, {
    ...quick,
    optimizer: 'sgd',
    learningRate: 0.1,
    clipNorm: 1,
    earlyStopping: { metric: 'trainLoss' },
    ...options,
  });
  return changed(before, await bitsOf(model));
}

const head = ['fc.bias', 'fc.weight'];
const norm = (name: string) => [`${name}.bias`, ...statistics(name), `${name}.weight`];
const body = [
  'conv1.weight',
  ...norm('bn1'),
  'block.conv1.weight',
  ...norm('block.bn1'),
  'block.conv2.weight',
];
const all = [...body, ...norm('block.bn2'), ...head].sort();
const cases: [string, FineTuneOptions, string[]][] = [
  ['head', {}, head],
  ['last:1', { strategy: 'last:1' }, head],
  ['last:2', { strategy: 'last:2' }, ['block.conv2.weight', ...norm('block.bn2'), ...head].sort()],
  ['last:4, all layers', { strategy: 'last:4' }, all],
  ['full', { strategy: 'full' }, all],
  [
    'full but for a module',
    { strategy: 'full', freeze: ['block'] },
    all.filter((name) => !name.startsWith('block')),
  ],
  [
    'full but for a glob',
    { strategy: 'full', freeze: ['*conv?.weight'] },
    all.filter((name) => !/conv\d.weight/.test(name)),
  ],
  [
    'full but for a regular expression',
    { strategy: 'full', freeze: ['/bn\\d/'] },
    all.filter((name) => !/bn\d/.test(name)),
  ],
  [
    'head, with the statistics of BatchNorm',
    { trainBatchNorm: true },
    [...head, ...['bn1', 'block.bn1', 'block.bn2'].flatMap(statistics)].sort(),
  ],
  [
    'full, but a learning rate of 0 below the head',
    { strategy: 'full', learningRates: { '*': 0, fc: 0.1 } },
    [...head, ...['bn1', 'block.bn1', 'block.bn2'].flatMap(statistics)].sort(),
  ],
];
for (const [what, options, expected] of cases) {
  t.test(`strategy ${what} trains exactly that`, async (t) => {
    const model = await open(t);
    t.same(await learns(model, options), expected);
    const wanted = expected.filter(isParameter);
    if (!options.learningRates) t.same([...model.trainable].sort(), wanted);
  });
}

t.test('what a pattern or a strategy does not find is an error that helps', async (t) => {
  const model = await open(t);
  await t.rejects(train(model, small, { ...quick, freeze: ['blok.*'] }), {
    code: 'PATTERN_UNMATCHED',
    message: /`blok\.\*` matches no parameter.*`block/,
  });
  await t.rejects(train(model, small, { ...quick, learningRates: { 'block.conv3': 1e-3 } }), {
    code: 'PATTERN_UNMATCHED',
    message: /`block\.conv3`.*`block\.conv[12]`/,
  });
  await t.rejects(train(model, small, { ...quick, strategy: 'last:9' }), {
    code: 'INVALID_VALUE',
    message: /has 4 layers/,
  });
  await t.rejects(train(model, small, { ...quick, freeze: ['fc'] }), {
    code: 'NOT_TRAINABLE',
    message: /freeze/,
  });
  t.equal((await train(model, small, quick)).length, 1, 'and the model can still be trained');
});

t.test('a group for each learning rate and weight decay; of several patterns the last counts', async (t) => {
  const model = await open(t);
  const groupsOf = async (options: FineTuneOptions) => {
    await train(model, small, { ...quick, ...options });
    const { parameters } = await model.summary();
    const groups = new Map<number, string[]>();
    for (const { name, group } of parameters) groups.set(group, [...(groups.get(group) ?? []), name]);
    return [...groups.values()].map((names) => names.sort()).sort((a, b) => b.length - a.length);
  };
  const one = await groupsOf({ learningRate: 0.1, decayNormAndBias: true });
  t.same(one.length, 1);
  const [flat, wide] = await groupsOf({ learningRate: 0.1 });
  t.same(
    flat,
    all.filter((name) => /bias|bn\d\.weight/.test(name)),
    'one dimension: no weight decay',
  );
  t.same(
    wide,
    all.filter((name) => /(conv\d|fc)\.weight/.test(name)),
  );
  t.equal((await groupsOf({})).length, 4, 'the head learns faster by default');
  const rates = { 'block.*': 1e-3, 'block.bn*': 1e-4 };
  const groups = await groupsOf({ learningRate: 0.1, learningRates: rates, decayNormAndBias: true });
  t.same(
    groups.map(({ length }) => length),
    [5, 4, 2],
  );
  t.same(groups[1], ['block.bn1.bias', 'block.bn1.weight', 'block.bn2.bias', 'block.bn2.weight']);
});

t.test('weight decay spares biases and norms unless told', async (t) => {
  // With a loss that asks for nothing, only weight decay moves weights.
  const loss = 'def loss(output, target):\n    return (output * 0).sum()';
  const idle: FineTuneOptions = { strategy: 'full', loss, weightDecay: 0.1, optimizer: 'sgd' };
  const moved = async (options: FineTuneOptions) =>
    (await learns(await open(t), { ...idle, ...options })).filter((name) => isParameter(name));
  t.same(
    await moved({}),
    all.filter((name) => /(conv\d|fc)\.weight/.test(name)),
  );
  // The fixture's BatchNorm biases are 0, and 0 decays to 0.
  const nonZero = all.filter((name) => isParameter(name) && !/bn\d\.bias/.test(name));
  t.same(await moved({ decayNormAndBias: true }), nonZero);
});

t.test('schedules set the rate of each epoch', async (t) => {
  const ratesOf = async (options: FineTuneOptions) => {
    const model = await open(t);
    const reports = await train(model, small, {
      ...quick,
      epochs: 4,
      learningRate: 1,
      clipNorm: 1e-3,
      ...options,
    });
    return reports.map(({ learningRate }) => learningRate);
  };
  const near = (actual: number[], wanted: number[]) =>
    t.ok(
      wanted.every((rate, i) => Math.abs((actual[i] as number) - rate) < 1e-9),
      `${actual} is ${wanted}`,
    );
  near(await ratesOf({ schedule: 'constant' }), [1, 1, 1, 1]);
  near(await ratesOf({ schedule: 'step:2:0.5' }), [1, 1, 0.5, 0.5]);
  // 3 batches an epoch: the last step of epoch e is 3 e - 1 of 12.
  const cosine = [2, 5, 8, 11].map((step) => (1 + Math.cos((Math.PI * step) / 12)) / 2);
  near(await ratesOf({ schedule: { kind: 'cosine', warmup: 0 } }), cosine);
  near(await ratesOf({ schedule: { kind: 'constant', warmupEpochs: 2 } }), [3 / 7, 6 / 7, 1, 1]);
  // A metric that cannot rise: the first epoch sets the mark, the others wait.
  const plateau = { kind: 'plateau', metric: 'valLoss', patience: 0, factor: 0.5, threshold: 0.99 } as const;
  near(await ratesOf({ schedule: plateau }), [1, 1, 0.5, 0.25]);
  // Two batches a step: 2 steps an epoch, of 8; the third batch of an epoch is a step of its own.
  const halved = [1, 3, 5, 7].map((step) => (1 + Math.cos((Math.PI * step) / 8)) / 2);
  near(await ratesOf({ schedule: { kind: 'cosine', warmup: 0 }, accumulate: 2 }), halved);
});

t.test('accumulating two batches of 4 equals one batch of 8', async (t) => {
  // Plain has no BatchNorm and no dropout: the gradient of a batch is the mean of those of its halves.
  const run = async (options: FineTuneOptions) => {
    const model = await open(t, fixtureModel('plain'));
    const given = {
      ...quick,
      strategy: 'full',
      optimizer: 'sgd',
      learningRate: 0.1,
      epochs: 2,
      ...options,
    } as const;
    await train(model, defects(16, 6), {
      ...given,
      schedule: 'constant',
      earlyStopping: { metric: 'trainLoss' },
    });
    const { parameters } = await model.summary();
    const values = await model.native.values(parameters.map(({ name }) => name));
    return values.flatMap(({ data }) => Array.from(data, Number));
  };
  const whole = await run({ batchSize: 8 });
  const halves = await run({ batchSize: 4, accumulate: 2 });
  const apart = await run({ batchSize: 4 });
  const gap = (a: number[], b: number[]) =>
    Math.max(...a.map((value, i) => Math.abs(value - (b[i] as number))));
  t.ok(gap(whole, halves) < 1e-5, `differs by ${gap(whole, halves)}`);
  t.ok(gap(whole, apart) > 1e-3, 'and steps after each batch are something else');
});

t.test('a loss as TorchScript source trains like the built-in one', async (t) => {
  const source = 'def loss(output, target):\n    return torch.cross_entropy_loss(output, target)';
  const run = async (loss: string) => {
    const model = await open(t);
    return (await train(model, small, { ...quick, loss })).map(figures);
  };
  const [own] = await run(source);
  const [builtIn] = await run('crossEntropy');
  const gap = Math.abs((own?.trainLoss as number) - (builtIn?.trainLoss as number));
  t.ok(gap < 1e-6, `differs by ${gap}`);
});

t.test('a loss that does not compile is shown with its line and a caret', async (t) => {
  const model = await open(t);
  const loss = 'def loss(output, target):\n    return output.men() - target';
  await t.rejects(train(model, small, { ...quick, loss }), {
    code: 'SOURCE_INVALID',
    message: /return output\.men\(\) - target\n\s+~*\^?[~^]+/,
  });
});

for (const loss of ['bceWithLogits', 'focal', 'mse', 'huber'] as const) {
  t.test(`${loss} learns from class folders`, async (t) => {
    const model = await open(t, fixtureModel('plain'));
    const reports = await train(model, small, {
      ...quick,
      strategy: 'full',
      learningRate: 0.01,
      epochs: 3,
      loss,
    });
    const losses = reports.map(({ trainLoss }) => trainLoss as number);
    t.ok((losses[2] as number) < (losses[0] as number), `${losses}`);
  });
}

t.test('class weights must fit the classes', async (t) => {
  const model = await open(t);
  const given = { kind: 'crossEntropy', classWeights: [1, 2] } as const;
  await t.rejects(train(model, small, { ...quick, loss: given }), { message: /6/ });
});

t.test(
  'a loss that is not finite names the batch, the epoch and the rate, and keeps the best weights',
  async (t) => {
    const model = await open(t);
    await train(model, small, { ...quick, strategy: 'full' });
    const before = await bitsOf(model);
    const wild = {
      ...quick,
      strategy: 'full',
      optimizer: 'sgd',
      learningRate: 1e20,
      schedule: 'constant',
    } as const;
    const run = fineTune(model, small, wild);
    const training = (async () => {
      for await (const _ of run);
    })();
    await t.rejects(training, {
      code: 'LOSS_NOT_FINITE',
      message: /batch [23] of epoch 1, with a learning rate of 1\.00e\+20.*ten times lower.*best weights/s,
    });
    t.equal(run.result?.best.epoch, 0);
    t.same(changed(before, await bitsOf(model)), []);
    await t.rejects(
      train(model, small, { ...wild, batchSize: 12 }),
      {
        code: 'LOSS_NOT_FINITE',
        message: /After batch 1 of epoch 1, with a learning rate of 1\.00e\+20/,
      },
      'found by validation when the only step of an epoch did it',
    );
    t.same(changed(before, await bitsOf(model)), []);
  },
);
