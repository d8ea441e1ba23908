/** A forward that fails says why in the model's own words, and what goes through it instead. scripts/fixtures-failures.py */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { createTrainer, fineTune, loadModel, type Tensor } from '../src/index.js';
import { bitsOf, defects, quick } from './defects.js';

const fixture = (name: string) => fileURLToPath(new URL(`fixtures/failures/${name}.pt`, import.meta.url));
const data = defects(12, 6);

function images(batch: number, side: number, channels = 3): Tensor[] {
  const shape = [batch, channels, side, side];
  return [{ data: new Float32Array(batch * channels * side * side), shape, dtype: 'float32' }];
}

/** What forward says of an input that it refuses; the model is as it was. */
async function refusal(t: Test, name: string, inputs: Tensor[]): Promise<string> {
  const model = await loadModel(fixture(name), { device: 'cpu', threads: 1 });
  try {
    const before = await bitsOf(model);
    const error = await model.forward(inputs).then(
      () => t.fail(`${name} took it`),
      (caught) => caught,
    );
    t.equal(error.code, 'MODEL_FAILED');
    t.notMatch(error.message, /TorchScript interpreter|Traceback|<--- HERE/, name);
    t.match(error.cause.message, /TorchScript/, "libtorch's whole text is the cause");
    t.same(await bitsOf(model), before);
    return error.message;
  } finally {
    await model.dispose();
  }
}

t.test("the model's own words, with its line", async (t) => {
  const raised = await refusal(t, 'raises', images(1, 96));
  t.match(
    raised,
    /^The model's forward failed on input float32 \[1, 3, 96, 96\]: ValueError: input must be 64, not 96 \(line \d+ of fixtures-failures\.py: raise ValueError\(f"input must be 64, not \{x\.shape\[-1\]\}"\)\)\. /,
  );
  t.match(
    await refusal(t, 'asserts', images(1, 96)),
    /: AssertionError: expected 5 bands: red, green, blue, near infrared, depth \(line \d+ of .*: assert x\.shape\[1\] == 5/,
    'a message of several lines is whole',
  );
  t.match(
    await refusal(t, 'bare-assert', images(1, 96)),
    /: AssertionError \(line \d+ of .*: assert x\.shape\[1\] == 5\)/,
  );
  t.match(
    await refusal(t, 'fixed-batch', images(2, 32)),
    /: mat1 and mat2 shapes cannot be multiplied \(4x6 and 12x2\) \(line \d+ of fixtures-failures\.py\)\./,
    'of a traced model the line that called the layer',
  );
});

t.test('what goes through it, found by trying', async (t) => {
  for (const [name, inputs, advice] of [
    ['raises', images(2, 96), /Images of 64 x 64 go through it: .*--image-size 64/],
    ['flat', images(2, 224), /Images of 48 x 48 go through it/],
    [
      'fixed-batch',
      images(1, 32),
      /works on 4 images at a time .* traced for a batch of 4\..*x\.view\(4, -1\)/,
    ],
    ['fixed-one', images(3, 32), /works on 1 image at a time .* traced for a batch of 1\..*--batch-size 1/],
    ['grey', images(2, 32), /takes images of 1 channel, and these have 3: .*adaptInput\(3\)/],
    ['channels-last', images(2, 32), /\[n, height, width, 3\]/],
    [
      'audio',
      images(1, 32),
      /\[n, samples\], as audio networks do\. torchgraft fine-tunes image classifiers/,
    ],
    ['tokens', images(1, 32), /whole numbers, .*text networks do\. torchgraft fine-tunes image classifiers/],
  ] as const) {
    t.match(await refusal(t, name, [...inputs]), advice, name);
  }
});

t.test('the size is blamed where it is the cause, and nowhere else', async (t) => {
  t.notMatch(await refusal(t, 'asserts', images(1, 96)), /go through it|image-size/);
  const model = await loadModel(fixture('normed'), { device: 'cpu', threads: 1 });
  t.teardown(() => model.dispose());
  const trainer = await createTrainer(model, { learningRate: 0.1 });
  const target = { data: Int32Array.of(0), shape: [1], dtype: 'int32' as const };
  await t.rejects(
    trainer.step({ inputs: images(1, 32), target }),
    { code: 'MODEL_FAILED', message: /more than 1 value per channel when training.*\]\.$/ },
    'in eval mode the same image goes through',
  );
});

t.test('models of other kinds hear what torchgraft is for', async (t) => {
  for (const [name, code, words] of [
    [
      'detector',
      'NO_HEAD',
      /takes List\[Tensor\], as detectors do\. torchgraft fine-tunes image classifiers/,
    ],
    ['segmenter', 'NO_HEAD', /a map for each image, as segmentation networks do\. torchgraft fine-tunes/],
    [
      'map',
      'NO_HEAD',
      /\[1, 6, 32, 32\], a map for each image, as segmentation networks do\. torchgraft fine-tunes/,
    ],
    ['audio', 'MODEL_FAILED', /as audio networks do\. torchgraft fine-tunes/],
    ['tokens', 'MODEL_FAILED', /as text networks do\. torchgraft fine-tunes/],
    ['fixed-batch', 'MODEL_FAILED', /traced for a batch of 4/],
    ['fixed-one', 'MODEL_FAILED', /traced for a batch of 1/],
  ] as const) {
    const model = await loadModel(fixture(name), { device: 'cpu', threads: 1 });
    try {
      const run = async () => {
        for await (const _ of fineTune(model, data, { ...quick, cache: 'none' }));
      };
      const error = await run().then(
        () => t.fail(`${name} was trained`),
        (caught) => caught,
      );
      t.equal(error.code, code, name);
      t.match(error.message, words, name);
    } finally {
      await model.dispose();
    }
  }
});

t.test('print() of a model goes to standard error, from any thread', (t) => {
  const code = `
    import { Worker, isMainThread } from 'node:worker_threads';
    import { loadModel } from ${JSON.stringify(new URL('../lib/index.js', import.meta.url).href)};
    const model = await loadModel(${JSON.stringify(fixture('prints'))}, { device: 'cpu', threads: 1 });
    await model.forward([{ data: new Float32Array(48), shape: [1, 3, 4, 4], dtype: 'float32' }]);
    await model.dispose();
    console.log(isMainThread ? 'main' : 'worker');
    if (isMainThread) new Worker(new URL(import.meta.url));`;
  const folder = t.testdir({ 'prints.mjs': code });
  const { status, stdout, stderr } = spawnSync(process.execPath, [`${folder}/prints.mjs`], {
    encoding: 'utf8',
  });
  t.equal(status, 0, stderr);
  t.equal(stdout, 'main\nworker\n');
  t.equal(stderr, 'hello from the model 1\n'.repeat(2));
  t.end();
});
