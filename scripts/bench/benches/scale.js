// How the time of an epoch and peak memory grow with the layers that learn, the images and the batch.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { count, counts, flag, text, texts } from '../options.js';
import { imagesFolder, makeRunFolder } from '../places.js';
import { showSpread, spread } from '../statistics.js';
import { countTraining, writeSubset } from '../subset.js';
import { trainLayers } from '../training.js';
import { ratioOf } from '../turns.js';
import { makeJob, oursAnew, runInTurns } from './training-bench.js';

const axes = {
  layers: { title: 'layers that learn', column: 'strategy' },
  images: { title: 'training images', column: 'images' },
  batch: { title: 'images a batch', column: 'batch' },
};

export const scale = {
  name: 'scale',
  about: 'time and memory as layers, images and batch grow',
  options: {
    model: text('mobilenet_v2_100'),
    images: text('hymenoptera'),
    tables: texts('layers', 'images', 'batch'),
    strategy: texts('head', 'last:2', 'last:4', 'last:8', 'last:16', 'last:32', 'full'),
    batch: counts(8, 16, 32, 64),
    epochs: count(3, 2),
    threads: count(2),
    workers: count(0, 0),
    rounds: count(2),
    warmup: count(0, 0),
    precision: text(undefined),
    views: text(undefined),
    peer: flag(),
  },
  async run(options) {
    const folder = makeRunFolder();
    const measured = {};
    try {
      for (const axis of options.tables) {
        if (!(axis in axes))
          throw new Error(`There is no table \`${axis}\`: ${Object.keys(axes).join(', ')}.`);
        measured[axis] = [];
        for (const point of await listPoints(axis, options, folder)) {
          measured[axis].push(await measurePoint(axis, point, options));
        }
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
    return {
      tables: Object.entries(measured).map(([axis, points]) => tableOf(axis, points, options.peer)),
      checks: Object.values(measured).flatMap((points) => points.flatMap(({ checks }) => checks)),
      notes: [
        "the first epoch fills the cache of features where there is one; the others' median is shown, training without validation",
        'share of FLOPs: of a forward, in the part that is computed anew in each epoch, as run.json has it; - where it has none',
      ],
      measured,
    };
  },
};

/** What varies is first in its table's row; images and batch vary for the first and the last strategy alike. */
async function listPoints(axis, { strategy, batch, images }, folder) {
  const data = imagesFolder(images);
  const usual = batch.includes(32) ? 32 : batch.at(-1);
  if (axis === 'layers') return strategy.map((name) => ({ value: name, strategy: name, batch: usual, data }));
  const ends = [...new Set([strategy[0], strategy.at(-1)])];
  if (axis === 'batch') {
    return ends.flatMap((name) => batch.map((size) => ({ value: size, strategy: name, batch: size, data })));
  }
  const whole = await countTraining(data);
  const subsets = [];
  for (const share of [1 / 8, 1 / 4, 1 / 2, 1]) {
    const file = join(folder, `${share}.jsonl`);
    subsets.push({ value: await writeSubset(data, whole * share, file), data: file, batch: usual });
  }
  return ends.flatMap((name) => subsets.map((subset) => ({ ...subset, strategy: name })));
}

async function measurePoint(axis, { value, ...point }, options) {
  const job = { ...makeJob(options), ...point };
  const sides = [oursAnew('ours', 'torchgraft', job)];
  const pairs = [];
  if (options.peer) {
    const settings = { channelsLast: true, noGrad: true };
    const train = (run) => trainLayers({ ...job, ...settings, ...run });
    sides.push({ key: 'peer', title: 'PyTorch float32, channels-last', train });
    pairs.push(['ours', 'peer']);
  }
  const label = `scale, ${axis} ${value}, ${point.strategy}`;
  const { turns, checks } = await runInTurns(label, sides, pairs, options);
  return { value, strategy: point.strategy, shareAbove: shareAbove(turns.ours[0].plan), turns, checks };
}

const laterEpoch = ({ trainSeconds }) => spread(trainSeconds.slice(1)).median;

/** Share of a forward's FLOPs above the cut, 0 to 1. */
function shareAbove(plan) {
  return plan?.totalFlops > 0 ? 1 - plan.prefixFlops / plan.totalFlops : undefined;
}

function tableOf(axis, points, peer) {
  const columns = [
    axes[axis].column,
    ...(axis === 'layers' ? [] : ['strategy']),
    'FLOPs above the cut',
    'first epoch, s',
    'later epochs, s',
    'images/s',
    'peak memory, MiB',
    ...(peer ? ['PyTorch, later epochs, s', 'PyTorch / torchgraft', 'PyTorch, peak memory, MiB'] : []),
  ];
  const rows = points.map(({ value, strategy, shareAbove: share, turns }) => {
    const of = (key, cost) => showSpread(spread(turns[key].map(cost)));
    return [
      `${value}`,
      ...(axis === 'layers' ? [] : [strategy]),
      share === undefined ? '-' : `${(share * 100).toFixed(1)} %`,
      of('ours', ({ trainSeconds }) => trainSeconds[0]),
      of('ours', laterEpoch),
      of('ours', (run) => run.images / laterEpoch(run)),
      of('ours', ({ peakRssMb }) => peakRssMb),
      ...(peer
        ? [
            of('peer', laterEpoch),
            showSpread(ratioOf(turns, 'ours', 'peer', laterEpoch)),
            of('peer', ({ peakRssMb }) => peakRssMb),
          ]
        : []),
    ];
  });
  return { title: axes[axis].title, columns, rows };
}
