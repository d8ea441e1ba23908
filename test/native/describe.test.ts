/** What the model doctor finds in files of every kind. */
import t from 'tap';
import type { ModelDescription } from '../../src/native.js';
import { open } from './fixtures.js';

function facts({ origin, tracedInEval, frozen, savedInTrainMode, foldedBatchNorm }: ModelDescription) {
  return { origin, tracedInEval, frozen, savedInTrainMode, foldedBatchNorm };
}

const scripted = {
  origin: 'scripted',
  tracedInEval: false,
  frozen: false,
  savedInTrainMode: false,
  foldedBatchNorm: false,
};

const kinds: Record<string, Partial<ReturnType<typeof facts>>> = {
  residual: {},
  'residual.traced-eval': { origin: 'traced', tracedInEval: true },
  'residual.traced-train': { origin: 'traced', savedInTrainMode: true },
  'residual.frozen': { frozen: true },
  'residual.train-mode': { savedInTrainMode: true },
  'residual.without-grad': {},
  folded: { foldedBatchNorm: true },
  fresh: {},
  'mlp.traced': { origin: 'traced' },
  squeeze: {},
  inception: {},
  vgg: {},
  'old-norm': {},
  'every-dtype': {},
};

for (const [name, different] of Object.entries(kinds)) {
  t.test(`kind of ${name}`, async (t) => {
    const model = await open(t, name);
    t.same(facts(await model.describe()), { ...scripted, ...different });
  });
}

t.test('parameters saved without a gradient are named and learn again', async (t) => {
  const model = await open(t, 'residual.without-grad');
  const { savedWithoutGrad, parameters } = await model.describe();
  t.same(
    savedWithoutGrad.sort(),
    ['bn1.bias', 'bn1.weight', 'bn2.bias', 'bn2.weight', 'conv1.weight', 'conv2.weight'].map(
      (name) => `block.${name}`,
    ),
  );
  t.ok(parameters.every(({ trainable }) => trainable));
});

t.test('modules, parameters and buffers have their names, shapes and types', async (t) => {
  const model = await open(t, 'residual');
  const { modules, parameters, buffers, batchNorms, device } = await model.describe();
  t.same(
    modules.map(({ path, type }) => `${path}:${type}`),
    [
      ':Residual',
      'conv1:Conv2d',
      'bn1:BatchNorm2d',
      'drop1:Dropout',
      'block:Block',
      'block.conv1:Conv2d',
      'block.bn1:BatchNorm2d',
      'block.conv2:Conv2d',
      'block.bn2:BatchNorm2d',
      'pool:AdaptiveAvgPool2d',
      'drop:Dropout',
      'fc:Linear',
    ],
  );
  t.same(parameters[0], {
    name: 'conv1.weight',
    otherNames: [],
    shape: [6, 3, 3, 3],
    dtype: 'float32',
    trainable: true,
    group: -1,
  });
  t.equal(parameters.length, 11);
  t.same(
    buffers.find(({ name }) => name === 'block.bn2.running_var'),
    { name: 'block.bn2.running_var', shape: [6], dtype: 'float32' },
  );
  t.same(
    buffers.find(({ name }) => name === 'bn1.num_batches_tracked'),
    { name: 'bn1.num_batches_tracked', shape: [], dtype: 'int64' },
  );
  t.same(batchNorms, ['bn1', 'block.bn1', 'block.bn2']);
  t.equal(device, 'cpu');
});

const residualLayers = ['conv1', 'bn1', 'block.conv1', 'block.bn1', 'block.conv2', 'block.bn2', 'fc'];
const layers: Record<string, string[]> = {
  residual: residualLayers,
  'residual.traced-eval': residualLayers,
  'residual.traced-train': residualLayers,
  // Made after the auxiliary classifier, used after it.
  inception: ['stem', 'AuxLogits.conv', 'AuxLogits.fc', 'tail', 'fc'],
  vgg: ['features.0', 'classifier.0', 'classifier.3', 'classifier.6'],
  'mlp.traced': ['0', '2'],
  'residual.frozen': [],
};

for (const [name, order] of Object.entries(layers)) {
  t.test(`layers of ${name} in the order of forward`, async (t) => {
    const model = await open(t, name);
    t.same((await model.describe()).layers, order);
  });
}

const linear = { kind: 'linear', outFeatures: 5, hasBias: true, output: 0, cosine: false, pooling: null };
const heads: Record<string, object[]> = {
  residual: [{ ...linear, module: 'fc', inFeatures: 6, pooling: 'avg' }],
  'residual.traced-eval': [{ ...linear, module: 'fc', inFeatures: 6, pooling: 'avg' }],
  'residual.frozen': [],
  squeeze: [{ ...linear, module: 'classifier.1', kind: 'conv2d', inFeatures: 8 }],
  inception: [
    { ...linear, module: 'fc', inFeatures: 9, pooling: 'avg' },
    { ...linear, module: 'AuxLogits.fc', inFeatures: 7, output: 1, pooling: 'avg' },
  ],
  vgg: [{ ...linear, module: 'classifier.6', inFeatures: 16 }],
  'two-heads': [
    { ...linear, module: 'left', inFeatures: 4 },
    { ...linear, module: 'right', inFeatures: 4 },
  ],
  'no-bias': [{ ...linear, module: 'fc', inFeatures: 6, hasBias: false }],
  tied: [{ ...linear, module: 'decoder', inFeatures: 4, outFeatures: 7 }],
  'mlp.traced': [{ ...linear, module: '2', inFeatures: 6 }],
};

for (const [name, found] of Object.entries(heads)) {
  t.test(`heads of ${name}`, async (t) => {
    const model = await open(t, name);
    t.same((await model.describe()).heads, found);
  });
}

t.test('inputs and output of forward', async (t) => {
  const every = await (await open(t, 'every-dtype')).describe();
  t.same(
    every.inputs,
    ['single', 'double', 'tokens', 'counts', 'pixels', 'mask'].map((name) => ({ name, type: 'Tensor' })),
  );
  t.equal(every.output, 'Dict(str, Tensor)');
  t.equal((await (await open(t, 'list-out')).describe()).output, 'Tensor[]');
  t.same((await (await open(t, 'residual')).describe()).inputs, [{ name: 'x', type: 'Tensor' }]);
});

t.test('tied weights are one parameter under their first name', async (t) => {
  const { parameters } = await (await open(t, 'tied')).describe();
  t.same(
    parameters.map(({ name }) => name),
    ['embedding.weight', 'mix.weight', 'mix.bias', 'decoder.bias'],
  );
});
