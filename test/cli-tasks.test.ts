/** `train`, `report`, `eval` and `predict` on multi-label data and regressions. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { lines, torchgraft } from './command-line.js';
import { residual } from './defects.js';
import { drawColours, drawGreys } from './task-images.js';

const scratch = t.testdir({});
const quick = [
  '--epochs',
  '8',
  '--batch-size',
  '16',
  '--strategy',
  'full',
  '--learning-rate',
  '0.01',
  '--image-size',
  '32',
];
const plain = ['--augment', 'light', '--precision', 'float32'];

async function trained(t: Test, data: string, out: string) {
  const asked = ['train', '--model', residual, '--data', data, '--out', out, ...quick, ...plain];
  asked.push('--slice', 'site');
  const run = await torchgraft([...asked, '--tensorboard', '--json']);
  t.equal(run.code, 0, run.stderr);
  const events = lines(run.stdout);
  return {
    run,
    events,
    done: events.at(-1),
    record: JSON.parse(readFileSync(join(out, 'run.json'), 'utf8')),
  };
}

t.test('multi-label', async (t) => {
  const data = await drawColours(join(scratch, 'colours'), 120);
  const out = join(scratch, 'labels');
  const { run, events, done, record } = await trained(t, data, out);
  t.match(run.stderr, /3 labels \(multi-label\), 90 train, 30 val/);
  t.match(run.stderr, /note {3}Without learning: labels in an order at random/);
  t.match(run.stderr, /val loss \d.*mAP 0\.\d+ macro F1/);
  t.match(run.stderr, /mean of labels \(macro\)/);
  t.notMatch(run.stderr, /NaN|undefined/);
  const epoch = events.find(({ event }) => event === 'epoch');
  t.equal(epoch.trainAccuracy, null);
  t.type(epoch.valMeanAveragePrecision, 'number');
  t.equal(epoch.valAccuracy, undefined);
  t.equal(
    done.bestValMeanAveragePrecision,
    record.epochs[done.bestEpoch - 1].metrics.valMeanAveragePrecision,
  );
  t.same([record.data.task, record.options.loss.kind], ['multi-label', 'bceWithLogits']);

  const again = await torchgraft(['report', out]);
  t.equal(again.code, 0, again.stderr);
  const page = readFileSync(join(out, 'report.html'), 'utf8');
  t.match(page, /<h1>mAP 0?\.?\d/);
  t.match(page, /find 3 labels/);
  t.match(page, /Label by label/);
  t.notMatch(page, /id="confusion"|id="mistakes"|NaN|undefined/);
  t.match(page, /href="#slices".*id="slices".*beside their labels.*Macro F1 by slice/s);

  const judged = await torchgraft(['eval', out, '--data', data, '--json']);
  const { metrics, predictions } = JSON.parse(judged.stdout);
  t.equal(metrics.meanAveragePrecision, done.bestValMeanAveragePrecision);
  t.equal(predictions.length, 30);
  t.match((await torchgraft(['eval', out, '--data', data])).stdout, /val: 30 images, loss .* mAP/);
  const sliced = await torchgraft(['eval', out, '--data', data, '--slice', 'site']);
  t.equal(sliced.code, 0, sliced.stderr);
  t.match(sliced.stdout, /Too few images to tell.*\n\nsite +images +macroF1 +interval/);
  t.match(sliced.stdout, /site +label +images +recall/);
  const [slices] = JSON.parse(
    (await torchgraft(['eval', out, '--data', data, '--slice', 'site', '--json'])).stdout,
  ).slices;
  t.same(slices, record.slices[0], 'the same as when training ended');
  const image = join(scratch, 'colours', '3.png');
  const told = await torchgraft(['predict', out, image, '--threshold', '0']);
  t.equal(told.stdout.match(/%/g)?.length, 3);
  t.match((await torchgraft(['predict', out, image, '--threshold', '1'])).stdout, /\(no label\)/);
  const [prediction] = JSON.parse((await torchgraft(['predict', out, image, '--json'])).stdout).predictions;
  t.ok(Array.isArray(prediction.labels) && prediction.logits.length === 3);
  const odd = await torchgraft([
    'train',
    '--model',
    residual,
    '--data',
    data,
    '--out',
    out,
    '--overwrite',
    '--sampler',
    'balanced',
  ]);
  t.equal(odd.code, 2);
  t.match(odd.stderr, /the data is multi-label, and `sampler` balanced/);
  for (const command of ['check', 'rank']) {
    const refused = await torchgraft([
      command,
      ...(command === 'check' ? ['--model'] : []),
      residual,
      '--data',
      data,
    ]);
    t.not(refused.code, 0);
    t.match(refused.stderr, /is for one class an image/);
  }
});

t.test('regression', async (t) => {
  const data = await drawGreys(join(scratch, 'greys'), 96);
  const out = join(scratch, 'numbers');
  const { run, done, record } = await trained(t, data, out);
  t.match(run.stderr, /2 targets \(regression\)/);
  t.match(run.stderr, /best {3}epoch \d.*: val MAE [\d.]+ RMSE [\d.]+ R2/);
  t.notMatch(run.stderr, /NaN|undefined/);
  const { bestEpoch, baseline, epochs } = record;
  const best = epochs[bestEpoch - 1].validation;
  t.ok(best.rmse < 0.8 * baseline.validation.rmse, `RMSE ${best.rmse} after ${baseline.validation.rmse}`);
  t.equal(done.bestValRmse, best.rmse);
  const page = readFileSync(join(out, 'report.html'), 'utf8');
  t.match(page, /predict 2 numbers/);
  t.match(page, /Target by target/);
  t.notMatch(page, /NaN|undefined|classes apart/);
  t.match(page, /id="slices".*MAE is in the unit of the target.*site, light.*site, dark/s);
  t.match(run.stderr, /slices site, light: .*\n.*slices site, dark: /);
  const sliced = await torchgraft(['eval', out, '--data', data, '--slice', 'site']);
  t.match(sliced.stdout, /site, light +images +mae +interval +to the rest/);
  t.notMatch(sliced.stdout, /recall/);
  const { metrics } = JSON.parse((await torchgraft(['eval', out, '--data', data, '--json'])).stdout);
  t.ok(Math.abs(metrics.mae - best.mae) < 1e-4);
  const image = join(scratch, 'greys', '3.png');
  const told = await torchgraft(['predict', out, image]);
  t.match(told.stdout, /light \d[\d.]*, dark -?\d/);
  const [{ values }] = JSON.parse((await torchgraft(['predict', out, image, '--json'])).stdout).predictions;
  t.same(Object.keys(values), ['light', 'dark']);
  t.ok(existsSync(join(out, 'checkpoint.pt')));
});
