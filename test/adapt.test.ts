/** The first of two steps: a copy learns related data, a probe judges it on the target, the card keeps the lineage. */
import t from 'tap';
import { adapt, fineTune, type ImageDataset } from '../src/index.js';
import { backbone, bitsOf, defects, open, quick } from './defects.js';

const fast = { ...quick, preprocessing: { size: 96, resize: 96 }, batchSize: 16 };

/** The images of some classes alone. */
function only({ splits, classes, ...rest }: ImageDataset, wanted: string[]): ImageDataset {
  const pick = (samples: typeof splits.train) =>
    samples
      .filter(({ label }) => wanted.includes(classes[label] as string))
      .map(({ path, label }) => ({ path, label: wanted.indexOf(classes[label] as string) }));
  return { ...rest, classes: wanted, splits: { train: pick(splits.train), val: pick(splits.val) } };
}

t.test('adapt trains a copy, judges it on the target, and the second step tells of the first', async (t) => {
  const data = defects(120, 120);
  const related = only(data, ['crack', 'dent', 'ok']);
  const target = only(data, ['pores', 'scratch', 'stain']);
  related.summary = { ...related.summary, source: 'related images' };
  const model = await open(t, backbone);
  const before = await bitsOf(model);
  const {
    model: adapted,
    result,
    check,
  } = await adapt(model, related, {
    target,
    fineTune: { ...fast, strategy: 'full', epochs: 2, learningRate: 1e-3 },
  });
  t.teardown(() => adapted.dispose());
  t.same(await bitsOf(model), before, 'the model given stays as it is');
  t.equal(model.card, undefined);
  t.same(adapted.card?.classes, related.classes);
  t.ok(result.best.validation.accuracy > 0.5, 'it learned the related classes');
  const moved = Object.entries(await bitsOf(adapted)).filter(([name, bits]) => before[name] !== bits);
  t.ok(moved.length > 4, 'more than a head moved');
  t.match(check, { verdict: /^(help|neutral|harm)$/, metric: 'macroF1' });
  const { before: first, after, difference } = check ?? { before: 0, after: 0, difference: undefined };
  t.ok(Math.abs(after - first - (difference?.value ?? 0)) < 1e-12, 'the difference is of the two probes');
  t.match(check?.text, /on the target's 60 validation images goes from 0\.\d+ to 0\.\d+ in macro F1/);

  const run = fineTune(adapted, target, fast);
  for await (const _ of run);
  t.match(adapted.card, {
    classes: target.classes,
    provenance: { before: { data: { source: 'related images' }, options: { strategy: 'full' } } },
  });
});

t.test('without a target nothing is judged, and mistakes are refused', async (t) => {
  const model = await open(t, backbone);
  const { model: adapted, check } = await adapt(model, defects(12, 12), { fineTune: fast });
  await adapted.dispose();
  t.equal(check, undefined);
  await t.rejects(adapt(model, defects(12, 12), { targte: 1 } as never), { message: /`target`/ });
  await t.rejects(adapt(model, {} as never), { code: 'INVALID_TYPE' });
  await t.rejects(adapt(model, defects(12, 12), { fineTune: { strategy: 'best' as never } }), {
    code: 'INVALID_VALUE',
  });
});
