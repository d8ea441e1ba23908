/** 8-bit convolutions: what they give, what they cost, and that it is said. */
import { join } from 'node:path';
import t from 'tap';
import { createPredictor, fineTune, loadClassifier } from '../src/index.js';
import type { LabelledModel } from '../src/labelled-model.js';
import type { OptimiseResult } from '../src/native.js';
import { Int8Trial } from '../src/predictor/int8.js';
import { backbone, defects, open, residual } from './defects.js';
import { cardOf, grey, pixels, predictor, saveModel } from './predictors.js';
import { outcomeOf } from './process/tiny.js';

const data = defects(64, 48);
const file = join(t.testdir(), 'defects.pt');
const other = await saveModel(t.testdirName, 'grey', grey);

t.before(async () => {
  const model = await open(t, backbone);
  const options = { optimizer: 'lbfgs', epochs: 1, preprocessing: { size: 96, resize: 96 } } as const;
  for await (const _ of fineTune(model, data, { ...options, cache: 'memory', augment: 'none' }));
  await model.save(file);
});

t.test('a trained network answers as in float32, and tells what it costs', async (t) => {
  const int8 = await predictor(t, file, { precision: 'int8', calibration: data, maxAccuracyLoss: 0.1 });
  const classifier = await loadClassifier(file, { device: 'cpu', threads: 1 });
  t.teardown(() => classifier.dispose());
  const { model } = int8.stats();
  t.match(model, { precision: 'int8', layout: /oneDNN|FBGEMM/ });
  const cost = model.int8 as NonNullable<typeof model.int8>;
  t.match(cost, { calibrated: 32, measured: 48, milliseconds: { float32: Number, int8: Number } });
  t.ok(cost.milliseconds.int8 > 0 && cost.milliseconds.float32 > 0);

  const paths = data.splits.val.map(({ path }) => path);
  const [ours, theirs] = [await int8.predictMany(paths), await classifier.predict(paths)];
  const largest = Math.max(...theirs.flatMap(({ logits }) => [...logits].map(Math.abs)));
  const apart = ours.flatMap(({ logits }, i) =>
    [...logits].map((value, j) => Math.abs(value - (theirs[i]?.logits[j] as number))),
  );
  t.ok(Math.max(...apart) < 0.15 * largest, `${Math.max(...apart)} of ${largest}`);
  t.ok(Math.max(...apart) > 1e-4 * largest, 'and it is not float32 under another name');
  const share = (isHit: (i: number) => boolean) => paths.filter((_, i) => isHit(i)).length / paths.length;
  const names = data.splits.val.map(({ label }) => data.classes[label]);
  const best = (answers: typeof ours) => (i: number) => answers[i]?.top[0]?.class;
  t.equal(
    cost.agreement,
    share((i) => best(ours)(i) === best(theirs)(i)),
  );
  t.same(cost.accuracy, {
    float32: share((i) => best(theirs)(i) === names[i]),
    int8: share((i) => best(ours)(i) === names[i]),
  });
});

t.test('images without labels show how often both agree', async (t) => {
  const images = data.splits.train.slice(0, 21).map(({ path }) => path);
  const int8 = await predictor(t, file, { precision: 'int8', calibration: images, maxAccuracyLoss: 1 });
  t.match(int8.stats().model.int8, { calibrated: 11, measured: 10, accuracy: null, agreement: Number });
});

t.test('sums, pooling and small images; a swap calibrates again', async (t) => {
  const raw = (seed: number) => ({ data: pixels(seed), width: 32, height: 32, channels: 3 as const });
  const calibration = Array.from({ length: 8 }, (_, i) => raw(i));
  const int8 = await predictor(t, other, { precision: 'int8', calibration, maxAccuracyLoss: 1 });
  const float32 = await predictor(t, other);
  t.match(int8.stats().model, { name: 'grey.pt', precision: 'int8', int8: { calibrated: 4, measured: 4 } });
  const [ours, theirs] = [await int8.predict(raw(3)), await float32.predict(raw(3))];
  for (const [i, value] of theirs.logits.entries()) {
    t.ok(Math.abs((ours.logits[i] as number) - value) < 0.1 * Math.max(...theirs.logits.map(Math.abs)));
  }
  await int8.swap(file);
  t.match(int8.stats().model, { name: 'defects.pt', precision: 'int8', int8: { calibrated: 4 } });
});

t.test('what cannot be measured is refused', async (t) => {
  const path = data.splits.val[0]?.path as string;
  const strange = { ...data, classes: data.classes.map((name) => `no ${name}`) };
  const wrong: [string, unknown, string][] = [
    ['no calibration', undefined, 'INVALID_TYPE'],
    ['a text', 'images', 'INVALID_TYPE'],
    ['one image', [path], 'INVALID_VALUE'],
    ['classes it does not know', strange, 'INVALID_VALUE'],
    ['no image', [path, `${path}.gone`], 'FILE_NOT_FOUND'],
    ['numbers', [1, 2], 'INVALID_TYPE'],
  ];
  for (const [what, calibration, code] of wrong) {
    const options = { device: 'cpu', threads: 1, precision: 'int8', calibration } as never;
    t.equal(await outcomeOf(() => createPredictor(file, options)), code, what);
  }
});

t.test('more loss than allowed is refused, with the figures', async (t) => {
  // Right at first, then wrong for every second image.
  let calls = 0;
  const evaluate = async ({ inputs: [{ shape }] }: { inputs: [{ shape: number[] }] }) => {
    const wrong = calls++ > 0;
    const data = Float32Array.from({ length: (shape[0] as number) * 2 }, (_, i) =>
      i % 2 === 0 || (wrong && i % 4 === 1) ? 1 : 2,
    );
    return { logits: { data, shape: [shape[0], 2] } };
  };
  const labelled = {
    model: { native: { evaluate }, origin: { name: 'stub' } },
    card: cardOf({ ...grey, classes: ['a', 'b'] }),
  };
  const images = Array.from({ length: 8 }, (_, i) => ({
    data: pixels(i),
    width: 32,
    height: 32,
    channels: 3,
  }));
  const begin = () => Int8Trial.begin(labelled as unknown as LabelledModel, images, 1);
  const optimised = { seconds: 0.001, float32Seconds: 0.002 } as OptimiseResult;
  const trial = await begin();
  await t.rejects(trial.finish(optimised, 0.49), {
    code: 'ACCURACY_LOST',
    message:
      /differs from float32's for 50\.0 % on 4 images, 50\.0 % lost where `maxAccuracyLoss` allows 49\.0 %/,
  });
  calls = 0;
  t.match(await (await begin()).finish(optimised, 0.5), {
    agreement: 0.5,
    measured: 4,
    milliseconds: { float32: 2, int8: 1 },
  });
});

t.test('on the native side, samples are checked as the example is', async (t) => {
  const model = await open(t, residual);
  const preprocess = { mean: [0.5, 0.5, 0.5], std: [1, 1, 1], size: [32, 32] as [number, number] };
  const image = { data: pixels(1), shape: [1, 32, 32, 3], dtype: 'uint8' as const };
  const asked = { precision: 'float32', example: image, preprocess } as const;
  const none = { ...image, data: new Uint8Array(), shape: [0, 32, 32, 3] };
  t.equal(await outcomeOf(() => model.native.optimise({ ...asked, samples: none })), 'SHAPE_MISMATCH');
  t.equal(await outcomeOf(() => model.native.optimise({ ...asked, samples: 'x' as never })), 'INVALID_TYPE');
  const flat = { ...image, data: new Uint8Array(9), shape: [1, 3, 3, 1] };
  t.not(await outcomeOf(() => model.native.optimise({ ...asked, samples: flat })), 'ok');
  t.equal(await outcomeOf(() => model.native.optimise({ ...asked, samples: image })), 'ok');
});
