/** Real networks and real images, where they lie beside the repository; see README, Measured. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import {
  type FineTuneOptions,
  fineTune,
  type ImageDataset,
  imageFolder,
  loadModel,
  shuffleWeights,
  transferCheck,
} from '../src/index.js';

const shared =
  process.env.TORCHGRAFT_SHARED_DATA ?? fileURLToPath(new URL('../../shared/data', import.meta.url));
const skip = existsSync(shared) ? false : `no real models and images in ${shared}`;
const model = (name: string) => join(shared, 'models', `${name}.pt`);

/** Every n-th image of each split. */
async function thinned(name: string, train: number, val: number): Promise<ImageDataset> {
  const data = await imageFolder(join(shared, 'images', name));
  const every = <T>(items: T[], n: number) => items.filter((_, index) => index % n === 0);
  return { ...data, splits: { train: every(data.splits.train, train), val: every(data.splits.val, val) } };
}

async function improve(file: string, data: ImageDataset, options: FineTuneOptions) {
  await using loaded = await loadModel(file, { device: 'cpu' });
  const { notices } = loaded;
  const run = fineTune(loaded, data, { batchSize: 16, augment: 'none', strategy: 'head', ...options });
  for await (const _ of run);
  const { baseline, best } = run.result ?? {};
  return { notices, before: baseline?.validation.loss as number, after: best?.validation.loss as number };
}

const earlyStopping = { metric: 'valLoss' };

t.test('SqueezeNet, whose head is a convolution, on ants and bees', { skip }, async (t) => {
  const data = await thinned('hymenoptera', 4, 4);
  const { before, after } = await improve(model('squeezenet1_1.scripted'), data, {
    epochs: 2,
    earlyStopping,
  });
  t.ok(after < before * 0.95, `validation loss ${before} -> ${after}`);
});

t.test('MobileNetV1 on blood cells', { skip }, async (t) => {
  const data = await thinned('blood_cells', 20, 10);
  const { before, after } = await improve(model('mobilenet_v1_025.scripted'), data, {
    epochs: 4,
    earlyStopping,
  });
  t.ok(after < before * 0.8, `validation loss ${before} -> ${after}`);
});

t.test('a network traced in eval mode says so, and learns', { skip }, async (t) => {
  const data = await thinned('hymenoptera', 4, 4);
  const file = model('mobilenet_v1_025.traced-eval');
  const { notices, before, after } = await improve(file, data, { epochs: 3, earlyStopping });
  t.match(notices, [/traced in eval mode/]);
  t.ok(after < before, `validation loss ${before} -> ${after}`);
});

t.test('folded BatchNorm is told, and full fine-tuning does not fall to chance', { skip }, async (t) => {
  const data = await thinned('hymenoptera', 4, 6);
  const { mean, std } = { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] };
  const { notices, before, after } = await improve(model('mobilenet_v2_100.scripted'), data, {
    epochs: 1,
    strategy: 'full',
    preprocessing: { mean, std } as FineTuneOptions['preprocessing'],
    earlyStopping,
  });
  t.match(notices, [/already folded/]);
  t.ok(after < before * 0.8, `validation loss ${before} -> ${after}`);
});

t.test('weights of ImageNet help to tell ants from bees, shuffled ones do not', { skip }, async (t) => {
  const data = await thinned('hymenoptera', 3, 2);
  await using loaded = await loadModel(model('mobilenet_v1_025.scripted'), { device: 'cpu' });
  const { verdict, text } = await transferCheck(loaded, data);
  t.equal(verdict, 'help', text);
  await shuffleWeights(loaded);
  const shuffled = await transferCheck(loaded, data);
  t.not(shuffled.verdict, 'help', shuffled.text);
});

t.test('adapters of MobileNet, scripted and traced: equal at first, learned, merged', { skip }, async (t) => {
  const data = await thinned('hymenoptera', 8, 8);
  for (const name of ['mobilenet_v1_025.scripted', 'mobilenet_v1_025.traced-eval']) {
    const preprocessing = { size: 96, resize: 96 };
    const { before, after } = await improve(model(name), data, {
      ...{ strategy: 'lora', epochs: 3, earlyStopping, preprocessing, lora: { rank: 4 } },
    });
    t.ok(after < before, `${name}: ${before} to ${after}`);
  }
});

t.test(
  'every model takes images of other sizes, and says how the map before its head is pooled',
  { skip },
  async (t) => {
    const features: Record<string, number | undefined> = {
      'mobilenet_v1_025.scripted': 512,
      'mobilenet_v1_025.traced-eval': 512,
      'mobilenet_v2_100.scripted': 2560,
      'resnet20_cifar10.scripted': 128,
      // Its head is a convolution, which comes before the pooling.
      'squeezenet1_1.scripted': undefined,
    };
    for (const [name, wanted] of Object.entries(features)) {
      await using loaded = await loadModel(model(name), { device: 'cpu' });
      for (const imageSize of [64, 160]) await loaded.replaceHead({ classes: 3, imageSize });
      const made = loaded.replaceHead({ classes: 3, imageSize: 64, pooling: 'concat' });
      if (wanted === undefined) await t.rejects(made, { code: 'NO_HEAD', message: /pooling/ }, name);
      else await made;
      t.equal((await loaded.summary()).heads[0]?.inFeatures, wanted ?? 512, name);
    }
  },
);
