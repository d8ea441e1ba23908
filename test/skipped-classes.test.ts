/** After unreadable images were skipped, enough has to be left: nobody gets a model of a class that it has not seen. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { requireReadable } from '../src/data/require-readable.js';
import {
  extractFeatures,
  type FineTuneOptions,
  findLearningRate,
  fineTune,
  type ImageDataset,
  type Sample,
} from '../src/index.js';
import { torchgraft } from './command-line.js';
import { backbone, copyDefects, defects, open, quick, residual, train } from './defects.js';

const root = t.testdir();
const options = { ...quick, unreadable: 'skip', batchSize: 4 } satisfies FineTuneOptions;

/** The same data with broken copies of those images. */
function spoil(data: ImageDataset, isSpoiled: (sample: Sample, split: string) => boolean): ImageDataset {
  const folder = join(root, `${Math.random()}`);
  mkdirSync(folder);
  const of = (split: 'train' | 'val') =>
    data.splits[split].map((sample, at) => {
      if (!isSpoiled(sample, split)) return sample;
      const path = join(folder, `${split}-${at}.jpg`);
      writeFileSync(path, 'no image');
      return { ...sample, path };
    });
  return { ...data, splits: { ...data.splits, train: of('train'), val: of('val') } };
}

const data = defects(24, 12);
const label = 2;
const name = data.classes[label] as string;
const withoutClass = spoil(data, (sample, split) => split === 'train' && sample.label === label);
const withoutVal = spoil(data, (_, split) => split === 'val');
const withoutClassInVal = spoil(data, (sample, split) => split === 'val' && sample.label === label);
const noClass = {
  code: 'DATA_INVALID',
  message: new RegExp(
    `none of the (4 )?training images of .${name}. can be read.*train-\\d+\\.jpg: it is only`,
  ),
};
const noVal = {
  code: 'DATA_INVALID',
  message: /none of the (12 )?validation images can be read.*val-0\.jpg/,
};

t.test('fineTune begins no training, by any strategy', async (t) => {
  const variants: FineTuneOptions[] = [
    { strategy: 'head' },
    { strategy: 'full', cache: 'none', sampler: 'balanced' },
    { strategy: 'auto', baselines: 'measure' },
  ];
  for (const more of variants) {
    const model = await open(t);
    await t.rejects(train(model, withoutClass, { ...options, ...more }), noClass);
    await t.rejects(train(model, withoutVal, { ...options, ...more }), noVal);
    t.equal(model.card, undefined, 'nothing was learned');
  }
  const model = await open(t);
  await t.rejects(findLearningRate(model, withoutClass, { ...options, sweep: { steps: 20 } }), noClass);
});

t.test('a class that validation lacks is told, and the others are learned', async (t) => {
  const run = fineTune(await open(t), withoutClassInVal, options);
  for await (const { skipped } of run) t.equal(skipped.length, 2);
  t.match(run.decisions, [new RegExp(`^Class .${name}. has no image in val that can be read`)]);
});

t.test('features of what is left', async (t) => {
  const model = await open(t, residual);
  const reading = { preprocessing: quick.preprocessing, unreadable: 'skip', threads: 1 } as const;
  await t.rejects(extractFeatures(model, withoutClass, reading), noClass);
  await t.rejects(extractFeatures(model, withoutVal, reading), noVal);
  const { skipped, val } = await extractFeatures(model, withoutClassInVal, reading);
  t.same([skipped.length, val.paths.length], [2, 10]);
});

t.test('of each class one image is decoded where none is bad', async (t) => {
  t.same(await requireReadable(data, { preprocessing: {}, threads: 2 }, 'x'), []);
  // The first of a class is bad, another is not.
  const first = data.splits.train.find((sample) => sample.label === label);
  t.same(
    await requireReadable(
      spoil(data, (sample) => sample === first),
      { preprocessing: {}, threads: 2 },
      'x',
    ),
    [],
  );
  const labels = { ...data, task: 'multi-label' as const };
  labels.splits = {
    train: withoutClass.splits.train.map((sample) => ({
      ...sample,
      targets: data.classes.map((_, at) => Number(at === sample.label)),
    })),
    val: data.splits.val.map((sample) => ({ ...sample, targets: data.classes.map(() => 1) })),
  };
  await t.rejects(requireReadable(labels, { preprocessing: {}, threads: 2 }, 'x'), noClass);
  const numbers = { ...labels, task: 'regression' as const };
  t.same(
    await requireReadable(numbers, { preprocessing: {}, threads: 2 }, 'x'),
    [],
    'numbers are of no class',
  );
  await t.rejects(
    requireReadable(data, { preprocessing: {}, threads: 1, signal: AbortSignal.abort() }, 'x'),
    {
      code: 'ABORTED',
    },
  );
});

t.test('torchgraft train and check say so too', async (t) => {
  const folder = join(root, 'folder');
  copyDefects(folder, 3);
  for (let at = 0; at < 3; at++) writeFileSync(join(folder, 'train', name, `${name}-0${at}.jpg`), '');
  const args = [
    '--model',
    backbone,
    '--data',
    folder,
    '--image-size',
    '32',
    '--skip-unreadable',
    '--device',
    'cpu',
  ];
  const out = join(root, 'out');
  const message = new RegExp(`error \\[DATA_INVALID\\]: .* training images of .${name}. can be read`);
  t.match(await torchgraft(['train', ...args, '--out', out, '--epochs', '1', '--no-report']), {
    code: 1,
    stderr: message,
  });
  t.match(await torchgraft(['check', ...args]), { code: 1, stderr: message });
});
