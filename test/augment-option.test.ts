/** Presets of augmentation, what contradicts them, and a run with the strongest. */
import t from 'tap';
import { augmentOption, augmentPresetNames } from '../src/augment-option.js';
import { type FineTuneOptions, fineTune } from '../src/index.js';
import { backbone, bitsOf, defects, figures, open, quick } from './defects.js';

const data = defects(16, 6);
const none = { verticalFlip: 0, rotation: 0, brightness: 0, contrast: 0, saturation: 0, hue: 0 };

t.test('presets', (t) => {
  t.same(augmentPresetNames, ['none', 'light', 'default', 'strong']);
  t.equal(augmentOption.parse('none'), null);
  const ratio = [3 / 4, 4 / 3];
  t.same(augmentOption.parse('light'), { ...none, crop: { scale: [0.8, 1], ratio }, horizontalFlip: 0.5 });
  const byDefault = { ...none, crop: { scale: [0.35, 1], ratio }, horizontalFlip: 0.5 };
  t.same(augmentOption.parse('default'), byDefault);
  t.same(augmentOption.parse({}), byDefault, 'what parts leave out is the default');
  t.same(augmentOption.parse('strong'), {
    ...byDefault,
    randAugment: { operations: 2, magnitude: 9 },
    erasing: { probability: 0.1, scale: [0.02, 0.33], ratio: [0.3, 3.3], value: 'zero' },
    mixup: 0.2,
    cutmix: 1,
  });
  t.end();
});

t.test('what is no augmentation, and what contradicts mixed images', async (t) => {
  const model = await open(t);
  const refuse = (options: unknown, expected: { code: string; message?: RegExp }) =>
    t.throws(() => fineTune(model, data, options as FineTuneOptions), expected);
  refuse({ augment: 'strnog' }, { code: 'INVALID_VALUE', message: /Did you mean `strong`/ });
  refuse({ augment: { randAugment: { magnitude: 31 } } }, { code: 'INVALID_VALUE', message: /magnitude/ });
  refuse({ augment: { randAugment: { operation: 1 } } }, { code: 'INVALID_TYPE', message: /`operations`/ });
  refuse({ augment: { erasing: { scale: [0.5, 2] } } }, { code: 'INVALID_VALUE', message: /erasing.scale/ });
  refuse({ augment: { mixup: 0 } }, { code: 'INVALID_VALUE', message: /mixup/ });
  const augment = { cutmix: 1 };
  refuse({ augment, views: 4 }, { code: 'INVALID_VALUE', message: /`views: 4`.*`live`/ });
  refuse({ augment, optimizer: 'lbfgs' }, { code: 'INVALID_VALUE', message: /unaugmented/ });
  const loss = 'def loss(output, target):\n    return torch.cross_entropy_loss(output, target)';
  refuse({ augment, loss }, { code: 'INVALID_VALUE', message: /loss by name/ });
});

async function run(options: FineTuneOptions) {
  const model = await open(t);
  const running = fineTune(model, data, options);
  for await (const _ of running);
  const { result } = running;
  if (!result) throw new Error('no result');
  return { result, bits: await bitsOf(model), reports: result.history.map(figures) };
}

t.test('mixed images are live, also where a head alone learns', async (t) => {
  const mixed: FineTuneOptions = { ...quick, augment: { mixup: 0.4 }, epochs: 2 };
  const one = await run(mixed);
  t.equal(one.result.computation.views, 'live');
  t.same((await run(mixed)).bits, one.bits, 'the same run again');
  t.same((await run({ ...mixed, threads: 3, batchSize: 4 })).reports, one.reports, 'other threads');
  t.notSame((await run({ ...mixed, seed: 1 })).reports, one.reports, 'another seed');
  t.notSame((await run({ ...mixed, augment: {} })).reports, one.reports, 'unmixed');
});

t.test('every loss by name learns from mixed images', async (t) => {
  for (const loss of ['crossEntropy', 'focal', 'bceWithLogits', 'mse', 'huber']) {
    const { reports } = await run({ ...quick, strategy: 'full', augment: { mixup: 0.4, cutmix: 1 }, loss });
    t.ok(Number.isFinite(reports[0]?.trainLoss), loss);
  }
});

t.test('an epoch of `strong` on the embedded photographs, after a probe', async (t) => {
  const model = await open(t, backbone);
  const running = fineTune(model, data, {
    ...{ strategy: 'lp-ft', probeEpochs: 1, epochs: 1, batchSize: 8, threads: 1, augment: 'strong' },
    ...{ preprocessing: { size: 96, resize: 96 }, sampler: 'balanced' },
  });
  for await (const _ of running);
  const { stages, history } = running.result ?? {};
  t.same(
    stages?.map(({ optimizer, views }) => [optimizer, views]),
    [
      ['lbfgs', 1],
      ['adamw', 'live'],
    ],
    'the probe sees each image as it is',
  );
  for (const { trainLoss, validation } of history ?? []) {
    t.ok(Number.isFinite(trainLoss));
    t.equal(validation.count, 6);
  }
});
