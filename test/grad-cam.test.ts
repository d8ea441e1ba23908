/** Grad-CAM of images by a classifier, and of tensors by a model. */
import { join } from 'node:path';
import t from 'tap';
import { type Classifier, type GradCamMap, loadClassifier } from '../src/index.js';
import { bitsOf, defects, fixtureModel, open, quick, train } from './defects.js';

const data = defects(12, 6);
const images = data.splits.val.map(({ path }) => path);
const folder = t.testdir();
const file = join(folder, 'model.pt');
const model = await open(t);
await train(model, data, { ...quick, strategy: 'full', learningRate: 0.01 });
await model.save(file);
const classifier: Classifier = await loadClassifier(file, { device: 'cpu', threads: 1 });
t.teardown(() => classifier.dispose());

t.test('a classifier explains the class that it predicts, and any other', async (t) => {
  const before = await bitsOf(classifier.model);
  const predictions = await classifier.predict(images, { top: 1 });
  const maps = await classifier.gradCam(images, { batchSize: 4 });
  t.same(
    maps.map((map) => map.class),
    predictions.map(({ top }) => top[0]?.class),
  );
  for (const { values, width, height, index } of maps) {
    t.same([width, height, values.length], [32, 32, 1024]);
    t.equal(classifier.classes[index], maps.find((map) => map.index === index)?.class);
    t.ok(values.every((value) => value >= 0 && value <= 1));
    t.ok([0, 1].includes(Math.max(...values)));
  }
  t.ok(maps.some(({ values }) => values.some((value) => value === 1)));
  const [image] = images as [string];
  const both = await classifier.gradCam([image, image], { classes: classifier.classes.slice(0, 2) });
  const [one, other] = both as [GradCamMap, GradCamMap];
  t.same([one.class, other.class], classifier.classes.slice(0, 2));
  t.ok(one.values.some((value, i) => Math.abs(value - (other.values[i] as number)) > 0.05));
  t.same(await bitsOf(classifier.model), before);
  // Calls beside each other wait for their turn.
  const [beside] = await Promise.all([classifier.gradCam(images), classifier.predict(images)]);
  t.ok(
    beside.every(({ values }, i) =>
      values.every((value, at) => Math.abs(value - (maps[i]?.values[at] as number)) < 1e-5),
    ),
    'whatever the size of a batch',
  );
});

t.test('a model explains what its forward takes', async (t) => {
  const inputs = [
    {
      data: Float32Array.from({ length: 2 * 3 * 64 }, (_, i) => Math.sin(i)),
      shape: [2, 3, 8, 8],
      dtype: 'float32' as const,
    },
  ];
  const { maps, classes, logits } = await model.gradCam(inputs);
  t.same(maps.shape, [2, 8, 8]);
  t.same(logits, await model.forward(inputs));
  const given = await model.gradCam(inputs, { classes: [...classes] });
  t.same(given.maps, maps);
  await t.rejects(model.gradCam(inputs, { classes: [0] }), { code: 'SHAPE_MISMATCH' });
  await t.rejects(model.gradCam(inputs, { classes: [0, 99] }), { code: 'INVALID_VALUE' });
  await t.rejects(model.gradCam(inputs, { class: [0] } as never), {
    code: 'INVALID_TYPE',
    message: /`classes`/,
  });
});

t.test('what cannot be is refused', async (t) => {
  await t.rejects(classifier.gradCam(images, { classes: ['crack'] }), {
    code: 'INVALID_VALUE',
    message: /1 names for 6 images/,
  });
  await t.rejects(classifier.gradCam(images.slice(0, 1), { classes: ['crakc'] }), {
    code: 'INVALID_VALUE',
    message: /crack/,
  });
  await t.rejects(classifier.gradCam('image.jpg' as never), { code: 'INVALID_TYPE' });
  await t.rejects(classifier.gradCam(images, { signal: AbortSignal.abort() }), { code: 'ABORTED' });
  const without = await open(t, fixtureModel('no-bias'));
  const inputs = [{ data: new Float32Array(8), shape: [2, 4], dtype: 'float32' as const }];
  await t.rejects(without.gradCam(inputs), { code: 'NO_HEAD', message: /No map of features/ });
});
