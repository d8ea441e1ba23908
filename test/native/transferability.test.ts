/** LogME, H-score and ridge regression beside numpy and scikit-learn (scripts/fixtures-transferability.py). */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import type { Tensor } from '../../src/native.js';
import { outcomeOf } from '../process/tiny.js';
import { native } from './fixtures.js';

interface Ridge {
  lambda: number;
  weight: string;
  bias: string;
}
interface Case {
  name: string;
  shape: [number, number];
  features: string;
  labels: number[];
  classes: number;
  logME: number;
  hScore: number;
  shrunkHScore: number;
  oneHot: Ridge[];
  targets: string;
  given: Ridge[];
}
const path = fileURLToPath(new URL('../fixtures/transferability.json.gz', import.meta.url));
const { cases } = JSON.parse(gunzipSync(readFileSync(path)).toString()) as { cases: Case[] };

const bytesOf = (text: string) => new Uint8Array(Buffer.from(text, 'base64')).buffer;
const doubles = (text: string) => new Float64Array(bytesOf(text));
const featuresOf = ({ features, shape }: Case): Tensor => ({
  data: new Float32Array(bytesOf(features)),
  shape,
  dtype: 'float32',
});
const isNear = (ours: number, theirs: number) =>
  Math.abs(ours - theirs) <= 1e-6 * Math.max(1, Math.abs(theirs));
/** Relative to the largest. */
function farthest(ours: Tensor, theirs: Float64Array): number {
  if (ours.data.length !== theirs.length) return Number.POSITIVE_INFINITY;
  const scale = theirs.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-3);
  return theirs.reduce((most, value, i) => Math.max(most, Math.abs(Number(ours.data[i]) - value)), 0) / scale;
}

for (const given of cases) {
  const { name, labels, classes, shape } = given;
  const [features, indices] = [featuresOf(given), Int32Array.from(labels)];

  t.test(`scores: ${name}`, async (t) => {
    const logME = await native.logME(features, indices, classes);
    t.ok(isNear(logME, given.logME), `LogME ${logME} for ${given.logME}`);
    for (const shrinkage of [false, true]) {
      const score = await native.hScore(features, indices, classes, shrinkage);
      const expected = shrinkage ? given.shrunkHScore : given.hScore;
      t.ok(isNear(score, expected), `H-score ${score} for ${expected}, shrinkage ${shrinkage}`);
    }
  });

  t.test(`ridge: ${name}`, async (t) => {
    const oneHot = new Float32Array(labels.length * classes);
    for (const [row, label] of labels.entries()) oneHot[row * classes + label] = 1;
    const wanted: [Tensor, Ridge[]][] = [
      [{ data: oneHot, shape: [labels.length, classes], dtype: 'float32' }, given.oneHot],
      [{ data: doubles(given.targets), shape: [labels.length, 2], dtype: 'float64' }, given.given],
    ];
    for (const [targets, expected] of wanted) {
      const lambdas = expected.map(({ lambda }) => lambda);
      const solved = await native.ridge(features, targets, lambdas);
      t.equal(solved.length, lambdas.length);
      for (const [i, { weight, bias }] of solved.entries()) {
        const { lambda, ...theirs } = expected[i] as Ridge;
        t.same([weight.shape, bias.shape], [[targets.shape[1], shape[1]], [targets.shape[1]]]);
        t.same([weight.dtype, bias.dtype], ['float32', 'float32']);
        t.ok(farthest(weight, doubles(theirs.weight)) < 1e-6, `weight for lambda ${lambda}`);
        t.ok(farthest(bias, doubles(theirs.bias)) < 1e-6, `bias for lambda ${lambda}`);
      }
    }
  });
}

const small = featuresOf(cases[0] as Case);
const [rows] = small.shape as [number];
const labels = Int32Array.from((cases[0] as Case).labels);

t.test('features that are 0 throughout tell nothing', async (t) => {
  const zeros: Tensor = { data: new Float32Array(40), shape: [10, 4], dtype: 'float32' };
  const halves = Int32Array.from({ length: 10 }, (_, i) => i % 2);
  // The evidence of noise alone: its precision is n over what is to be explained, five ones.
  const precision = 10 / (5 + 1e-5);
  const expected = (5 * Math.log(precision) - (precision / 2) * 5 - 5 * Math.log(2 * Math.PI)) / 10;
  t.ok(isNear(await native.logME(zeros, halves, 2), expected));
  t.equal(await native.hScore(zeros, halves, 2, false), 0);
  t.equal(await native.hScore(zeros, halves, 2, true), 0);
  const targets: Tensor = { data: Float32Array.from(halves), shape: [10, 1], dtype: 'float32' };
  const [solved] = await native.ridge(zeros, targets, [0]);
  t.same(solved, {
    weight: { data: new Float32Array(4), shape: [1, 4], dtype: 'float32' },
    bias: { data: Float32Array.of(0.5), shape: [1], dtype: 'float32' },
  });
});

t.test('a constant of any size is told apart from rounding', async (t) => {
  const halves = Int32Array.from({ length: 21 }, (_, i) => i % 2);
  for (const value of [0.1, 1 / 3, 12345.678, 1e20]) {
    const constant: Tensor = { data: new Float32Array(63).fill(value), shape: [21, 3], dtype: 'float32' };
    t.ok((await native.hScore(constant, halves, 2, false)) < 1e-12, `${value}`);
  }
});

t.test('without a penalty what is exactly linear is found', async (t) => {
  const data = Float64Array.from({ length: rows }, (_, row) => {
    const [a, b] = [small.data[row * 16] as number, small.data[row * 16 + 5] as number];
    return 3 * a - 2 * b + 0.5;
  });
  const [solved] = await native.ridge(small, { data, shape: [rows, 1], dtype: 'float64' }, [0]);
  const expected = Float64Array.from({ length: 16 }, (_, i) => ({ 0: 3, 5: -2 })[i] ?? 0);
  t.ok(farthest(solved?.weight as Tensor, expected) < 1e-6);
  t.ok(Math.abs(Number(solved?.bias.data[0]) - 0.5) < 1e-5);
});

t.test('many rows, in several parts, give what they give at once', async (t) => {
  // 34 columns are taken 246,723 rows at a time. Two copies of the rows have the same H-score, and the same weights at twice the lambda.
  const count = 140_000;
  const half = Float32Array.from({ length: count * 32 }, (_, i) => Math.sin(i * 12.9898) * ((i % 32) + 1));
  const classOf = (_: unknown, row: number) =>
    (half[row * 32] as number) + (half[row * 32 + 7] as number) > 0 ? 1 : 0;
  const once = Int32Array.from({ length: count }, classOf);
  const twice = Float32Array.from({ length: 2 * count * 32 }, (_, i) => half[i % half.length] as number);
  const [one, two] = [
    { data: half, shape: [count, 32], dtype: 'float32' as const },
    { data: twice, shape: [2 * count, 32], dtype: 'float32' as const },
  ];
  const both = Int32Array.from({ length: 2 * count }, (_, i) => once[i % count] as number);
  const [single, double] = [
    await native.hScore(one, once, 2, false),
    await native.hScore(two, both, 2, false),
  ];
  t.ok(single > 0.1 && single < 1);
  t.ok(isNear(double, single));
  const targets = (given: Int32Array): Tensor => ({
    data: Float32Array.from(given),
    shape: [given.length, 1],
    dtype: 'float32',
  });
  const [[ours], [theirs]] = [
    await native.ridge(one, targets(once), [1000]),
    await native.ridge(two, targets(both), [2000]),
  ];
  t.ok(farthest(ours?.weight as Tensor, Float64Array.from(theirs?.weight.data as Float32Array)) < 1e-6);
});

t.test('wrong arguments are refused by code', async (t) => {
  const other = (data: Tensor['data'], shape: number[], dtype: Tensor['dtype'] = 'float32'): Tensor => ({
    data,
    shape,
    dtype,
  });
  const one = other(new Float32Array(3), [1, 3]);
  const broken = other(
    (small.data as Float32Array).map((x, i) => (i === 77 ? Number.NaN : x)),
    small.shape,
  );
  const endless = other(
    (small.data as Float32Array).map((x, i) => (i === 7 ? Number.POSITIVE_INFINITY : x)),
    small.shape,
  );
  const targets = other(new Float32Array(rows * 2), [rows, 2]);
  const wrong: [string, () => unknown, string][] = [
    ['no tensor', () => native.logME([1, 2] as never, labels, 4), 'INVALID_TYPE'],
    ['float64', () => native.logME(other(new Float64Array(6), [2, 3], 'float64'), labels, 4), 'INVALID_TYPE'],
    [
      'images',
      () => native.hScore(other(new Float32Array(24), [2, 3, 2, 2]), labels, 4, false),
      'SHAPE_MISMATCH',
    ],
    [
      'no rows',
      () => native.logME(other(new Float32Array(0), [0, 3]), new Int32Array(0), 4),
      'SHAPE_MISMATCH',
    ],
    [
      'no columns',
      () => native.logME(other(new Float32Array(0), [3, 0]), new Int32Array(3), 4),
      'SHAPE_MISMATCH',
    ],
    ['one row', () => native.hScore(one, Int32Array.of(0), 1, false), 'SHAPE_MISMATCH'],
    ['NaN', () => native.logME(broken, labels, 4), 'INVALID_VALUE'],
    ['infinity', () => native.hScore(endless, labels, 4, true), 'INVALID_VALUE'],
    ['NaN for ridge', () => native.ridge(broken, targets, [1]), 'INVALID_VALUE'],
    ['fewer labels', () => native.logME(small, labels.subarray(1), 4), 'SHAPE_MISMATCH'],
    ['labels in a list', () => native.logME(small, [...labels] as never, 4), 'INVALID_TYPE'],
    ['a label too high', () => native.hScore(small, labels, 3, false), 'INVALID_VALUE'],
    [
      'a negative label',
      () =>
        native.logME(
          small,
          labels.map((label) => label - 1),
          4,
        ),
      'INVALID_VALUE',
    ],
    ['no classes', () => native.logME(small, labels, 0), 'INVALID_VALUE'],
    ['half a class', () => native.logME(small, labels, 4.5), 'INVALID_VALUE'],
    ['too many classes', () => native.logME(small, labels, 2 ** 31), 'INVALID_VALUE'],
    ['classes in words', () => native.hScore(small, labels, 'four' as never, true), 'INVALID_TYPE'],
    ['shrinkage in words', () => native.hScore(small, labels, 4, 'yes' as never), 'INVALID_TYPE'],
    ['fewer targets', () => native.ridge(small, other(new Float32Array(2), [1, 2]), [1]), 'SHAPE_MISMATCH'],
    [
      'targets of no column',
      () => native.ridge(small, other(new Float32Array(0), [rows, 0]), [1]),
      'SHAPE_MISMATCH',
    ],
    [
      'whole targets',
      () => native.ridge(small, other(new Int32Array(rows), [rows, 1], 'int32'), [1]),
      'INVALID_TYPE',
    ],
    [
      'NaN targets',
      () => native.ridge(small, { ...targets, data: new Float32Array(rows * 2).fill(Number.NaN) }, [1]),
      'INVALID_VALUE',
    ],
    ['no lambda', () => native.ridge(small, targets, []), 'INVALID_VALUE'],
    ['a negative lambda', () => native.ridge(small, targets, [1, -1]), 'INVALID_VALUE'],
    ['lambda NaN', () => native.ridge(small, targets, [Number.NaN]), 'INVALID_VALUE'],
    ['lambdas in words', () => native.ridge(small, targets, 'one' as never), 'INVALID_TYPE'],
    ['too many lambdas', () => native.ridge(small, targets, new Array(1025).fill(1)), 'INVALID_VALUE'],
  ];
  for (const [what, call, code] of wrong) t.equal(await outcomeOf(call), code, what);
});

t.test('calls run beside each other, and leave nothing behind', async (t) => {
  const expected = await native.logME(small, labels, 4);
  const running = Array.from({ length: 6 }, () => native.logME(small, labels, 4));
  t.same(await Promise.all(running), new Array(6).fill(expected));
  t.same(native.live(), { models: 0, tasks: 0 });
});
