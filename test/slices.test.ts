/** Slices: where they come from, their metrics beside numbers worked out by hand, and what is too little to tell. */
import { join } from 'node:path';
import t from 'tap';
import { groupScores, imageFolder, imageManifest, type SliceRules, sliceMetrics } from '../src/index.js';
import type { ClassificationScores } from '../src/metrics/scores.js';
import { wilson } from '../src/metrics/wilson.js';
import { sliceTables } from '../src/report/slice-tables.js';

/** Scores of two classes: what is predicted has the probability 0.9. */
function scoresOf(labels: number[], predicted: number[]): ClassificationScores {
  const probabilities = Float32Array.from(
    predicted.flatMap((guess) => (guess === 0 ? [0.9, 0.1] : [0.1, 0.9])),
  );
  return {
    labels: Int32Array.from(labels),
    predicted: Int32Array.from(predicted),
    probabilities,
    nll: Float64Array.from(labels, (label, row) => -Math.log(probabilities[2 * row + label] as number)),
  };
}

/** `count` samples of a slice, half of each class, of which the first `right` of each class are predicted rightly. */
function slice(value: string, half: number, right: number) {
  return [0, 1].flatMap((label) =>
    Array.from({ length: half }, (_, at) => ({ value, label, guess: at < right ? label : 1 - label })),
  );
}

function measure(samples: { value: string; label: number; guess: number }[], options = {}) {
  const scores = scoresOf(
    samples.map(({ label }) => label),
    samples.map(({ guess }) => guess),
  );
  return sliceMetrics(
    scores,
    samples.map(({ value }) => value),
    ['a', 'b'],
    options,
  );
}

const names = ['1.jpg', '2.jpg', '3.jpg', '4.jpg'];
const images = { a: { '1.jpg': '1', '2.jpg': '22' }, b: { '3.jpg': '333', '4.jpg': '4444' } };

t.test('columns of a manifest, and a rule on the path', async (t) => {
  const list = [
    'path,label,split,scanner,site',
    'a/1.jpg,cat,train,S1,north',
    'a/2.jpg,cat,val,,south',
    'b/3.jpg,dog,train,S2,north',
    'b/4.jpg,dog,val,S2,south',
  ].join('\n');
  const dir = t.testdir({ ...images, 'list.csv': list });
  const file = join(dir, 'list.csv');
  const plain = await imageManifest(file);
  t.notOk(plain.splits.train.some((sample) => 'slices' in sample));
  const { splits, summary } = await imageManifest(file, { slices: ['scanner', { number: '(\\d)\\.jpg$' }] });
  t.same(
    [...splits.train, ...splits.val].map(({ slices }) => slices),
    [
      { scanner: 'S1', number: '1' },
      { scanner: 'S2', number: '3' },
      { scanner: '(none)', number: '2' },
      { scanner: 'S2', number: '4' },
    ],
  );
  t.equal(summary.fingerprint, plain.summary.fingerprint, 'the images are the same');
  const rejects = (slices: SliceRules, message: RegExp) =>
    t.rejects(imageManifest(file, { slices }), { message });
  await rejects(['scaner'], /no column `scaner`\. Did you mean `scanner`\?/);
  await rejects(['scanner', { scanner: '(a)' }], /`scanner` is given twice/);
  await rejects([{ site: 'nothing-(\\d)' }], /rule of slice `site`.*fits no path/);
  await rejects([{ site: 'no group' }], /no group/);
  await rejects([{ site: '(' }], /no regular expression/);
  await rejects(() => ({ site: 1 }) as never, /expected texts by slice/);
  await rejects('scanner' as never, /expected a list of columns/);
});

t.test('a folder: a rule with flags, or a function', async (t) => {
  const dir = t.testdir({ train: images, val: structuredClone(images) });
  const ruled = await imageFolder(dir, { slices: [{ number: /\/(\d)\.JPG$/gi }] });
  t.same(
    ruled.splits.train.map(({ slices }) => slices?.number),
    names.map((name) => name[0]),
  );
  const told = await imageFolder(dir, {
    slices: ({ name, class: own, split }) => ({ from: `${split} ${own} ${name.length}` }),
  });
  t.same(told.splits.val.at(-1)?.slices, { from: 'val b 11' });
  await t.rejects(imageFolder(dir, { slices: ['site'] }), { message: /a folder has no columns/ });
});

t.test('accuracy, macro F1, gap and standing of a slice that is worse', async (t) => {
  const report = measure([...slice('bad', 50, 25), ...slice('good', 100, 90), ...slice('fine', 100, 88)]);
  t.same(
    report.slices.map(({ value, count, accuracy }) => [value, count, accuracy.value]),
    [
      ['bad', 100, 0.5],
      ['fine', 200, 0.88],
      ['good', 200, 0.9],
    ],
  );
  const [bad, fine] = report.slices;
  t.ok(Math.abs((bad?.macroF1.value as number) - 0.5) < 1e-12);
  t.ok(Math.abs((bad?.toRest?.difference as number) - (0.5 - 0.89)) < 1e-12);
  t.equal(bad?.standing, 'worse');
  t.not(fine?.standing, 'worse');
  t.equal(report.worst, 'bad');
  t.match(report.gap, { best: 'good', worst: 'bad' });
  t.ok(Math.abs((report.gap?.value as number) - 0.4) < 1e-12);
  // The normal approximation of the difference: 1.96 sqrt(.25/100 + .09/200) = 0.106.
  t.ok(Math.abs((report.gap?.low as number) - 0.294) < 0.03);
  t.ok(Math.abs((report.gap?.high as number) - 0.506) < 0.03);
  t.ok((report.gap?.chance as number) < 0.01);
  t.match(
    report.verdict,
    /gap of 40\.0 points of accuracy between good and bad.*more than chance: less than 1 %/,
  );
  const text = sliceTables({ name: 'site', ...report });
  t.match(text, /bad +100 +0\.5000/);
  t.match(text, /worse; the worst/);
});

t.test('equal slices: the gap may be chance, and none is worse', async (t) => {
  const report = measure([...slice('x', 50, 40), ...slice('y', 50, 41)]);
  t.ok((report.gap?.chance as number) > 0.5);
  t.match(report.verdict, /may be chance/);
  t.same([...new Set(report.slices.map(({ standing }) => standing))], ['no difference seen']);
});

t.test('macro F1 is over the classes that a slice has', async (t) => {
  // Eleven of class 0, one taken for class 1: F1 = 2 * 10 / (11 + 10); f1_score(..., labels=[0], average='macro').
  const only = Array.from({ length: 11 }, (_, at) => ({ value: 'only', label: 0, guess: at === 0 ? 1 : 0 }));
  const report = measure([...only, ...slice('other', 20, 15)]);
  t.ok(Math.abs((report.slices[0]?.macroF1.value as number) - 20 / 21) < 1e-12);
});

t.test('too few to tell: by count, and by a wide interval', async (t) => {
  const report = measure([...slice('big', 50, 30), ...slice('nine', 4, 2), ...slice('twelve', 6, 3)]);
  const standing = Object.fromEntries(report.slices.map((one) => [one.value, one.standing]));
  t.same(standing, { big: 'no difference seen', nine: 'too few to tell', twelve: 'too few to tell' });
  t.ok(wilson(6, 12)[1] - wilson(6, 12)[0] > 0.4);
  t.equal(report.worst, 'big', 'the worst is of those that can be told');
  t.equal(report.gap, null);
  t.match(report.verdict, /Only one slice has enough images.*nine \(8 images\), twelve \(12 images\)/);
  t.equal(report.slices[1]?.toRest, null);
  const few = measure(slice('few', 2, 1));
  t.match(few, { worst: null, gap: null, worstGroup: null, verdict: /Too few images to tell/ });
  t.equal(measure(slice('few', 2, 1), { least: 2, widest: 1 }).worst, 'few');
});

t.test('a slice that is all right is not said to be better of a dozen images', async (t) => {
  const report = measure([...slice('dozen', 6, 6), ...slice('rest', 100, 92)]);
  const [dozen] = report.slices;
  t.same([dozen?.accuracy.low, dozen?.accuracy.high], wilson(12, 12), 'twelve of twelve leave doubt');
  t.same(dozen?.score, dozen?.accuracy);
  t.equal(dozen?.macroF1.method, 'bootstrap and wilson');
  t.ok((dozen?.macroF1.low as number) < 0.95, `macro F1 from ${dozen?.macroF1.low}`);
  t.equal(dozen?.standing, 'no difference seen');
});

t.test('other metrics, of which a smaller value may be better', async (t) => {
  const samples = [...slice('bad', 50, 25), ...slice('good', 100, 90)];
  const report = measure(samples, { metric: 'brier', resamples: 200 });
  t.equal(report.worst, 'bad');
  t.equal(report.slices[0]?.standing, 'worse');
  const [low, value, high] = [report.gap?.low, report.gap?.value, report.gap?.high] as number[];
  t.ok((low as number) > 0 && (low as number) < (value as number) && (value as number) < (high as number));
  t.throws(() => measure(samples, { metric: 'accurasy' }), { code: 'INVALID_VALUE' });
  t.throws(() => measure(samples, { leest: 3 }), { message: /unknown option `leest`.*`least`/ });
});

t.test('groups are slice by class', async (t) => {
  const labels = Int32Array.of(0, 0, 1, 1, 1, 0);
  const predicted = Int32Array.of(0, 1, 1, 1, 0, 0);
  const groups = groupScores({ labels, predicted }, ['x', 'x', 'x', 'y', 'y', 'y'], ['a', 'b']);
  t.same(
    groups.map(({ value, class: name, count, accuracy }) => [value, name, count, accuracy]),
    [
      ['x', 'a', 2, 0.5],
      ['x', 'b', 1, 1],
      ['y', 'a', 1, 1],
      ['y', 'b', 2, 0.5],
    ],
  );
  const report = measure([...slice('s', 40, 30), ...slice('t', 40, 35)]);
  t.match(report.worstGroup, { value: 's', count: 40, accuracy: 0.75 });
});
