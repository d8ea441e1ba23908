// A domain shift made of contrast and blur: source-only, each method and what the validators choose, beside no shift at all.
import { mkdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import sharp from 'sharp';
import { adaptDomain, domainMethods, fineTune, imageFolder, loadModel } from '../../../lib/index.js';
import { count, text, texts } from '../options.js';
import { imagesFolder, makeRunFolder, modelFile } from '../places.js';
import { deviation, mean } from '../statistics.js';

/** What is made of the target's images. */
const shifts = {
  none: undefined,
  mild: (image) => image.linear(0.6, 50).blur(1),
  strong: (image) => image.linear(0.4, 20).blur(1.5),
  // Not looked at while the rule of choosing was made.
  bright: (image) => image.gamma(2.2).modulate({ brightness: 1.2, saturation: 0.4 }),
};

export const domain = {
  name: 'domain',
  about: 'unlabelled adaptation to lower contrast and blur, and to no shift (no peer)',
  options: {
    model: text('mobilenet_v1_025'),
    images: text('blood_cells'),
    count: count(300),
    epochs: count(8),
    size: count(96),
    seeds: count(3),
    from: count(0, 0),
    tables: texts(...Object.keys(shifts)),
    threads: count(2),
  },
  async run(options) {
    const runs = [];
    for (let at = 0; at < options.seeds; at++) runs.push(...(await runSeed(options.from + at, options)));
    return {
      tables: options.tables.map((shift) => tableOf(shift, runs)),
      checks: runs
        .filter(({ name }) => name === 'none')
        .map(({ seed, chosen, methods }) => ({
          ok: accuracyOf(methods, chosen) >= accuracyOf(methods, 'sourceOnly'),
          text: `without a shift, seed ${seed}, the validators choose ${chosen}, which is no worse than source-only`,
        })),
      notes: [
        'target labels are looked at for these tables alone; mean and standard deviation over the seeds, in percent',
      ],
      measured: runs,
    };
  },
};

async function runSeed(seed, options) {
  const folder = makeRunFolder();
  try {
    const data = await imageFolder(imagesFolder(options.images));
    const pick = (samples) => someOfEach(samples, data.classes.length, options.count, seed);
    const source = { ...data, splits: { train: pick(data.splits.train), val: pick(data.splits.val) } };
    const unseen = pick(data.splits.test ?? data.splits.val);
    const file = await trainSource(source, folder, seed, options);
    const runs = [];
    for (const shift of options.tables) {
      const change = shifts[shift];
      const samples = change ? await makeShifted(unseen, join(folder, shift), change) : unseen;
      const target = { ...data, splits: { train: samples, val: [] } };
      const settings = { source, target, report: true, seed, threads: options.threads };
      const begun = performance.now();
      const done = await withModel(file, options.threads, (model) => adaptDomain(model, settings));
      const seconds = (performance.now() - begun) / 1000;
      console.error(`domain: seed ${seed}, ${shift}: ${done.text}`);
      runs.push({ ...done, seed, seconds, name: shift });
    }
    return runs;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Up to so many of each class, evenly spread, beginning elsewhere with each seed. */
function someOfEach(samples, classes, most, seed) {
  return Array.from({ length: classes }, (_, label) =>
    samples.filter((sample) => sample.label === label),
  ).flatMap((own) => {
    const length = Math.min(most, own.length);
    return Array.from({ length }, (_, i) => own[(Math.floor((i * own.length) / length) + seed) % own.length]);
  });
}

async function trainSource(source, folder, seed, { model: name, epochs, size, threads }) {
  const file = join(folder, 'source.pt');
  const preprocessing = { size, resize: size };
  await withModel(modelFile(name), threads, async (model) => {
    const settings = { strategy: 'head', epochs, seed, preprocessing, augment: 'none', threads };
    for await (const _ of fineTune(model, source, settings));
    await model.save(file);
  });
  return file;
}

async function withModel(file, threads, work) {
  const model = await loadModel(file, { device: 'cpu', threads });
  try {
    return await work(model);
  } finally {
    await model.dispose();
  }
}

async function makeShifted(samples, folder, change) {
  mkdirSync(folder);
  return Promise.all(
    samples.map(async ({ path, label }, at) => {
      const to = join(folder, `${at}-${basename(path)}.png`);
      await change(sharp(path)).png().toFile(to);
      return { path: to, label };
    }),
  );
}

const accuracyOf = (methods, name) => methods.find(({ method }) => method === name)?.labelled.accuracy;

function tableOf(shift, runs) {
  const own = runs.filter(({ name }) => name === shift);
  const cells = (pickReport) => {
    const reports = own.map(pickReport);
    if (reports.some((report) => !report)) return ['', '', ''];
    const percent = (values) =>
      `${(mean(values) * 100).toFixed(2)} ± ${(deviation(values) * 100).toFixed(2)}`;
    return [
      percent(reports.map(({ labelled }) => labelled.accuracy)),
      percent(reports.map(({ labelled }) => labelled.macroF1)),
      percent(reports.map(({ source }) => source.accuracy)),
    ];
  };
  const named = (name) => (run) => run.methods.find(({ method }) => method === name);
  const chosen = own.map((run) => run.chosen).join(', ');
  return {
    title: `shift: ${shift}; area under the ROC curve of source and target: ${own.map((run) => run.shift.rocAuc.toFixed(3)).join(', ')}`,
    columns: ['', 'target accuracy, %', 'target macro F1, %', 'source val accuracy, %'],
    rows: [
      ...domainMethods.map((name) => [name, ...cells(named(name))]),
      [`auto: ${chosen}`, ...cells((run) => named(run.chosen)(run))],
    ],
  };
}
