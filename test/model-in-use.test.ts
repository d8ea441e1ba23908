/** A model that trains belongs to its training: whoever else calls it is told so, and what is learned does not change. */
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { createTrainer, extractFeatures, type FineTuneOptions, fineTune, type Model } from '../src/index.js';
import { bitsOf, defects, figures, open, quick, train } from './defects.js';
import { batch, images } from './process/tiny.js';

const small = defects(12, 6);
/** Dropout and BatchNorm learn, images are augmented, and weights are put back at the end. */
const options = {
  ...quick,
  epochs: 2,
  strategy: 'full',
  augment: { horizontalFlip: 0.5, brightness: 0.2 },
  cache: 'memory',
} satisfies FineTuneOptions;
const image = images(1, 32);

/** What others may want of a model. */
const uses = (t: Test): Record<string, (model: Model) => Promise<unknown>> => ({
  summary: (model) => model.summary(),
  forward: (model) => model.forward([image]),
  gradCam: (model) => model.gradCam([image]),
  save: (model) => model.save(join(t.testdirName, 'saved.pt')),
  freeze: (model) => model.freeze('*'),
  setTrainable: (model) => model.setTrainable([]),
  replaceHead: (model) => model.replaceHead({ classes: 2, imageSize: 32 }),
  reinitialise: (model) => model.reinitialise(1),
  addAdapters: (model) => model.addAdapters({ layers: ['fc'], rank: 1, scale: 1, seed: 0 }),
  fineTune: (model) => train(model, small, options),
  createTrainer: (model) => createTrainer(model),
  extractFeatures: (model) => extractFeatures(model, small, { preprocessing: options.preprocessing }),
});

async function learned(
  model: Model,
  given: FineTuneOptions = options,
  { between, after }: { between?: () => unknown; after?: () => unknown } = {},
) {
  const reports = [];
  for await (const report of fineTune(model, small, given)) {
    reports.push(figures(report));
    await between?.();
  }
  await after?.();
  return { reports, bits: await bitsOf(model) };
}

const undisturbed = (given: FineTuneOptions) => async (t: Test) => learned(await open(t), given);

for (const [name, given] of [
  ['everything, images augmented live', options],
  ['a head on kept features', { ...options, strategy: 'head' }],
  ['stages', { ...options, strategy: 'gradual', stages: 2 }],
] as const) {
  t.test(`${name}: used in onBatch and beside the loop`, async (t) => {
    t.testdir();
    const expected = await undisturbed(given)(t);
    const model = await open(t);
    const outcomes: Promise<string>[] = [];
    const use = () => {
      for (const [name, call] of Object.entries(uses(t))) {
        outcomes.push(
          call(model).then(
            () => `${name}: ok`,
            ({ code }) => `${name}: ${code}`,
          ),
        );
      }
    };
    // In every turn of the event loop, also where no batch has ended.
    let isOver = false;
    const beside = () => {
      if (isOver) return;
      use();
      setImmediate(beside);
    };
    setImmediate(beside);
    const onBatch = () => {
      use();
      return t.rejects(model.summary(), { code: 'BUSY', message: /being fine-tuned: await the epoch/ });
    };
    const after = () => {
      isOver = true;
      return Promise.all(outcomes);
    };
    t.same(await learned(model, { ...given, onBatch }, { after }), expected, 'what is learned is the same');
    const told = new Set(await Promise.all(outcomes));
    for (const name of Object.keys(uses(t))) t.ok(told.delete(`${name}: BUSY`), `${name} was refused`);
    // Between two epochs; and what takes several calls may come to its last ones when the loop has ended.
    const mayPass = ['summary', 'forward', 'gradCam', 'save', 'createTrainer', 'extractFeatures'];
    t.same(
      [...told].filter((one) => !mayPass.includes(one.replace(': ok', ''))),
      [],
    );
  });

  t.test(`${name}: used between epochs`, async (t) => {
    t.testdir();
    const expected = await undisturbed(given)(t);
    const model = await open(t);
    const entries = Object.entries(uses(t));
    const outcomes: string[] = [];
    const between = async () => {
      for (const [name, call] of entries) {
        const outcome = call(model).then(
          () => name,
          ({ code }) => `${name}: ${code}`,
        );
        outcomes.push(await outcome);
      }
      // One that the loop has to wait for.
      model.summary().catch(t.fail);
    };
    const found = await learned(model, given, { between });
    t.same(found, expected, 'what is learned is the same');
    const readings = ['summary', 'forward', 'gradCam', 'save'];
    const told = entries.map(([name]) => (readings.includes(name) ? name : `${name}: BUSY`));
    t.same(outcomes, [...told, ...told]);
  });
}

t.test('a call that is under way when a loop begins is waited for', async (t) => {
  const expected = await undisturbed(options)(t);
  const model = await open(t);
  const summary = model.summary();
  t.same(await learned(model), expected);
  t.ok((await summary).parameters.length);
});

t.test('onBatch may be asynchronous: the next batch waits, and a rejection ends the training', async (t) => {
  let underWay = 0;
  let most = 0;
  const onBatch = async () => {
    most = Math.max(most, ++underWay);
    await new Promise((resolve) => setImmediate(resolve));
    underWay--;
  };
  await train(await open(t), small, { ...options, onBatch });
  t.equal(most, 1);
  const model = await open(t);
  const fails = () => Promise.reject(new Error('mine'));
  await t.rejects(train(model, small, { ...options, onBatch: fails }), { message: 'mine' });
  await t.resolves(train(model, small, options), 'and the model is free again');
});

t.test('a trainer has the model while it works', async (t) => {
  const given = { learningRate: 0.01 };
  const four = { ...batch(4, 32), inputs: [images(4, 32)] };
  const steps = async (use: (model: Model) => unknown) => {
    const model = await open(t);
    const trainer = await createTrainer(model, given);
    const losses = [];
    for (let step = 0; step < 4; step++) {
      await use(model);
      const taken = trainer.step(four);
      await Promise.all([
        t.rejects(model.summary(), { code: 'BUSY', message: /A trainer is at work/ }),
        t.rejects(trainer.step(four), { code: 'BUSY' }),
        t.rejects(trainer.evaluate(four), { code: 'BUSY' }),
        t.rejects(train(model, small, options), { code: 'BUSY' }),
      ]);
      losses.push((await taken).loss);
    }
    return { losses, bits: await bitsOf(model) };
  };
  const expected = await steps(() => {});
  // Not awaited: the step waits for it.
  t.same(await steps((model) => void model.forward([image]).catch(t.fail)), expected);
});

t.test('a trainer whose training was replaced says so', async (t) => {
  for (const replace of [
    (model: Model) => createTrainer(model),
    (model: Model) => train(model, small, options),
    (model: Model) => extractFeatures(model, small, { preprocessing: options.preprocessing }),
  ]) {
    const model = await open(t);
    const trainer = await createTrainer(model, { optimizer: 'sgd' });
    await replace(model);
    await t.rejects(trainer.step(batch(4, 32)), { code: 'NOT_TRAINABLE', message: /createTrainer/ });
  }
});
