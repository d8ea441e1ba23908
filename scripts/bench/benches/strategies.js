// What each strategy reaches on much and on little data, by seed, and whether auto is ever below its own probe.
import { join } from 'node:path';
import { completePreprocessing, normalisation } from '../../../lib/data/preprocessing.js';
import { randomIntegers, shuffle } from '../../../lib/data/random.js';
import { subsetOf } from '../../../lib/data/subset.js';
import { fineTune, imageFolder, loadModel } from '../../../lib/index.js';
import { count, text, texts } from '../options.js';
import { imagesFolder, modelFile, root } from '../places.js';
import { normalisationOf } from '../recipe.js';
import { deviation, mean } from '../statistics.js';
import { takeTurns } from '../turns.js';

/** Options of fineTune by variant; `full` and `scratch` at several rates, of which the best by its mean counts. */
const variants = {
  auto: {},
  head: { strategy: 'head' },
  'full 1e-4': { strategy: 'full', learningRate: 1e-4 },
  'full 1e-3': { strategy: 'full', learningRate: 1e-3 },
  'scratch 1e-3': { strategy: 'full', learningRate: 1e-3 },
};

/** Rates from far too low to far too high. */
const badRates = Array.from({ length: 20 }, (_, i) => 1e-6 * 10 ** ((i * 7) / 19));
/** 97.5 % of Student's t with 1 to 9 degrees of freedom. */
const quantiles = [12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];

export const strategies = {
  name: 'strategies',
  about: 'auto beside head, full and from scratch, on all images and on few (no peer)',
  options: {
    model: text('mobilenet_v1_025'),
    images: texts('embedded', 'hymenoptera', 'blood_cells'),
    amounts: texts('10', '20', 'all'),
    variants: texts(...Object.keys(variants).map((name) => name.replace(' ', ':'))),
    tables: texts('strategies', 'rates'),
    seeds: count(5),
    epochs: count(6),
    batch: count(16),
    threads: count(2),
  },
  async run(options) {
    const tables = [];
    for (const images of options.images) {
      const task = await openTask(images, options);
      for (const amount of options.tables.includes('strategies') ? options.amounts : [])
        tables.push(await compare(task, amount, options));
      if (options.tables.includes('rates')) tables.push(await sweepRates(task, options));
    }
    return {
      tables,
      checks: [],
      notes: [
        'best epoch of each run by accuracy on up to 400 validation images, which picked it too; mean and standard deviation ' +
          'over the seeds, in points; each seed draws its own images',
        'auto less the best other, the rate of full and scratch chosen by its mean: 95 % interval of the paired differences ' +
          'by seed (Student)',
      ],
    };
  },
};

/** The embedded network with its photographs, or a model of the shared data with one of its sets. */
async function openTask(images, { model }) {
  if (images === 'embedded') {
    const data = await imageFolder(join(root, 'assets', 'defects'));
    const preprocessing = completePreprocessing({ size: 96, resize: 96 });
    // A defect may lie at the edge and in any direction.
    const augment = { crop: { scale: [0.7, 1] }, verticalFlip: 0.5 };
    return { images, data, file: join(root, 'assets', 'backbone.pt'), shared: { preprocessing, augment } };
  }
  const data = await imageFolder(imagesFolder(images));
  // The crops of blood cells are 96 pixels wide.
  const side = images === 'blood_cells' ? { size: 96, resize: 96 } : {};
  const preprocessing = completePreprocessing({ ...normalisation(normalisationOf(model)), ...side });
  return { images, data, file: modelFile(model), shared: { preprocessing } };
}

/** So many training images of each class, drawn by the seed, and up to 400 validation images. */
function draw(data, amount, seed) {
  const { splits, classes, summary, ...rest } = subsetOf(data, { train: Number.POSITIVE_INFINITY, val: 400 });
  const next = randomIntegers(seed, 1);
  const train = classes.flatMap((_, label) => {
    const own = splits.train.filter((sample) => sample.label === label);
    return amount === 'all' ? own : shuffle(own, next).slice(0, Number(amount));
  });
  const fingerprint = `${summary.fingerprint} ${amount} ${seed}`;
  return { ...rest, classes, splits: { ...splits, train }, summary: { ...summary, fingerprint } };
}

async function runOnce({ file, shared }, data, title, seed, { epochs, batch, threads }, more = {}) {
  const start = performance.now();
  const model = await loadModel(file, { device: 'cpu', threads });
  try {
    if (title.startsWith('scratch')) await model.reinitialise(seed);
    const run = fineTune(model, data, {
      ...{ ...shared, ...variants[title], epochs, batchSize: batch, threads, seed },
      ...{ baselines: 'none', earlyStopping: { metric: 'valAccuracy' }, ...more },
    });
    for await (const _ of run);
    const { best, history } = run.result;
    const probes = history.filter(({ stage }) => stage === 'probe');
    const probe = Math.max(...probes.map(({ validation }) => validation.accuracy));
    const seconds = (performance.now() - start) / 1000;
    return { accuracy: best.validation.accuracy, macroF1: best.validation.macro.f1, probe, seconds };
  } finally {
    await model.dispose();
  }
}

async function compare(task, amount, options) {
  const titles = options.variants.map((name) => name.replace(':', ' '));
  const sides = titles.map((title) => ({
    ...{ key: title, title },
    turn: ({ round }) => runOnce(task, draw(task.data, amount, round - 1), title, round - 1, options),
  }));
  const turns = await takeTurns(sides, {
    ...{ rounds: options.seeds, warmup: 0, label: `strategies, ${task.images}, ${amount}` },
    show: ({ accuracy }) => accuracy.toFixed(4),
  });
  const accuracies = (title) => turns[title].map(({ accuracy }) => accuracy * 100);
  const others = titles.filter((title) => title !== 'auto');
  const best = others.reduce((a, b) => (mean(accuracies(b)) > mean(accuracies(a)) ? b : a), others[0]);
  const row = (title) => [
    title === best ? `${title} (best other)` : title,
    spreadOf(accuracies(title)),
    spreadOf(turns[title].map(({ macroF1 }) => macroF1 * 100)),
    mean(turns[title].map(({ seconds }) => seconds)).toFixed(1),
    title === 'auto' ? differenceOf(accuracies('auto'), accuracies(best)) : '',
  ];
  const probes = turns.auto?.map(({ probe }) => probe * 100);
  return {
    title: `${task.images}, ${amount === 'all' ? 'all images' : `${amount} images a class`}`,
    columns: ['', 'val accuracy, %', 'val macro F1, %', 'run, s', 'auto less the best other'],
    rows: [...titles.map(row), ...(probes ? [["auto's probe", spreadOf(probes), '', '', '']] : [])],
  };
}

const spreadOf = (values) => `${mean(values).toFixed(1)} ± ${deviation(values).toFixed(1)}`;

function differenceOf(first, second) {
  const gaps = first.map((value, seed) => value - second[seed]);
  const middle = mean(gaps);
  if (gaps.length < 2) return middle.toFixed(1);
  const half = (quantiles[gaps.length - 2] * deviation(gaps)) / Math.sqrt(gaps.length);
  return `${middle.toFixed(1)} (${(middle - half).toFixed(1)} to ${(middle + half).toFixed(1)})`;
}

/** auto at each of the bad rates, on 20 images a class: what it ends at, less its own probe. */
async function sweepRates(task, options) {
  const data = draw(task.data, '20', 0);
  const gains = [];
  for (const learningRate of badRates) {
    const { accuracy, probe } = await runOnce(task, data, 'auto', 0, options, { learningRate });
    gains.push((accuracy - probe) * 100);
  }
  return {
    title: `${task.images}: auto at 20 learning rates from 1e-6 to 10, 20 images a class, less its own probe`,
    columns: ['', 'points'],
    rows: [
      ['least', Math.min(...gains).toFixed(2)],
      ['most', Math.max(...gains).toFixed(2)],
      ['rates below its probe', String(gains.filter((gain) => gain < 0).length)],
    ],
  };
}
