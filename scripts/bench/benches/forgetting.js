// What full fine-tuning forgets of the source task, and what each mitigation keeps: accuracy beside retention, by seed.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { completePreprocessing, normalisation } from '../../../lib/data/preprocessing.js';
import { SourceModel } from '../../../lib/forgetting/source-model.js';
import { fineTune, imageFolder, loadModel, wiseFt } from '../../../lib/index.js';
import { renderChart } from '../../../lib/report/svg-chart.js';
import { count, text, texts } from '../options.js';
import { imagesFolder, modelFile, root } from '../places.js';
import { normalisationOf } from '../recipe.js';
import { deviation, mean, show } from '../statistics.js';
import { takeTurns } from '../turns.js';

/** Images of each set on which retention is measured, at most. */
const mostRetained = 160;

/** Options of fineTune by variant; `norms` are the BatchNorm layers. `wise`: interpolated afterwards. */
const variants = {
  'head alone': () => ({ options: { strategy: 'head', views: 'live' } }),
  full: () => ({ options: {} }),
  'l2-sp 0.1': () => ({ options: { regularisation: { kind: 'l2-sp', alpha: 0.1 } } }),
  'l2-sp 10': () => ({ options: { regularisation: { kind: 'l2-sp', alpha: 10 } } }),
  'ewc 1000': (given) => ({ options: { regularisation: 'ewc', retain: given.fisher } }),
  'ewc 100000': (given) => ({
    options: { regularisation: { kind: 'ewc', lambda: 1e5 }, retain: given.fisher },
  }),
  'lwf 1': () => ({ options: { distillation: { weight: 1 } } }),
  'lwf 10': () => ({ options: { distillation: { weight: 10 } } }),
  'wise-ft': () => ({ options: {}, isWise: true }),
  'fixed norm': ({ norms }) => ({ options: { freeze: norms } }),
  'fixed norm, ewc 1000': ({ norms, fisher }) => ({
    options: { freeze: norms, regularisation: 'ewc', retain: fisher },
  }),
  'fixed norm, lwf 1': ({ norms }) => ({ options: { freeze: norms, distillation: { weight: 1 } } }),
  'fixed norm, wise-ft': ({ norms }) => ({ options: { freeze: norms }, isWise: true }),
};

export const forgetting = {
  name: 'forgetting',
  about: 'accuracy and retention of the source task after full fine-tuning, with each mitigation (no peer)',
  options: {
    model: text('mobilenet_v1_025'),
    images: text('hymenoptera'),
    retain: texts('hymenoptera', 'blood_cells'),
    variants: texts(...Object.keys(variants).map((name) => name.replaceAll(', ', '+'))),
    seeds: count(3),
    epochs: count(5),
    batch: count(32),
    threads: count(2),
  },
  async run(options) {
    const setting = await prepare(options);
    const sides = options.variants.map((given) => {
      const title = given.replaceAll('+', ', ');
      if (!(title in variants))
        throw new Error(`There is no variant \`${given}\`: ${Object.keys(variants).join('; ')}.`);
      // The rounds are the seeds, from 0.
      return { key: title, title, turn: ({ round }) => runVariant(title, round - 1, setting, options) };
    });
    const turns = await takeTurns(sides, {
      rounds: options.seeds,
      warmup: 0,
      label: `forgetting, ${options.images}`,
      show: ({ accuracy, retention }) => `${accuracy.toFixed(4)} ${retention[0].agreement.toFixed(4)}`,
    });
    const file = join(root, 'bench-results', 'forgetting.svg');
    mkdirSync(join(root, 'bench-results'), { recursive: true });
    writeFileSync(file, await drawPlane(turns, options));
    return {
      tables: [tableOf(turns, options)],
      checks: [],
      notes: [
        'best epoch by valMacroF1; mean and standard deviation over the seeds. Agreement: share of images on which the ' +
          'pretrained head on the fine-tuned trunk says what the pretrained model said, of all its classes; divergence in nats',
        `retention is measured on up to ${mostRetained} validation images of each set, pseudo-labelled by the pretrained model; ` +
          "ewc's Fisher information is of the training images",
        'wise-ft: the highest agreement (first set) of those within 1 point of the best validation accuracy, trunk alone',
        `the plane: ${file}`,
      ],
      turns,
    };
  },
};

async function prepare({ model, images, retain }) {
  const data = await imageFolder(imagesFolder(images));
  const sets = [];
  for (const name of retain) {
    const { splits } = await imageFolder(imagesFolder(name));
    sets.push(spreadOver(splits.val, mostRetained).map(({ path }) => path));
  }
  const preprocessing = normalisation(normalisationOf(model));
  const fisher = { images: data.splits.train.map(({ path }) => path) };
  return { data, sets, fisher, preprocessing, file: modelFile(model) };
}

function spreadOver(samples, most) {
  const number = Math.min(most, samples.length);
  return Array.from({ length: number }, (_, i) => samples[Math.floor((i * samples.length) / number)]);
}

async function runVariant(title, seed, { data, sets, fisher, preprocessing, file }, options) {
  const { epochs, batch, threads } = options;
  const start = performance.now();
  const source = await loadModel(file, { device: 'cpu', threads });
  const model = await loadModel(file, { device: 'cpu', threads });
  try {
    const { batchNorms } = await model.summary();
    const variant = variants[title]({ norms: batchNorms, fisher });
    const shared = {
      strategy: 'full',
      augment: 'default',
      epochs,
      batchSize: batch,
      threads,
      seed,
      preprocessing,
    };
    const run = fineTune(model, data, { ...shared, ...variant.options });
    for await (const _ of run);
    let { accuracy } = run.result.best.validation;
    if (variant.isWise) {
      const swept = await wiseFt(model, source, data, {
        retain: { images: sets[0] },
        choose: 'retention',
        threads,
      });
      accuracy = swept.chosen.validation.accuracy;
    }
    const seconds = (performance.now() - start) / 1000;
    const reading = {
      preprocessing: completePreprocessing(preprocessing),
      ...{ batchSize: batch, threads, unreadable: 'fail' },
    };
    const retention = [];
    for (const images of sets) {
      const samples = images.map((path) => ({ path, label: -1 }));
      const keeper = await SourceModel.of(source, { samples, isLabelled: false }, reading);
      retention.push(await keeper.measure(model));
      await keeper[Symbol.asyncDispose]();
    }
    return { accuracy, retention, bestEpoch: run.result.best.epoch, seconds };
  } finally {
    await source.dispose();
    await model.dispose();
  }
}

function tableOf(turns, { retain, images }) {
  const cell = (runs, measure, factor, digits) => {
    const values = runs.map((run) => measure(run) * factor);
    return `${mean(values).toFixed(digits)} ± ${deviation(values).toFixed(digits)}`;
  };
  return {
    title: `${images}, all layers`,
    columns: [
      ...['', 'val accuracy, %'],
      ...retain.flatMap((name) => [`agreement on ${name}, %`, 'divergence']),
      'run, s',
    ],
    rows: Object.entries(turns).map(([title, runs]) => [
      title,
      cell(runs, ({ accuracy }) => accuracy, 100, 2),
      ...retain.flatMap((_, set) => [
        cell(runs, ({ retention }) => retention[set].agreement, 100, 1),
        cell(runs, ({ retention }) => retention[set].divergence, 1, 3),
      ]),
      show(mean(runs.map(({ seconds }) => seconds))),
    ]),
  };
}

/** Each variant's mean as a point: the further right and up, the better. */
function drawPlane(turns, { retain }) {
  const points = Object.entries(turns).map(([name, runs]) => ({
    name,
    value: [
      mean(runs.map(({ retention }) => retention[0].agreement)) * 100,
      mean(runs.map(({ accuracy }) => accuracy)) * 100,
    ],
  }));
  const axis = (name) => ({ type: 'value', scale: true, name, nameLocation: 'middle', nameGap: 32 });
  return renderChart(
    {
      title: { text: 'Accuracy and retention after full fine-tuning', left: 'center' },
      grid: { left: 70, right: 120, top: 60, bottom: 60 },
      xAxis: axis(`agreement with the source on ${retain[0]}, %`),
      yAxis: axis('validation accuracy, %'),
      series: [
        {
          type: 'scatter',
          symbolSize: 9,
          data: points,
          label: { show: true, formatter: '{b}', position: 'right' },
        },
      ],
    },
    { width: 860, height: 520 },
  );
}
