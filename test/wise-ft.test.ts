/** wiseFt: weights between two models, what is chosen of them, and a chart. */
import t from 'tap';
import { choosePoint } from '../src/forgetting/wise-ft.js';
import { fineTune, renderWiseFtChart, type WiseFtPoint, wiseFt } from '../src/index.js';
import { bitsOf, defects, fixtureModel, open, quick, train } from './defects.js';

const small = defects(20, 12);
const retain = { images: small.splits.val.map(({ path }) => path) };
const file = fixtureModel('residual');
const reading = { threads: 1, batchSize: 4 };

async function tuned(t: { teardown(free: () => unknown): unknown }) {
  const model = await open(t, file);
  const options = { ...quick, strategy: 'full', epochs: 2, learningRate: 0.02, retain } as const;
  const run = fineTune(model, small, { ...options, earlyStopping: { metric: 'trainLoss' } });
  for await (const _ of run);
  return { model, result: run.result as NonNullable<typeof run.result> };
}

t.test('from the pretrained trunk to the fine-tuned one', async (t) => {
  const { model, result } = await tuned(t);
  const source = await open(t, file);
  const untouched = await bitsOf(source);
  const before = await bitsOf(model);
  const swept = await wiseFt(model, source, small, { ...reading, retain, alphas: [1, 0, 0.5] });
  t.same(
    swept.points.map(({ alpha }) => alpha),
    [0, 0.5, 1],
  );
  t.notOk(swept.isHeadInterpolated);
  const [start, middle, end] = swept.points as [WiseFtPoint, WiseFtPoint, WiseFtPoint];
  t.same(start.retention, { agreement: 1, divergence: 0 }, 'alpha 0 is the source');
  t.same(end.retention, result.retention?.after, 'alpha 1 is what fineTune measured');
  t.same(end.validation.accuracy, result.best.validation.accuracy);
  t.ok((middle.retention?.divergence ?? 0) > 0);
  t.ok((middle.retention?.divergence ?? 9) < (end.retention?.divergence ?? 0));
  t.same(await bitsOf(source), untouched, 'the source is only read');
  const metrics = model.card?.metrics as { wiseFt?: { alpha: number } };
  t.equal(metrics.wiseFt?.alpha, swept.chosen.alpha);
  // Back at the end: the very same bits.
  await wiseFt(model, await tuned(t).then((again) => again.model), small, { ...reading, alphas: [0, 1] });
  t.same((await bitsOf(model))['fc.weight'], before['fc.weight'], 'the head stayed');
  const svg = await renderWiseFtChart(swept);
  t.match(svg, /^<svg /);
  t.ok(svg.includes('agreement with the source') && svg.includes('chosen'));
});

t.test('the middle is the mean, and statistics move too', async (t) => {
  const { model } = await tuned(t);
  const source = await open(t, file);
  const names = ['conv1.weight', 'bn1.running_var', 'block.conv2.weight'];
  const [from, to] = [await source.native.values(names), await model.native.values(names)];
  await wiseFt(model, source, small, { ...reading, alphas: [0.25, 0.25000001] });
  const now = await model.native.values(names);
  for (const [i, name] of names.entries()) {
    const largest = Math.max(
      ...Array.from((now[i]?.data ?? []) as Float32Array, (value, at) => {
        const wanted = 0.75 * Number(from[i]?.data[at]) + 0.25 * Number(to[i]?.data[at]);
        return Math.abs(value - wanted);
      }),
    );
    t.ok(largest < 1e-5, name);
  }
});

t.test('the head goes along where fine-tuning began with one', async (t) => {
  const model = await open(t, file);
  await train(model, small, { ...quick, epochs: 1 });
  const start = await open(t, file);
  await train(start, small, { ...quick, epochs: 1 });
  t.same(await bitsOf(start), await bitsOf(model), 'the probe is deterministic');
  await train(model, small, {
    ...{ ...quick, strategy: 'full', epochs: 1, learningRate: 0.02 },
    earlyStopping: { metric: 'trainLoss' },
  });
  const source = await open(t, file);
  const swept = await wiseFt(model, source, small, { ...reading, start, alphas: [0, 1], choose: 'accuracy' });
  t.ok(swept.isHeadInterpolated);
  const { validation } = swept.points[0] as WiseFtPoint;
  const other = await wiseFt(start, source, small, { ...reading, alphas: [0, 1] });
  t.equal(validation.accuracy, other.points[1]?.validation.accuracy, 'alpha 0 is the probe');
});

t.test('the rules of choosing', (t) => {
  const point = (alpha: number, accuracy: number, agreement: number, loss = 0.1) =>
    ({ alpha, validation: { accuracy, loss }, retention: { agreement, divergence: 0 } }) as WiseFtPoint;
  const points = [point(0, 0.5, 1), point(0.4, 0.9, 0.9), point(0.7, 0.91, 0.6), point(1, 0.91, 0.3)];
  t.equal(choosePoint(points, { choose: 'accuracy', tolerance: 0 }).alpha, 0.7);
  t.equal(choosePoint(points, { choose: 'retention', tolerance: 0.02 }).alpha, 0.4);
  t.equal(choosePoint(points, { choose: 'retention', tolerance: 0 }).alpha, 0.7);
  t.equal(choosePoint(points, { choose: 'retention', tolerance: 1 }).alpha, 0);
  const ties = [
    point(0, 0.5, 1),
    point(0.4, 0.9, 0.8, 0.5),
    point(0.7, 0.9, 0.8, 0.06),
    point(1, 0.9, 0.8, 0.4),
  ];
  t.equal(choosePoint(ties, { choose: 'accuracy', tolerance: 0 }).alpha, 0.7, 'the lowest loss');
  t.equal(choosePoint(ties, { choose: 'retention', tolerance: 0 }).alpha, 0.7, 'here too');
  t.end();
});

t.test('refusals leave the model as it is', async (t) => {
  const { model } = await tuned(t);
  const source = await open(t, file);
  const before = await bitsOf(model);
  await t.rejects(wiseFt(source, model, small), { code: 'INVALID_VALUE' });
  await t.rejects(wiseFt(model, source, small, { choose: 'retention' }), /retain/);
  await t.rejects(wiseFt(model, source, small, { alpha: [0] } as never), { code: 'INVALID_TYPE' });
  await t.rejects(wiseFt(model, source, small, { start: source }), /another head/);
  await t.rejects(wiseFt({} as never, source, small), { code: 'INVALID_TYPE' });
  const controller = new AbortController();
  controller.abort();
  await t.rejects(wiseFt(model, source, small, { ...reading, signal: controller.signal }), {
    code: 'ABORTED',
  });
  t.same(await bitsOf(model), before);
});
