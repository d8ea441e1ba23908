/** Models of unusual kinds through the public functions: said, converted, refused before anything is lost. */
import { join } from 'node:path';
import t from 'tap';
import { createPredictor, fineTune, loadClassifier } from '../src/index.js';
import { defects, fixtureModel, open, quick, train } from './defects.js';

const small = defects(6, 2);
const kind = (name: string) => fixtureModel(`../kinds/${name}`);
const options = { ...quick, strategy: 'head', epochs: 1 } as const;

for (const name of ['half-casting', 'double', 'gpu-traced', 'traced-train']) {
  t.test(`${name} is fine-tuned, saved and served, and the run says what was changed`, async (t) => {
    const model = await open(t, kind(name));
    t.match(
      model.notices.join(' '),
      /converted to float32|was changed to cpu|now follow train and eval mode/,
    );
    await train(model, small, options);
    const file = join(t.testdir(), 'model.pt');
    await model.save(file);
    const classifier = await loadClassifier(file, { device: 'cpu' });
    t.teardown(() => classifier.dispose());
    const path = small.splits.val[0]?.path as string;
    const [first] = await classifier.predict([path]);
    const [again] = await classifier.predict([path]);
    t.same(again, first);
  });
}

t.test('a model that would answer differently each time is neither trained nor served', async (t) => {
  const refusal = {
    code: 'MODEL_FAILED',
    message: /draws random numbers in eval mode too.*Trace it in eval mode/,
  };
  for (const name of ['random-depth', 'always-drops']) {
    await t.rejects(fineTuned(await open(t, kind(name))), refusal);
    await t.rejects(loadClassifier(kind(name), { device: 'cpu' }), refusal);
    await t.rejects(createPredictor(kind(name), { device: 'cpu' }), refusal);
  }
  async function fineTuned(model: Awaited<ReturnType<typeof open>>) {
    for await (const _ of fineTune(model, small, options));
  }
});

t.test('a quantised model is refused for training, in words', async (t) => {
  const model = await open(t, kind('quantised'));
  const refusal = { code: 'NOT_TRAINABLE', message: /8-bit weights.*Export the float32 model/ };
  await t.rejects(model.replaceHead({ classes: 2 }), refusal);
  await t.rejects(train(model, small, options), refusal);
  t.match(model.notices[0], /is quantised/);
});

t.test('tied parameters go by all their names', async (t) => {
  const model = await open(t, kind('tied-tensor'));
  t.same(model.select('b'), ['a.weight', 'b.bias']);
  t.same(model.select('b.weight'), ['a.weight']);
  t.same(model.select({ last: 2 }), ['a.weight', 'b.bias', 'fc.weight', 'fc.bias']);
  await model.setTrainable(['b.weight']);
  t.same(model.trainable, ['a.weight']);
  await model.freeze('b');
  t.same(model.trainable, []);
  await t.rejects(model.setTrainable(['b.wieght']), { code: 'INVALID_VALUE', message: /b\.wieght/ });
});
