/** replaceHead: PyTorch's own initialisation, everything else bit-identical, and refusals that change nothing. */
import t from 'tap';
import type { NativeModel, ReplaceHeadRequest, Tensor } from '../../src/native.js';
import {
  bitsOf,
  changed,
  configure,
  expected,
  hex,
  inputsOf,
  isTensor,
  open,
  randomTensor,
  tensorOf,
  train,
} from './fixtures.js';

function request(name: string, more: Partial<ReplaceHeadRequest> = {}): ReplaceHeadRequest {
  const seed = expected.heads.seed;
  return {
    layer: '',
    classes: 3,
    seed,
    hidden: [],
    dropout: 0,
    standardise: false,
    example: inputsOf(name),
    ...more,
  };
}

async function trainable(model: NativeModel): Promise<string[]> {
  const { parameters } = await model.describe();
  return parameters.filter((parameter) => parameter.trainable).map(({ name }) => name);
}

const mlp = { hidden: [12, 7], dropout: 0.2 };
const mlpParameters = [
  'fc.weight',
  'fc.bias',
  'head.fc1.weight',
  'head.fc1.bias',
  'head.fc2.weight',
  'head.fc2.bias',
];
const kinds: {
  name: string;
  like: 'linear' | 'convolution' | 'noBias' | 'inception' | 'mlp';
  more?: Partial<ReplaceHeadRequest>;
  layers: string[];
  parameters: string[];
}[] = [
  { name: 'residual', like: 'linear', layers: ['fc'], parameters: ['fc.weight', 'fc.bias'] },
  { name: 'residual.traced-eval', like: 'linear', layers: ['fc'], parameters: ['fc.weight', 'fc.bias'] },
  {
    name: 'squeeze',
    like: 'convolution',
    layers: ['classifier.1'],
    parameters: ['classifier.1.weight', 'classifier.1.bias'],
  },
  { name: 'no-bias', like: 'noBias', layers: ['fc'], parameters: ['fc.weight'] },
  {
    name: 'inception',
    like: 'inception',
    layers: ['fc', 'AuxLogits.fc'],
    parameters: ['fc.weight', 'fc.bias', 'AuxLogits.fc.weight', 'AuxLogits.fc.bias'],
  },
  { name: 'residual', like: 'mlp', more: mlp, layers: ['fc', 'head'], parameters: mlpParameters },
  { name: 'residual.traced-eval', like: 'mlp', more: mlp, layers: ['fc', 'head'], parameters: mlpParameters },
];

for (const { name, like, more, layers, parameters } of kinds) {
  t.test(`${like} head of ${name}`, async (t) => {
    const model = await open(t, name);
    const before = await bitsOf(model);
    const made = await model.replaceHead(request(name, more));
    t.same(made, { layers, parameters, standardiser: null, cut: [] });
    const values = await model.values(parameters);
    t.same(
      values.map(hex),
      expected.heads[like].map((stored) => hex(tensorOf(stored))),
      'initialised as torch.manual_seed and the constructor do',
    );
    const after = await bitsOf(model);
    t.same(changed(before, after).sort(), [...parameters].sort(), 'everything else is bit-identical');
    const output = await model.forward(inputsOf(name));
    const logits = Array.isArray(output) ? output[0] : output;
    t.same(isTensor(logits) && logits.shape, [inputsOf(name)[0]?.shape[0], 3]);
    const { heads } = await model.describe();
    const last = like === 'mlp' ? 'head.fc2' : (layers[0] as string);
    t.match(heads[0], { module: last, outFeatures: 3, output: 0 });
    t.equal(heads.length, like === 'inception' ? 2 : 1);
  });
}

t.test('another seed gives other weights', async (t) => {
  const model = await open(t, 'residual');
  await model.replaceHead(request('residual'));
  const first = await bitsOf(model);
  await model.replaceHead(request('residual', { seed: 8 }));
  t.same(changed(first, await bitsOf(model)).sort(), ['fc.bias', 'fc.weight']);
});

t.test('what was frozen stays frozen, and the new head learns', async (t) => {
  for (const more of [{}, mlp]) {
    const model = await open(t, 'residual');
    await model.setTrainable(['block.conv2.weight', 'bn1.bias'], false);
    const { parameters } = await model.replaceHead(request('residual', more));
    t.same((await trainable(model)).sort(), [...parameters, 'block.conv2.weight', 'bn1.bias'].sort());
  }
});

t.test('the new head learns and the old optimizer is gone', async (t) => {
  for (const more of [{}, mlp]) {
    const model = await open(t, 'residual');
    await configure(model);
    const { parameters } = await model.replaceHead(request('residual', more));
    await t.rejects(train(model, 1), { code: 'NOT_TRAINABLE' });
    await model.setTrainable(parameters, false);
    await configure(model);
    const before = await bitsOf(model);
    const image = randomTensor([3, 3, 8, 8], 1);
    const target = { data: BigInt64Array.from([0n, 1n, 2n]), shape: [3], dtype: 'int64' as const };
    for (let i = 0; i < 3; i++) await model.step({ inputs: [image], target });
    t.same(changed(before, await bitsOf(model)).sort(), [...parameters].sort());
  }
});

t.test('an MLP head drops out in training and not in eval', async (t) => {
  for (const dropout of [0, 0.5]) {
    const model = await open(t, 'plain');
    const { parameters } = await model.replaceHead(request('plain', { hidden: [16], dropout, classes: 5 }));
    await model.setTrainable(parameters, false);
    await configure(model);
    const [input] = inputsOf('plain') as [Tensor];
    const target = { data: BigInt64Array.from([0n, 1n]), shape: [2], dtype: 'int64' as const };
    const losses = new Set<number>();
    for (let i = 0; i < 5; i++)
      losses.add((await model.step({ inputs: [input], target, learningRates: [0] })).loss);
    t.equal(losses.size, dropout === 0 ? 1 : 5);
    const outputs = [await model.forward([input]), await model.forward([input])] as [Tensor, Tensor];
    t.equal(hex(outputs[0]), hex(outputs[1]));
  }
});

t.test('an MLP head can be replaced again', async (t) => {
  const model = await open(t, 'residual');
  await model.replaceHead(request('residual', mlp));
  const made = await model.replaceHead(request('residual', { classes: 4 }));
  t.same(made.layers, ['head.fc2']);
  t.same(((await model.forward(inputsOf('residual'))) as Tensor).shape, [2, 4]);
});

t.test('Inception learns from the main loss and 0.4 of the auxiliary', async (t) => {
  const { input, target, loss } = expected.losses.inception;
  const model = await open(t, 'inception');
  await configure(model);
  const before = await bitsOf(model);
  const result = await model.step({ inputs: [tensorOf(input)], target: tensorOf(target) });
  t.ok(Math.abs(result.loss - loss) < 1e-6 * loss, `${result.loss} for PyTorch's ${loss}`);
  t.ok(changed(before, await bitsOf(model)).includes('AuxLogits.fc.weight'));
});

t.test('a layer can be named, and brings what makes the output with it', async (t) => {
  for (const [name, layer, layers] of [
    ['vgg', 'classifier.6', ['classifier.6']],
    ['two-heads', 'right', ['left', 'right']],
  ] as const) {
    const model = await open(t, name);
    const before = await bitsOf(model);
    const made = await model.replaceHead(request(name, { layer }));
    t.same(made.layers, layers);
    const own = layers.flatMap((path) => [`${path}.bias`, `${path}.weight`]);
    t.same(changed(before, await bitsOf(model)).sort(), own);
  }
});

t.test('a head on tied weights leaves the embedding alone', async (t) => {
  const model = await open(t, 'tied');
  const before = await bitsOf(model);
  await model.replaceHead(request('tied'));
  t.same(changed(before, await bitsOf(model)).sort(), ['decoder.bias', 'decoder.weight']);
});

const image = () => inputsOf('residual')[0] as Tensor;
const refusals: { why: string; name: string; code: string; more?: Partial<ReplaceHeadRequest> }[] = [
  { why: 'no parameters', name: 'residual.frozen', code: 'MODEL_FROZEN' },
  { why: 'no such layer', name: 'residual', code: 'NO_HEAD', more: { layer: 'head' } },
  { why: 'a layer without a weight', name: 'residual', code: 'NO_HEAD', more: { layer: 'drop' } },
  { why: 'a BatchNorm', name: 'residual', code: 'NO_HEAD', more: { layer: 'bn1' } },
  { why: 'a layer in the middle', name: 'vgg', code: 'MODEL_FAILED', more: { layer: 'classifier.3' } },
  {
    why: 'an example that does not fit',
    name: 'residual',
    code: 'MODEL_FAILED',
    more: { example: [randomTensor([2, 4], 0)] },
  },
  { why: 'no example', name: 'residual', code: 'SHAPE_MISMATCH', more: { example: [] } },
  { why: 'an MLP on two heads', name: 'inception', code: 'NO_HEAD', more: mlp },
  {
    why: 'an MLP with an example that does not fit',
    name: 'residual',
    code: 'MODEL_FAILED',
    more: { ...mlp, example: [randomTensor([2, 4], 0)] },
  },
  {
    why: 'tied weights and a bad example',
    name: 'tied',
    code: 'MODEL_FAILED',
    more: { example: [randomTensor([2, 4], 0)] },
  },
];

for (const { why, name, code, more } of refusals) {
  t.test(`refused: ${why} (${name})`, async (t) => {
    const model = await open(t, name);
    const before = await bitsOf(model);
    const description = await model.describe();
    const output = JSON.stringify(await model.forward(inputsOf(name)), write);
    await t.rejects(model.replaceHead(request(name, more)), { code });
    t.same(changed(before, await bitsOf(model)), []);
    t.same(await model.describe(), description);
    t.equal(JSON.stringify(await model.forward(inputsOf(name)), write), output);
  });
}

function write(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value);
  return ArrayBuffer.isView(value) ? Buffer.from(value.buffer).toString('hex') : value;
}

t.test('after a refusal, training goes on where it was', async (t) => {
  const [undisturbed, refused] = [await open(t, 'residual'), await open(t, 'residual')];
  for (const model of [undisturbed, refused]) {
    await model.setTrainable(['fc.weight', 'block.conv1.weight'], true);
    await configure(model);
    await train(model, 3);
  }
  await t.rejects(
    refused.replaceHead(request('residual', { example: [{ ...image(), shape: [2, 64, 3] }] })),
    {
      code: 'MODEL_FAILED',
    },
  );
  for (const model of [undisturbed, refused]) await train(model, 3, { from: 3 });
  t.same(changed(await bitsOf(undisturbed), await bitsOf(refused)), []);
  t.same(await trainable(refused), await trainable(undisturbed));
});
