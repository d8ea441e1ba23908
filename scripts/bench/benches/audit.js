// What the audit finds of what was planted: copies of training images in validation, and wrong labels.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import sharp from 'sharp';
import { auditLabels } from '../../../lib/audit/data-audit.js';
import { findLabelIssues } from '../../../lib/audit/label-issues.js';
import { findNearDuplicates } from '../../../lib/audit/near-duplicates.js';
import { imageFolder } from '../../../lib/data/folder.js';
import { normalisation } from '../../../lib/data/preprocessing.js';
import { randomIntegers, shuffle } from '../../../lib/data/random.js';
import { subsetOf } from '../../../lib/data/subset.js';
import { loadModel } from '../../../lib/model.js';
import { extractFeatures } from '../../../lib/probe/features.js';
import { count, text, texts } from '../options.js';
import { imagesFolder, modelFile } from '../places.js';
import { normalisationOf } from '../recipe.js';

/** A part of the picture of these shares of its sides, wherever. */
const crop = (share) => async (image, random) => {
  const { width, height } = await image.metadata();
  const [w, h] = [width, height].map((pixels) => Math.round(pixels * (1 - share)));
  const [left, top] = [width - w, height - h].map((rest) => Math.floor(random() * (rest + 1)));
  return image.extract({ left, top, width: w, height: h });
};

const border = (share, background) => async (image) => {
  const { width, height } = await image.metadata();
  const [x, y] = [width, height].map((pixels) => Math.round(pixels * share));
  return image.extend({ left: x, right: x, top: y, bottom: y, background });
};

const changes = {
  'saved again at quality 60': async (image) => image,
  'half as large': async (image) =>
    image.resize(Math.max(24, Math.round((await image.metadata()).width / 2))),
  mirrored: async (image) => image.flop(),
  'cropped by 5 %': crop(0.05),
  'cropped by 10 %': crop(0.1),
  'cropped by 15 %': crop(0.15),
  'cropped by 10 %, mirrored': async (image, random) => (await crop(0.1)(image, random)).flop(),
  'black border of 5 %': border(0.05, '#000'),
  'white border of 10 %': border(0.1, '#fff'),
  'padded to a square': async (image) => {
    const { width, height } = await image.metadata();
    const side = Math.max(width, height);
    return image.resize(side, side, { fit: 'contain', background: '#000' });
  },
};

export const audit = {
  name: 'audit',
  about:
    'copies of training images in validation, by how they were changed, and wrong labels: how many of the planted ones are found, and how much else (no peer)',
  options: {
    model: text('mobilenet_v2_100'),
    images: texts('hymenoptera', 'blood_cells'),
    most: count(600),
    copies: count(20),
    labels: count(5),
    seeds: count(3),
    threads: count(2),
  },
  async run(options) {
    const tables = [];
    const measured = {};
    for (const images of options.images) {
      const whole = await imageFolder(imagesFolder(images));
      for (const make of [copyTable, labelTable]) {
        const table = await make(whole, images, options);
        tables.push(table);
        measured[table.title] = table.measured;
      }
    }
    return {
      tables,
      checks: [],
      notes: [
        'recall: share of the planted ones that are listed; precision: share of what is listed that was planted',
      ],
      measured,
    };
  },
};

async function copyTable(whole, images, { most, copies, seeds, threads }) {
  const found = Object.fromEntries(Object.keys(changes).map((name) => [name, 0]));
  let [listed, planted, own, seconds, looked] = [0, 0, 0, 0, 0];
  for (let seed = 0; seed < seeds; seed++) {
    const data = partOf(whole, most);
    const before = await findNearDuplicates(data, { threads });
    own += before.pairs.length;
    const folder = mkdtempSync(join(tmpdir(), 'torchgraft-copies-'));
    try {
      const originals = await plant(data, folder, copies, seed);
      const start = performance.now();
      const { pairs, images: read } = await findNearDuplicates(data, { threads });
      seconds += (performance.now() - start) / 1000;
      looked += read;
      const known = new Set(before.pairs.map(({ first, second }) => `${first.path}\n${second.path}`));
      for (const { first, second } of pairs) {
        if (known.has(`${first.path}\n${second.path}`)) continue;
        listed += 1;
        const copy = originals.get(second.path);
        if (copy?.path === first.path) found[copy.change] += 1;
      }
      planted += originals.size;
    } finally {
      rmSync(folder, { recursive: true });
    }
    console.error(`audit, ${images}, seed ${seed}: copies`);
  }
  const hits = Object.values(found).reduce((sum, one) => sum + one, 0);
  const each = copies * seeds;
  const rows = Object.entries(found).map(([name, number]) => [name, (number / each).toFixed(2), '']);
  rows.push(['all', (hits / planted).toFixed(2), (hits / listed).toFixed(2)]);
  const title = `copies in ${images}: ${Math.round(looked / seeds)} images, ${(seconds / seeds).toFixed(1)} s; without them ${own / seeds} pairs`;
  return {
    title,
    columns: ['copy', 'recall', 'precision'],
    rows,
    measured: { found, each, listed, own, seconds },
  };
}

/** Its lists of images may be changed. */
function partOf(whole, most) {
  const data = subsetOf(whole, { train: most, val: most });
  return { ...data, splits: { train: [...data.splits.train], val: [...data.splits.val] } };
}

/** Puts copies of random training images into validation. Returns the original and change of each copy's path. */
async function plant(data, folder, copies, seed) {
  const next = randomIntegers(seed, 1);
  const random = () => next() / 2 ** 32;
  const originals = new Map();
  for (const [name, change] of Object.entries(changes)) {
    const order = shuffle([...data.splits.train.keys()], next).slice(0, copies);
    for (const at of order) {
      const { path: original, label } = data.splits.train[at];
      const path = join(folder, `${originals.size}.jpg`);
      const image = await change(sharp(original).rotate(), random);
      await image.jpeg({ quality: 60 }).toFile(path);
      data.splits.val.push({ path, label });
      originals.set(path, { path: original, change: name });
    }
  }
  return originals;
}

async function labelTable(whole, images, { model: name, most, labels: share, seeds, threads }) {
  const rows = [];
  const measured = [];
  const preprocessing = normalisation(normalisationOf(name));
  const model = await loadModel(modelFile(name), { device: 'cpu', threads });
  try {
    for (let seed = 0; seed < seeds; seed++) {
      const data = partOf(whole, most);
      const wrong = makeWrong(data, share, seed);
      const features = await extractFeatures(model, data, { threads, preprocessing });
      const { issues: all } = await findLabelIssues(features, { seed });
      const told = await auditLabels(features, { seed });
      const figures = [all, told.issues].map((issues) => {
        const hits = issues.filter(({ path }) => wrong.has(path)).length;
        return { listed: issues.length, recall: hits / wrong.size, precision: hits / issues.length };
      });
      measured.push({ seed, planted: wrong.size, all: figures[0], told: figures[1] });
      const cells = figures.flatMap(({ listed, recall, precision }) => [
        String(listed),
        recall.toFixed(2),
        precision.toFixed(2),
      ]);
      rows.push([`seed ${seed}, ${wrong.size} of ${data.splits.train.length}`, ...cells]);
      console.error(`audit, ${images}, seed ${seed}: labels`);
    }
  } finally {
    await model.dispose();
  }
  const columns = [
    'planted',
    'findLabelIssues',
    'recall',
    'precision',
    'a training tells',
    'recall',
    'precision',
  ];
  return { title: `wrong labels in ${images}, features of ${name}`, columns, rows, measured };
}

/** Gives a share of the training images another class. Returns their paths. */
function makeWrong(data, percent, seed) {
  const next = randomIntegers(seed, 2);
  const { train } = data.splits;
  const chosen = shuffle([...train.keys()], next).slice(0, Math.round((train.length * percent) / 100));
  return new Set(
    chosen.map((at) => {
      const sample = train[at];
      const by = 1 + (next() % (data.classes.length - 1));
      train[at] = { ...sample, label: (sample.label + by) % data.classes.length };
      return sample.path;
    }),
  );
}
