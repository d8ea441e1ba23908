// What the fast ways cost in accuracy: the same recipe with several seeds, variant beside variant, differences by seed.
import { rmSync } from 'node:fs';
import { count, text, texts } from '../options.js';
import { makeRunFolder } from '../places.js';
import { deviation, mean, show } from '../statistics.js';
import { trainOurs } from '../training.js';
import { takeTurns } from '../turns.js';
import { makeJob } from './training-bench.js';

/** Variants by table; the first is what the others are compared with. */
const variantsOf = {
  views: ({ views }) => views.map((name) => ({ title: `views ${name}`, flags: { views: name } })),
  split: () => [
    { title: 'unsplit', flags: { views: 'live', 'no-split': true } },
    { title: 'split', flags: { views: 'live' } },
  ],
  // The same pixels in each epoch: caching their features must change nothing but rounding.
  cached: () => [
    { title: 'unsplit, not augmented', flags: { augment: 'none', 'no-split': true } },
    { title: 'cached, not augmented', flags: { augment: 'none' } },
  ],
  precision: ({ precision }) =>
    precision.map((name) => ({ title: name, flags: { views: 'live', precision: name } })),
};

export const accuracy = {
  name: 'accuracy',
  about: 'accuracy of cached, split and bfloat16 runs, by seed (no peer)',
  options: {
    model: text('mobilenet_v2_100'),
    images: texts('hymenoptera', 'blood_cells'),
    tables: texts('views', 'split', 'cached', 'precision'),
    strategy: texts('head', 'last:2'),
    views: texts('live', '1', '4', '16'),
    precision: texts('float32', 'bfloat16', 'auto'),
    seeds: count(5),
    epochs: count(10),
    batch: count(32),
    threads: count(2),
  },
  async run(options) {
    const measured = [];
    for (const images of options.images) {
      // Features are kept from run to run, as in a search; the cache changes the time, not the result.
      const cache = makeRunFolder();
      try {
        for (const table of options.tables) {
          if (!(table in variantsOf))
            throw new Error(`There is no table \`${table}\`: ${Object.keys(variantsOf).join(', ')}.`);
          for (const strategy of options.strategy) {
            measured.push(await measureTable(table, strategy, images, options, cache));
          }
        }
      } finally {
        rmSync(cache, { recursive: true });
      }
    }
    return {
      tables: measured.map(tableOf),
      checks: [],
      notes: [
        'best epoch of each run; mean and standard deviation over the seeds, in points; differences are of runs with the same ' +
          'seed, variant less the first row, with their standard deviation and how many of the seeds lose',
      ],
      measured,
    };
  },
};

async function measureTable(table, strategy, images, options, cache) {
  const { model, epochs, batch, threads, seeds } = options;
  const variants = variantsOf[table](options);
  const sides = variants.map(({ title, flags }) => ({
    key: title,
    title,
    // The rounds are the seeds, from 0.
    turn: ({ round }) => {
      const job = makeJob({ model, images, epochs, batch, threads });
      return trainOurs({ ...job, strategy, seed: round - 1, flags }, cache);
    },
  }));
  const turns = await takeTurns(sides, {
    rounds: seeds,
    warmup: 0,
    label: `accuracy, ${images}, ${strategy}, ${table}`,
    show: ({ bestAccuracy }) => bestAccuracy.toFixed(4),
  });
  return { table, strategy, images, variants: variants.map(({ title }) => title), turns };
}

function tableOf({ table, strategy, images, variants, turns }) {
  const [reference] = variants;
  const points = (key, measure) => turns[key].map((run) => measure(run) * 100);
  const cells = (key, measure) => {
    const values = points(key, measure);
    const gaps = values.map((value, seed) => value - points(reference, measure)[seed]);
    const lost = gaps.filter((gap) => gap < 0).length;
    return [
      `${mean(values).toFixed(2)} ± ${deviation(values).toFixed(2)}`,
      key === reference
        ? ''
        : `${mean(gaps).toFixed(2)} ± ${deviation(gaps).toFixed(2)}, ${lost} of ${gaps.length} lose`,
    ];
  };
  return {
    title: `${table}: ${images}, ${strategy}`,
    columns: ['', 'val accuracy, %', 'difference', 'val macro F1, %', 'difference', 'run, s'],
    rows: variants.map((key) => [
      key,
      ...cells(key, ({ bestAccuracy }) => bestAccuracy),
      ...cells(key, ({ bestMacroF1 }) => bestMacroF1),
      show(mean(turns[key].map(({ seconds }) => seconds))),
    ]),
  };
}
