/** What the strategies make of a model: which parameters learn, when, at which rates, and by what they decide. */
import t from 'tap';
import { checkFineTuneOptions } from '../src/fine-tune/options.js';
import { compileStrategy } from '../src/fine-tune/strategies/compile.js';
import { isFarFromCeiling, isProvenBetter } from '../src/fine-tune/strategies/judgement.js';
import { bodyLayers, defaultLayerDecay, depths } from '../src/fine-tune/strategies/layers.js';
import type { Stage } from '../src/fine-tune/strategies/stage.js';
import type { FineTuneOptions, Model, ModelDescription } from '../src/index.js';
import { fixtureModel, open } from './defects.js';

const images = 50;

/** The stages for the residual model: conv1 and bn1, block.conv1 and bn1, block.conv2 and bn2, fc. */
async function compile(t: Parameters<typeof open>[0], options: FineTuneOptions, file?: string) {
  const model = await open(t, file);
  return compileFor(model, options);
}

async function compileFor(model: Model, options: FineTuneOptions) {
  const { parameters } = await model.replaceHead({ classes: 6 });
  const summary = await model.summary();
  return compileStrategy({
    model,
    summary,
    head: parameters,
    options: checkFineTuneOptions(options),
    images,
  });
}

const rateOf = (stage: Stage | undefined, name: string) =>
  stage?.groups.find(({ parameters }) => parameters.includes(name))?.learningRate ?? Number.NaN;
const decayOf = (stage: Stage | undefined, name: string) =>
  stage?.groups.find(({ parameters }) => parameters.includes(name))?.weightDecay;
const head = ['fc.bias', 'fc.weight'];
const norms = ['block.bn1', 'block.bn2', 'bn1'].flatMap((path) => [`${path}.bias`, `${path}.weight`]);

function near(
  t: { ok(value: boolean, what: string): unknown },
  actual: number,
  wanted: number,
  what: string,
) {
  t.ok(Math.abs(actual / wanted - 1) < 1e-12, `${what}: ${actual} is ${wanted}`);
}

t.test('norm and bias let that and the head learn', async (t) => {
  const learning = async (strategy: 'norm' | 'bias') =>
    [...(await compile(t, { strategy })).stages[0].trainable].sort();
  t.same(await learning('norm'), [...norms, ...head].sort());
  t.same(await learning('bias'), [...norms.filter((name) => name.endsWith('bias')), ...head].sort());
  await t.rejects(compile(t, { strategy: 'norm' }, fixtureModel('squeeze')), {
    code: 'INVALID_VALUE',
    message: /`norm`: the model has no normalisation layers/,
  });
  await t.rejects(compile(t, { strategy: 'norm', freeze: ['*'] }), { code: 'NOT_TRAINABLE' });
});

t.test('llrd: each layer learns slower than the one above it, its normalisation with it', async (t) => {
  const [stage] = (await compile(t, { strategy: 'llrd', learningRate: 0.01 })).stages;
  const layers = [
    ['fc.weight', 'fc.bias'],
    ['block.conv2.weight', 'block.bn2.weight', 'block.bn2.bias'],
    ['block.conv1.weight', 'block.bn1.weight', 'block.bn1.bias'],
    ['conv1.weight', 'bn1.weight', 'bn1.bias'],
  ];
  for (const [depth, names] of layers.entries()) {
    for (const name of names) near(t, rateOf(stage, name), 0.01 * 0.9 ** depth, name);
  }
  t.equal(stage.trainable.length, 11, 'all learn');
  t.equal(decayOf(stage, 'conv1.weight'), 0.01);
  t.equal(decayOf(stage, 'bn1.weight'), 0, 'normalisations do not decay');
  t.equal(decayOf(stage, 'fc.bias'), 0, 'nor do biases');
  const given = { layerDecay: 0.5, learningRates: { 'bn1.bias': 0.3 } };
  const [other] = (await compile(t, { strategy: 'llrd', ...given })).stages;
  near(t, rateOf(other, 'block.conv1.weight'), 1e-3 * 0.25, 'from the rate of the head');
  t.equal(rateOf(other, 'bn1.bias'), 0.3, 'a rate that was given is taken as it is');
  const [full] = (await compile(t, { strategy: 'full', layerDecay: 0.5 })).stages;
  near(t, rateOf(full, 'block.conv1.weight'), 1e-4 * 0.25, 'full with decay, from the rate of the body');
  const [plain] = (await compile(t, { strategy: 'full' })).stages;
  t.equal(rateOf(plain, 'conv1.weight'), 1e-4, 'full without');
});

/** A description as of a model with these modules, all of them layers unless their type is of a container. */
function description(modules: [path: string, type: string][]): ModelDescription {
  const layers = modules.filter(([, type]) => type !== 'Block').map(([path]) => path);
  return {
    modules: modules.map(([path, type]) => ({ path, type, training: false })),
    layers,
  } as unknown as ModelDescription;
}

t.test('in a transformer a block is one layer, and 0.75 the decay', (t) => {
  const block = (path: string): [string, string][] => [
    [path, 'Block'],
    [`${path}.norm1`, 'LayerNorm'],
    [`${path}.attn.qkv`, 'Linear'],
    [`${path}.attn.proj`, 'Linear'],
    [`${path}.norm2`, 'LayerNorm'],
    [`${path}.mlp.fc1`, 'Linear'],
    [`${path}.mlp.fc2`, 'Linear'],
  ];
  const model = description([
    ['patch', 'Conv2d'],
    ...block('blocks.0'),
    ...block('blocks.1'),
    ['norm', 'LayerNorm'],
    ['head', 'Linear'],
  ]);
  const paths = (path: string) => block(path).flatMap(([name, type]) => (type === 'Block' ? [] : [name]));
  t.same(bodyLayers(model, ['head.weight', 'head.bias']), [
    [...paths('blocks.1'), 'norm'],
    paths('blocks.0'),
    ['patch'],
  ]);
  const depthOf = depths(model, ['head.weight', 'head.bias']);
  t.same(
    [
      'head.bias',
      'norm.weight',
      'blocks.1.attn.qkv.weight',
      'blocks.0.norm1.bias',
      'patch.bias',
      'token',
    ].map(depthOf),
    [0, 1, 1, 2, 3, 3],
  );
  t.equal(defaultLayerDecay(model), 0.75);
  t.equal(
    defaultLayerDecay(
      description([
        ['conv', 'Conv2d'],
        ['bn', 'BatchNorm2d'],
      ]),
    ),
    0.9,
  );
  t.end();
});

t.test('gradual: the head, then group by group from the top, with static groups', async (t) => {
  const { stages, epochs, notices } = await compile(t, { strategy: 'gradual', epochs: 9, unfreezeEvery: 2 });
  t.same(
    stages.map(({ name, trainable, epochs, continues, extent }) => [
      name,
      trainable.length,
      epochs,
      continues,
      extent,
    ]),
    [
      ['unfreeze 1 of 4', 2, 2, false, 'head'],
      ['unfreeze 2 of 4', 5, 2, true, 'some'],
      ['unfreeze 3 of 4', 8, 2, true, 'some'],
      ['unfreeze 4 of 4', 11, 3, true, 'all'],
    ],
  );
  t.same([...(stages[1]?.trainable ?? [])].sort(), [
    'block.bn2.bias',
    'block.bn2.weight',
    'block.conv2.weight',
    ...head,
  ]);
  for (const { groups } of stages) t.same(groups, stages[0].groups);
  t.equal(epochs, 9);
  t.same(notices, []);
  const two = await compile(t, { strategy: 'gradual', stages: 2 });
  t.same(
    two.stages.map(({ trainable }) => trainable.length),
    [2, 11],
  );
  const many = await compile(t, { strategy: 'gradual', stages: 30 });
  t.equal(many.stages.length, 4, 'no more than there are layers');
  const short = await compile(t, { strategy: 'gradual', epochs: 3 });
  t.same(
    short.stages.map((stage) => stage.epochs),
    [1, 1, 1],
  );
  t.match(short.notices, [/with 3 epochs .* only 3 of 4 groups/]);
});

t.test('lp-ft: a probe by L-BFGS, then a lower rate; the options are for what follows', async (t) => {
  const { stages, epochs } = await compile(t, { strategy: 'lp-ft', epochs: 7 });
  const [probe, then] = stages;
  t.match(probe, { name: 'probe', optimizer: { kind: 'lbfgs' }, epochs: 5, views: 1, extent: 'head' });
  t.equal(decayOf(probe, 'fc.weight'), 1 / images, "scikit-learn's C = 1");
  t.match(then, { name: 'fine-tune', optimizer: { kind: 'adamw' }, epochs: 7, extent: 'all', clipNorm: 0 });
  t.equal(rateOf(then, 'fc.weight'), 1e-4);
  t.equal(rateOf(then, 'conv1.weight'), 1e-4);
  t.equal(epochs, 12);
  const given = { learningRate: 0.5, probeEpochs: 3, accumulate: 2, clipNorm: 4 };
  const [other, rest] = (await compile(t, { strategy: 'lp-ft:last:2', ...given })).stages;
  t.match(other, { epochs: 3, accumulate: 1, clipNorm: 0 });
  t.equal(rateOf(other, 'fc.weight'), 1, "L-BFGS's own rate");
  t.equal(rateOf(other.otherwise, 'fc.weight'), 1e-3);
  t.match(rest, { accumulate: 2, clipNorm: 4, extent: 'some' });
  t.equal(rateOf(rest, 'fc.weight'), 0.5);
  t.equal(rest?.trainable.length, 5);
  const layered = (await compile(t, { strategy: 'lp-ft:llrd' })).stages[1];
  near(t, rateOf(layered, 'conv1.weight'), 1e-3 * 0.9 ** 3, 'from the rate of the head, with decay');
  const dropout = (await compile(t, { strategy: 'lp-ft', head: { dropout: 0.5, hidden: [4] } })).stages[0];
  t.match(dropout, { optimizer: { kind: 'adamw' }, epochs: 5 }, 'no L-BFGS with dropout');
});

t.test('auto: a probe, a trial, the rest; BatchNorm stays, gradients are clipped', async (t) => {
  const { stages, epochs } = await compile(t, { epochs: 8 });
  t.same(
    stages.map((stage) => [stage.name, stage.epochs, stage.clipNorm]),
    [
      ['probe', 5, 0],
      ['trial', 4, 1],
      ['fine-tune', 4, 1],
    ],
  );
  t.equal(epochs, 13);
  t.same([...(stages[1]?.trainable ?? [])].sort(), [
    'block.conv1.weight',
    'block.conv2.weight',
    'conv1.weight',
    ...head,
  ]);
  near(t, rateOf(stages[1], 'conv1.weight'), 1e-3 * 0.9 ** 3, 'with layer-wise decay');
  const short = await compile(t, { epochs: 1, clipNorm: 3, trainBatchNorm: true });
  t.same(
    short.stages.map(({ name, clipNorm }) => [name, clipNorm]),
    [
      ['probe', 3],
      ['trial', 3],
    ],
  );
  t.equal(short.stages[1]?.trainable.length, 11, 'unless its statistics were asked for');
});

const predictions = (labels: number[], wrong: number[]) => ({
  labels,
  predicted: labels.map((label, row) => (wrong.includes(row) ? 1 - label : label)),
  losses: labels.map((_, row) => (wrong.includes(row) ? 2 : 0.1)),
});
const hundred = Array.from({ length: 100 }, (_, row) => row % 2);
const rows = (count: number, step = 1) => Array.from({ length: count }, (_, row) => row * step);

t.test('auto stops at a probe that a perfect model could not be told from', (t) => {
  for (const metric of ['valAccuracy', 'valMacroF1', 'valLoss']) {
    const judging = { metric, seed: 0 };
    for (const wrong of [0, 2]) {
      const { goesOn, why } = isFarFromCeiling(predictions(hundred, rows(wrong)), judging);
      t.equal(goesOn, false);
      t.match(why, new RegExp(`stopped at the probe: .* wrong on ${wrong} of 100 validation images`));
    }
    t.equal(isFarFromCeiling(predictions(hundred, rows(9)), judging).goesOn, true);
  }
  t.end();
});

t.test('auto goes on after a trial that is better on the same images', (t) => {
  const judging = { metric: 'valAccuracy', seed: 0 };
  const before = predictions(hundred, rows(20));
  const compare = (wrong: number[]) => isProvenBetter(before, predictions(hundred, wrong), judging);
  t.match(compare(rows(20)), { goesOn: false, why: /stopped after the trial: no epoch of it was better/ });
  t.match(compare(rows(14)), { goesOn: true, why: /gained 0\.0\d\d to 0\.1\d\d in accuracy/ });
  // One more right, on ten that changed: nothing that these images can show.
  t.match(compare([...rows(14), 30, 31, 32, 33, 34]), {
    goesOn: false,
    why: /stopped after the trial: .*not enough/,
  });
  t.equal(compare(rows(26)).goesOn, false, 'worse');
  const surer = predictions(hundred, [...rows(14), 30, 31, 32, 33, 34]);
  const losses = surer.losses.map((loss) => loss / 2);
  t.match(isProvenBetter(before, { ...surer, losses }, judging), {
    goesOn: true,
    why: /its loss lower in 100 %/,
  });
  t.end();
});

t.test('options that a strategy does not know are refused', async (t) => {
  const refused: [FineTuneOptions, RegExp][] = [
    [{ strategy: 'head', layerDecay: 0.5 }, /`layerDecay` has no meaning with strategy `head`/],
    [{ strategy: 'norm', layerDecay: 0.5 }, /`layerDecay` has no meaning/],
    [{ strategy: 'full', unfreezeEvery: 2 }, /`unfreezeEvery` has no meaning/],
    [{ stages: 3 }, /`stages` has no meaning with strategy `auto`/],
    [{ strategy: 'gradual', probeEpochs: 3 }, /`probeEpochs` has no meaning/],
    [{ strategy: 'llrd', layerDecay: 1.5 }, /`layerDecay`/],
    [{ strategy: 'gradual', stages: 1 }, /`stages`/],
    [{ strategy: 'gradual', unfreezeEvery: 0 }, /`unfreezeEvery`/],
    [{ strategy: 'lp-ft:head' as 'lp-ft' }, /`strategy`: expected/],
    [{ strategy: 'auto', optimizer: 'lbfgs' }, /`lbfgs` fits a head/],
  ];
  for (const [options, message] of refused) {
    t.throws(() => checkFineTuneOptions(options), { code: 'INVALID_VALUE', message });
  }
  t.equal(checkFineTuneOptions({ optimizer: 'lbfgs' }).strategy, 'head', 'what L-BFGS can fit');
  t.equal(checkFineTuneOptions({}).strategy, 'auto');
});
