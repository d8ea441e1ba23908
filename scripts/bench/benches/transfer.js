// Do pretrained weights help: what the check says of models and of shuffled weights, and in which order models are ranked.
import { readdirSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { imageFolder } from '../../../lib/data/folder.js';
import { normalisation } from '../../../lib/data/preprocessing.js';
import { subsetOf } from '../../../lib/data/subset.js';
import { regressionMetrics } from '../../../lib/metrics/regression.js';
import { loadModel } from '../../../lib/model.js';
import { extractFeatures } from '../../../lib/probe/features.js';
import { logisticProbe } from '../../../lib/probe/logistic.js';
import { rankModels } from '../../../lib/probe/rank.js';
import { shuffleWeights } from '../../../lib/probe/shuffle-weights.js';
import { checkInLooks, transferCheck } from '../../../lib/probe/transfer-check.js';
import { count, text, texts } from '../options.js';
import { imagesFolder, modelFile } from '../places.js';
import { normalisationOf } from '../recipe.js';

export const transfer = {
  name: 'transfer',
  about:
    'what transferCheck, and the shorter check of fineTune, say of a model and of its weights shuffled, by seed; the ranking of all models beside full probes (no peer)',
  options: {
    model: text('mobilenet_v2_100'),
    images: texts('hymenoptera', 'blood_cells'),
    tables: texts('check', 'looks', 'rank'),
    seeds: count(5),
    threads: count(2),
  },
  async run(options) {
    const tables = [];
    const measured = {};
    for (const images of options.images) {
      const data = await imageFolder(imagesFolder(images));
      for (const name of options.tables) {
        const table = await make[name](data, images, options);
        tables.push(table);
        measured[`${name} ${images}`] = table.measured;
      }
    }
    return {
      tables,
      checks: [],
      notes: [
        'macro F1 of quick linear probes on the validation images, beside three untrained networks; the difference is that ' +
          'from the best of them, with its 95 % interval',
        'the full probe is logisticProbe at its defaults; rho is Spearman’s rank correlation with its macro F1',
      ],
      measured,
    };
  },
};

async function checkSeeds(data, images, { model: name, seeds, threads }) {
  const preprocessing = normalisation(normalisationOf(name));
  const rows = [];
  const measured = [];
  for (let seed = 0; seed < seeds; seed++) {
    for (const weights of ['pretrained', 'shuffled']) {
      const model = await loadModel(modelFile(name), { device: 'cpu', threads });
      try {
        if (weights === 'shuffled') await shuffleWeights(model, seed);
        const check = await transferCheck(model, data, { seed: 10 * seed, threads, preprocessing });
        console.error(`transfer, ${images}, seed ${seed}, ${weights}: ${check.verdict}`);
        rows.push([`${weights}, seed ${seed}`, ...figuresOf(check)]);
        measured.push({ seed, weights, ...check });
      } finally {
        await model.dispose();
      }
    }
  }
  const columns = ['', 'verdict', 'macro F1', 'untrained', 'difference'];
  return { title: `check of ${name} on ${images}`, columns, rows, measured };
}

/** What fineTune asks before it trains: one untrained network on a part of the images, more where that does not tell. */
async function lookSeeds(data, images, { model: name, seeds, threads }) {
  const preprocessing = normalisation(normalisationOf(name));
  const rows = [];
  const measured = [];
  for (let seed = 0; seed < seeds; seed++) {
    for (const weights of ['pretrained', 'shuffled']) {
      const model = await loadModel(modelFile(name), { device: 'cpu', threads });
      try {
        if (weights === 'shuffled') await shuffleWeights(model, seed);
        const asked = { seed: 10 * seed, threads, preprocessing, precision: 'float32' };
        const { check } = await checkInLooks(model, subsetOf(data, { train: 400, val: 400 }), asked, {});
        const { part } = check.controls[0];
        console.error(`transfer, looks, ${images}, seed ${seed}, ${weights}: ${check.verdict}`);
        const looked = part ? `${part.train} and ${part.val}` : `all, ${check.controls.length} networks`;
        rows.push([`${weights}, seed ${seed}`, ...figuresOf(check), looked]);
        measured.push({ seed, weights, ...check });
      } finally {
        await model.dispose();
      }
    }
  }
  const columns = ['', 'verdict', 'macro F1', 'untrained', 'difference', 'images'];
  return { title: `the check of fineTune, ${name} on ${images}`, columns, rows, measured };
}

function figuresOf({ verdict, pretrained, controls }) {
  const [best] = [...controls].sort((a, b) => b.macroF1 - a.macroF1);
  const { value, low, high } = best.difference;
  const least = Math.min(...controls.map(({ macroF1 }) => macroF1));
  const figures = [pretrained.macroF1, least, best.macroF1, value, low, high].map((one) => one.toFixed(3));
  const [own, from, to, difference, ...interval] = figures;
  return [verdict, own, `${from} to ${to}`, `${difference} (${interval.join(' to ')})`];
}

async function rankAll(data, images, { threads }) {
  const folder = dirname(modelFile('mobilenet_v2_100'));
  const candidates = readdirSync(folder)
    .filter((file) => file.endsWith('.pt'))
    .map((file) => ({ file: `${folder}/${file}`, preprocessing: preprocessingOf(file) }));
  const { models, failed } = await rankModels(candidates, data, { threads, device: 'cpu' });
  const measured = [];
  for (const { file, name, preprocessing, ...ranked } of models) {
    const probe = await probeFully(file, data, { preprocessing, threads });
    console.error(`transfer, ${images}: ${name}: full probe ${probe.macroF1.toFixed(4)}`);
    measured.push({ name, ...ranked, probe });
  }
  const truth = Float32Array.from(measured, ({ probe }) => probe.macroF1);
  const rho = (of) => regressionMetrics(Float32Array.from(measured, of), truth).spearman.toFixed(2);
  const scores = [({ macroF1 }) => macroF1, ({ logME }) => logME, ({ hScore }) => hScore];
  const rows = measured.map((model) => [
    model.name,
    model.probe.macroF1.toFixed(4),
    ...scores.map((of) => of(model).toFixed(4)),
    model.latencyMs.toFixed(1),
  ]);
  return {
    title: `all models on ${images}${failed.map(({ file, reason }) => `; ${basename(file)} failed: ${reason}`).join('')}`,
    columns: ['', 'full probe, macro F1', 'quick probe, macro F1', 'LogME', 'H-score', 'latency, ms'],
    rows: [...rows, ['rho with the full probe', '', ...scores.map(rho), '']],
    measured,
  };
}

const make = { check: checkSeeds, looks: lookSeeds, rank: rankAll };

/** ResNet-20 is made for images of 32 pixels. */
function preprocessingOf(file) {
  const own = normalisation(normalisationOf(file.replace(/\..*$/, '')));
  return file.startsWith('resnet20') ? { ...own, size: 32, resize: 32 } : own;
}

async function probeFully(file, data, { preprocessing, threads }) {
  const model = await loadModel(file, { device: 'cpu', threads });
  try {
    const features = await extractFeatures(model, data, { preprocessing, threads });
    const { metrics } = await logisticProbe(features);
    return { accuracy: metrics.accuracy, macroF1: metrics.macro.f1 };
  } finally {
    await model.dispose();
  }
}
