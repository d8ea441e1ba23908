/** Thousands of classes: nothing that is kept or written grows with their square, or with the epochs times the classes. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  confusionTable,
  type FineTuneOptions,
  type FineTuneResult,
  fineTune,
  type ImageDataset,
  perClassTable,
  readRunRecord,
  renderReport,
} from '../src/index.js';
import { jsonPieces, writeJson } from '../src/json-file.js';
import { averagePrecision, rocAuc } from '../src/metrics/curves.js';
import { classificationMetrics } from '../src/metrics/meter.js';
import { makeRunRecord } from '../src/run-record.js';
import { defects, figures, open, quick } from './defects.js';

/** A fixed sequence, 0 to 1. */
function sequence(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

function manyClasses(count: number, samples: number) {
  const next = sequence(count);
  const classes = Array.from({ length: count }, (_, i) => `class ${i}`);
  // Few values, so that many scores are equal.
  const logits = Float32Array.from({ length: samples * count }, () => Math.floor(next() * 9));
  const labels = Int32Array.from({ length: samples }, () => Math.floor(next() * count));
  return { classes, logits, labels, metrics: classificationMetrics(logits, labels, 1, { classes }) };
}

t.test('a matrix of many classes is kept as its cells, and made when it is asked for', async (t) => {
  const { labels, logits, metrics, classes } = manyClasses(300, 500);
  const expected = classes.map(() => new Array<number>(300).fill(0));
  for (const [row, label] of labels.entries()) {
    const own = logits.subarray(row * 300, (row + 1) * 300);
    (expected[label] as number[])[own.indexOf(Math.max(...own))]! += 1;
  }
  t.same(metrics.confusionMatrix, expected);
  t.ok((metrics.confusions?.length ?? 0) <= 500, 'no more cells than samples');
  const cells = new Map(metrics.confusions?.map(([truth, said, count]) => [`${truth} ${said}`, count]));
  t.ok(expected.every((row, i) => row.every((count, j) => count === (cells.get(`${i} ${j}`) ?? 0))));
  t.notOk('confusionMatrix' in JSON.parse(JSON.stringify(metrics)), 'not in JSON');
  t.same(manyClasses(100, 50).metrics.confusions, undefined);
  t.equal(JSON.parse(JSON.stringify(manyClasses(100, 50).metrics)).confusionMatrix.length, 100);
});

t.test('areas of many classes are those of each alone', async (t) => {
  const { labels, metrics, logits } = manyClasses(37, 200);
  for (const [index, { rocAuc: roc, prAuc }] of metrics.perClass.entries()) {
    // Softmax of each row, as the meter has it.
    const scores = Float32Array.from(labels, (_, row) => {
      const own = logits.subarray(row * 37, (row + 1) * 37);
      return (
        Math.exp((own[index] as number) - Math.max(...own)) /
        own.reduce((sum, logit) => sum + Math.exp(logit - Math.max(...own)), 0)
      );
    });
    const positives = Uint8Array.from(labels, (label) => Number(label === index));
    t.equal(roc, rocAuc(scores, positives), `ROC of ${index}`);
    t.equal(prAuc, averagePrecision(scores, positives), `PR of ${index}`);
  }
});

/** The embedded photographs under so many names. */
function named(count: number): ImageDataset<'single-label'> {
  const data = defects(36, 24);
  const classes = Array.from({ length: count }, (_, i) => `species ${i}`);
  const relabel = (samples: typeof data.splits.train) =>
    samples.map((sample, at) => ({ ...sample, label: (at * 7) % count }));
  const { train, val } = data.splits;
  const counts = Object.fromEntries(classes.map((name) => [name, 1]));
  return {
    ...data,
    classes,
    splits: { train: relabel(train), val: relabel(val) },
    summary: { ...data.summary, classes, counts: { train: counts, val: counts } },
  };
}

const many = named(400);
const options = {
  ...quick,
  epochs: 8,
  cache: 'memory',
  earlyStopping: { metric: 'valF1:species 7' },
} satisfies FineTuneOptions;
const figuresOf = ({ history, best }: FineTuneResult) => ({ history: history.map(figures), best });
const timeless = (text: string) =>
  text.replace(/"(seconds|trainSeconds|imagesPerSecond|waitShare)":[^,}]+/g, '');

t.test('a run keeps the figures of single classes for its best and its last epoch', async (t) => {
  const folder = t.testdir();
  const checkpoint = join(folder, 'checkpoint.pt');
  const sizes: number[] = [];
  const model = await open(t);
  const run = fineTune(model, many, { ...options, checkpoint });
  for await (const epoch of run) {
    t.equal(epoch.validation.perClass.length, 400, 'the epoch that is told has all');
    t.equal(epoch.validation.confusionMatrix.length, 400);
    t.equal(Object.keys(epoch.metrics).filter((name) => name.startsWith('valF1:')).length, 400);
  }
  const result = await run;
  const full = result.history.filter(({ validation }) => validation.perClass.length > 0);
  const expected = [...new Set([result.best.epoch, 8])].filter((epoch) => epoch > 0).sort();
  t.same(
    full.map(({ epoch }) => epoch),
    expected,
  );
  t.equal(result.best.validation.perClass.length, 400);
  t.equal(result.best.validation.confusionMatrix.length, 400);
  t.ok(
    result.history.every(({ metrics }) => 'valF1:species 7' in metrics),
    'what the best is picked by is kept',
  );

  // Left and gone on with after each epoch: the same, and the checkpoint does not grow with the epochs.
  const again = join(folder, 'again.pt');
  let resumed: FineTuneResult | undefined;
  for (let epoch = 1; epoch <= 8; epoch++) {
    const part = fineTune(await open(t), many, { ...options, checkpoint: again, resume: true });
    for await (const _ of part) break;
    resumed = await part;
    sizes.push(statSync(again).size);
  }
  t.equal(
    timeless(JSON.stringify(figuresOf(resumed as FineTuneResult))),
    timeless(JSON.stringify(figuresOf(result))),
  );
  t.equal(resumed?.best.validation.confusionMatrix.length, 400, 'the matrix is there again');
  const [, second, third] = sizes as [number, number, number];
  const last = sizes.at(-1) as number;
  const perEpoch = (last - third) / (sizes.length - 3);
  t.ok(perEpoch < 8_000, `${sizes}: a class takes 60 bytes an epoch and more where each is kept`);
  t.ok(second < 2_000_000, `${second} bytes`);

  const file = join(folder, 'run.json');
  await writeJson(file, makeRunRecord(model, many, result));
  t.ok(statSync(file).size < 1_000_000, `${statSync(file).size} bytes`);
  const record = await readRunRecord(file);
  t.equal(record.epochs.length, 8);
  const kept = record.epochs.find(
    ({ validation }) => 'perClass' in validation && validation.perClass.length > 0,
  );
  t.equal((kept?.validation as { confusionMatrix?: number[][] }).confusionMatrix?.length, 400);

  const page = await renderReport({ record });
  t.match(page, /20 of 400 with the lowest F1/);
  t.match(page, /and 300 more/, 'classes of the model card');
  t.ok(page.length < 500_000, `${page.length} characters`);
});

t.test('tables of very many classes show the worst', async (t) => {
  const { metrics, classes } = manyClasses(1000, 3000);
  const lines = perClassTable(metrics).split('\n');
  t.equal(lines.length, 2 + 20 + 3);
  t.match(lines[0], /20 of 1,000 with the lowest F1/);
  const shown = lines.slice(2, 22).map((line) => line.split(/ {2,}/)[0] as string);
  const scores = new Map(metrics.perClass.map((scores) => [scores.class, scores]));
  const worst = Math.max(...shown.map((name) => scores.get(name)?.f1 as number));
  const better = classes.filter((name) => !shown.includes(name) && (scores.get(name)?.support ?? 0) > 0);
  t.ok(better.every((name) => (scores.get(name)?.f1 as number) >= worst));
  t.ok(
    shown.every((name) => (scores.get(name)?.support ?? 0) > 0),
    'of which there are samples',
  );
  t.equal(confusionTable(metrics).split('\n').length, 22);
});

t.test('JSON is written in pieces that any length can be made of', async (t) => {
  const values = {
    empty: {},
    none: [],
    text: 'a "b"\n',
    nothing: null,
    infinite: Number.NaN,
    left: undefined,
    date: new Date(0),
    numbers: [1, 2.5, -3e-7],
    holes: [1, undefined, 'x'],
    nested: [[1, 2], [{ a: [] }]],
    call: () => 1,
    "odd ' name": { deep: { deeper: true } },
  };
  const text = [...jsonPieces(values)].join('');
  t.same(JSON.parse(text), JSON.parse(JSON.stringify(values)));
  t.match(text, /"numbers": \[1, 2\.5, -3e-7\]/);
  const { numbers, ...rest } = values;
  t.equal([...jsonPieces(rest.nested[1])].join(''), JSON.stringify(rest.nested[1], null, 2));
  const file = join(t.testdir(), 'value.json');
  writeFileSync(file, 'before');
  const long = Array.from({ length: 30_000 }, (_, i) => ({ i, name: `number ${i}` }));
  await writeJson(file, long);
  t.same(JSON.parse(readFileSync(file, 'utf8')), long);
  t.ok(
    [...jsonPieces(long)].every((piece) => piece.length < 1000),
    'no piece is all of it',
  );
});
