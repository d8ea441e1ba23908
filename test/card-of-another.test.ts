/** A card that names other classes than the model has outputs: refused, never taken for predictions of other images. */
import { join } from 'node:path';
import t from 'tap';
import {
  createPredictor,
  fineTune,
  type ImageDataset,
  loadClassifier,
  loadModel,
  type ModelCard,
} from '../src/index.js';
import { defects, open, quick } from './defects.js';

const small = defects(12, 6);
const images = small.splits.val.slice(0, 3).map(({ path }) => path);

/** The same images with other classes. */
function relabelled(classes: string[]): ImageDataset<'single-label'> {
  const relabel = (samples: typeof small.splits.val) =>
    samples.map((sample, at) => ({ ...sample, label: at % classes.length }));
  const { train, val } = small.splits;
  return { ...small, classes, splits: { train: relabel(train), val: relabel(val) } };
}

for (const classes of [['a', 'b', 'c'], [...small.classes, 'one more'], ['a']]) {
  t.test(`six outputs and ${classes.length} names`, async (t) => {
    const file = join(t.testdir(), 'model.pt');
    const model = await open(t);
    await fineTune(model, small, quick);
    await model.save(file, { ...(model.card as ModelCard), classes });
    const n = classes.length;
    const refusal = (count: number) => ({
      code: 'MODEL_FAILED',
      message: `outputs [${count}, 6] for ${count} image${count === 1 ? '' : 's'}, and its card names ${n} class`,
    });
    await using classifier = await loadClassifier(file);
    await t.rejects(classifier.predict(images), refusal(3));
    await t.rejects(classifier.predict(images.slice(0, 1)), refusal(1));
    await t.rejects(classifier.predict(images, { tta: 'flip' }), refusal(3));
    await t.rejects(classifier.gradCam(images), refusal(3));
    if (n > 1) await t.rejects(classifier.evaluate(relabelled(classes)), refusal(6));
    await t.rejects(createPredictor(file, { threads: 1 }), refusal(1));

    if (n === 1) return;
    // A fine-tuning to the classes of the card does not go on with a head that is not theirs.
    await using again = await loadModel(file);
    await fineTune(again, relabelled(classes), quick);
    await again.save(file);
    await using mended = await loadClassifier(file);
    const predictions = await mended.predict(images);
    t.equal(predictions.length, 3);
    t.equal(predictions[0]?.logits.length, n);
  });
}

t.test('a predictor goes on with its model where the new one has another card', async (t) => {
  const file = join(t.testdir(), 'model.pt');
  const model = await open(t);
  await fineTune(model, small, quick);
  await model.save(file);
  await using predictor = await createPredictor(file, { threads: 1 });
  await model.save(file, { ...(model.card as ModelCard), classes: ['a', 'b', 'c'] });
  await t.rejects(predictor.swap(file), { code: 'MODEL_FAILED', message: 'its card names 3 classes' });
  t.equal((await predictor.predict(images[0] as string)).logits.length, 6);
});
