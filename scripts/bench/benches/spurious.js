// A generated spurious correlation: what plain training makes of it, and what helps. Worst group and mean, by seed.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { loadClassifier } from '../../../lib/classifier.js';
import { imageManifest } from '../../../lib/data/manifest.js';
import { fineTune } from '../../../lib/fine-tune/fine-tune.js';
import { groupScores } from '../../../lib/metrics/slices.js';
import { loadModel } from '../../../lib/model.js';
import { retrainLastLayer } from '../../../lib/probe/last-layer.js';
import { count, text } from '../options.js';
import { makeRunFolder, modelFile, root } from '../places.js';
import { spuriousImages } from '../spurious-images.js';
import { deviation, mean, show, sum } from '../statistics.js';
import { takeTurns } from '../turns.js';

const slice = 'border';
const byWorst = { earlyStopping: { metric: 'valWorstGroupAccuracy' } };

const variants = [
  { title: 'head, plain', strategy: 'head' },
  {
    title: 'head, balanced weights',
    strategy: 'head',
    options: { groups: { slice, loss: 'balanced' }, ...byWorst },
  },
  { title: 'head, GroupDRO', strategy: 'head', options: { groups: { slice, loss: 'dro' }, ...byWorst } },
  { title: 'head, plain, then DFR', strategy: 'head', retrains: true },
  { title: 'full, plain', strategy: 'full' },
  {
    title: 'full, balanced weights',
    strategy: 'full',
    options: { groups: { slice, loss: 'balanced' }, ...byWorst },
  },
  { title: 'full, GroupDRO', strategy: 'full', options: { groups: { slice, loss: 'dro' }, ...byWorst } },
  { title: 'full, plain, then DFR', strategy: 'full', retrains: true },
];

export const spurious = {
  name: 'spurious',
  about:
    'a spurious correlation of 95 %: worst group and mean of plain and robust training, by seed (no peer)',
  options: { model: text(''), seeds: count(5), epochs: count(10), batch: count(32), threads: count(2) },
  async run(options) {
    const data = await imageManifest(await spuriousImages(), { slices: [slice] });
    const folder = makeRunFolder();
    try {
      const sides = variants.map((variant) => ({
        key: variant.title,
        title: variant.title,
        // The rounds are the seeds, from 0.
        turn: ({ round }) =>
          measure(data, {
            ...options,
            ...variant,
            seed: round - 1,
            file: join(folder, 'model.pt'),
            extra: variant.options,
          }),
      }));
      const turns = await takeTurns(sides, {
        rounds: options.seeds,
        warmup: 0,
        label: 'spurious',
        show: ({ worst, mean }) => `worst ${worst.toFixed(3)}, mean ${mean.toFixed(3)}`,
      });
      return {
        tables: [tableOf(turns)],
        checks: [],
        notes: [
          'test images, as many of each group (border by class); mean and standard deviation over the seeds, in points; "as in ' +
            'training" weighs groups by their shares of the training images; seconds without loading and evaluation',
          'plain training picks its epoch by macro F1 on the balanced validation images, the others by their worst group; DFR ' +
            'learns from these images',
        ],
        measured: turns,
      };
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};

async function measure(
  data,
  { model: name, strategy, extra = {}, retrains, seed, epochs, batch, threads, file },
) {
  const model = await loadModel(name ? modelFile(name) : join(root, 'assets', 'backbone.pt'), { threads });
  const preprocessing = { size: 96, resize: 96 };
  const start = performance.now();
  try {
    const run = fineTune(model, data, {
      ...{ strategy, seed, batchSize: batch, threads, preprocessing, augment: 'none', ...extra },
      // Epochs of a head on kept features cost next to nothing.
      epochs: strategy === 'head' ? 10 * epochs : epochs,
    });
    for await (const _ of run);
    if (retrains) await retrainLastLayer(model, data, { groups: slice, seed, threads });
    const seconds = (performance.now() - start) / 1000;
    await model.save(file);
    return { seconds, ...(await judge(file, data, threads)) };
  } finally {
    await model.dispose();
  }
}

async function judge(file, data, threads) {
  const classifier = await loadClassifier(file, { threads });
  try {
    const { scores, slices, metrics } = await classifier.evaluate(data, { split: 'test' });
    const groups = groupScores(scores, slices[slice], classifier.classes);
    const shareOf = ({ value, class: name }) =>
      data.splits.train.filter(({ label, slices }) => data.classes[label] === name && slices[slice] === value)
        .length / data.splits.train.length;
    return {
      worst: Math.min(...groups.map(({ accuracy }) => accuracy)),
      mean: metrics.accuracy,
      asInTraining: sum(groups.map((group) => shareOf(group) * group.accuracy)),
      groups,
    };
  } finally {
    await classifier.dispose();
  }
}

function tableOf(turns) {
  const cell = (runs, of) => {
    const values = runs.map((run) => of(run) * 100);
    return `${mean(values).toFixed(1)} ± ${deviation(values).toFixed(1)}`;
  };
  return {
    title: '',
    columns: ['', 'worst group, %', 'mean, %', 'mean as in training, %', 's'],
    rows: variants.map(({ title }) => [
      title,
      cell(turns[title], ({ worst }) => worst),
      cell(turns[title], (run) => run.mean),
      cell(turns[title], ({ asInTraining }) => asInTraining),
      show(mean(turns[title].map(({ seconds }) => seconds))),
    ]),
  };
}
