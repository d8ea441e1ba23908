// Inference: our compiled model and predictor beside onnxruntime-node, the same images, as many threads.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { imageFolder } from '../../../lib/data/folder.js';
import { loadImages } from '../../../lib/data/images.js';
import { completePreprocessing, normalisation } from '../../../lib/data/preprocessing.js';
import { cardedModel } from '../carded.js';
import { exportOnnx, findOnnxRuntime } from '../onnxruntime.js';
import { count, counts, seconds, text, texts } from '../options.js';
import { imagesFolder, makeRunFolder, modelFile, programFile } from '../places.js';
import { normalisationOf } from '../recipe.js';
import { show, showSpread, spread } from '../statistics.js';
import { ratioOf, takeTurns } from '../turns.js';
import { withWorkers } from '../worker.js';

const size = 224;
/** Largest difference of a logit from onnxruntime's in float32. */
const tolerance = 1e-2;
/** Share of the images whose best class must be onnxruntime's. */
const agreement = { float32: 1, int8: 0.7, other: 0.97 };
/** Training images that give 8-bit numbers their ranges. */
const samples = 32;

export const predict = {
  name: 'predict',
  about: 'images/s by batch, and latency under concurrent requests',
  options: {
    model: texts('mobilenet_v2_100', 'squeezenet1_1', 'mobilenet_v1_025'),
    images: text('hymenoptera'),
    batch: counts(1, 8, 32),
    clients: counts(1, 8, 32),
    precision: texts('auto', 'int8'),
    threads: count(2),
    seconds: seconds(2),
    rounds: count(5),
    warmup: count(1, 0),
  },
  async run(options) {
    const onnxruntime = findOnnxRuntime();
    const folder = makeRunFolder();
    const measured = [];
    try {
      const images = join(folder, 'images.bin');
      const calibration = join(folder, 'calibration.bin');
      const { splits } = await imageFolder(imagesFolder(options.images));
      await writeImages(splits.val, images);
      await writeImages(
        splits.train.filter((_, i) => i % Math.ceil(splits.train.length / samples) === 0),
        calibration,
      );
      for (const model of options.model) {
        measured.push(await measureModel(model, { ...options, images, calibration, folder, onnxruntime }));
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
    return {
      versions: measured[0].versions,
      tables: [batchTable(measured), requestTable(measured)],
      checks: measured.flatMap(({ checks }) => checks),
      notes: [
        'ratio torchgraft / onnxruntime of images/s or requests/s, above 1 means torchgraft is faster',
        'ours takes bytes and normalises them within the time; onnxruntime gets float32 NCHW that is already normalised',
        'requests: each client asks for one image and asks again once it has the answer; ours is batched by createPredictor ' +
          'at its defaults, onnxruntime runs each by itself',
        'delay of the event loop: how late a timer of 1 ms came',
        'int8: agreement is among all classes the model was pretrained on; images of the training split calibrate it',
        ...measured.flatMap(({ model, about }) =>
          Object.values(about)
            .filter(({ optimised }) => optimised)
            .map(
              ({ precision, optimised }) => `${model}, precision ${precision}: ${JSON.stringify(optimised)}`,
            ),
        ),
      ],
      measured,
    };
  },
};

/** Images as the models see them, before normalisation. */
async function writeImages(list, file) {
  const { data } = await loadImages(
    list.map(({ path }) => path),
    completePreprocessing(),
  );
  writeFileSync(file, data);
}

async function measureModel(model, { batch, clients, precision, threads, rounds, warmup, ...rest }) {
  const { images, calibration, folder, onnxruntime } = rest;
  const kind = normalisationOf(model);
  const shared = { images, size, threads };
  const ours = {
    ...shared,
    calibration,
    model: modelFile(model),
    carded: cardedModel(model, size),
    normalisation: kind,
  };
  const peer = { ...shared, onnx: exportOnnx(model), onnxruntime, ...normalisation(kind) };
  const commands = Object.fromEntries(
    precision.map((name) => [
      `ours ${name}`,
      [[process.execPath, programFile('torchgraft-predict.js')], { ...ours, precision: name }],
    ]),
  );
  commands.peer = [[process.execPath, programFile('onnxruntime-predict.js')], peer];
  return withWorkers(commands, async (workers) => {
    const about = Object.fromEntries(Object.entries(workers).map(([key, worker]) => [key, worker.about]));
    const checks = await compareLogits(model, workers, folder);
    const turnsOf = (request, label, showOne) =>
      takeTurns(
        Object.entries(workers).map(([key, { worker }]) => ({
          key,
          title: titleOf(key),
          turn: () => worker.ask({ ...request, seconds: rest.seconds }),
        })),
        { rounds, warmup, label: `predict, ${model}, ${label}`, show: showOne },
      );
    const batches = [];
    for (const one of batch) {
      const turns = await turnsOf(
        { do: 'batches', batch: one },
        `batch ${one}`,
        (turn) => `${show(imagesPerSecond(turn))} images/s`,
      );
      batches.push({ batch: one, turns, ratios: ratiosOf(turns, imagesPerSecond) });
    }
    const requests = [];
    for (const one of clients) {
      const turns = await turnsOf(
        { do: 'requests', clients: one },
        `${one} clients`,
        (turn) => `${show(requestsPerSecond(turn))} requests/s`,
      );
      requests.push({ clients: one, turns, ratios: ratiosOf(turns, requestsPerSecond) });
      checks.push(...compareAnswers(model, one, turns));
    }
    const versions = { ours: about[`ours ${precision[0]}`].version, peer: about.peer.version };
    return { model, versions, about, checks, batches, requests };
  });
}

const titleOf = (key) => (key === 'peer' ? 'onnxruntime' : key.replace('ours', 'torchgraft'));

const imagesPerSecond = (turn) => (turn.batches * turn.batch) / turn.seconds;
const requestsPerSecond = (turn) => turn.requests / turn.seconds;

/** Of each of our precisions: cost is seconds for one, so that above 1 ours is faster. */
function ratiosOf(turns, rate) {
  const ours = Object.keys(turns).filter((key) => key !== 'peer');
  return Object.fromEntries(ours.map((key) => [key, ratioOf(turns, key, 'peer', (turn) => 1 / rate(turn))]));
}

/** The same best class, and in float32 the same logits. */
async function compareLogits(model, workers, folder) {
  const answers = {};
  for (const [index, [key, { worker }]] of Object.entries(workers).entries()) {
    const file = join(folder, `logits-${index}.bin`);
    const { best, classes } = await worker.ask({ do: 'logits', file });
    const bytes = readFileSync(file);
    answers[key] = {
      best,
      classes,
      logits: new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4),
    };
  }
  const { peer, ...ours } = answers;
  return Object.entries(ours).map(([key, { best, classes, logits }]) => {
    if (logits.length !== peer.logits.length) {
      throw new Error(`${model}: our logits are ${classes} an image, onnxruntime's ${peer.classes}.`);
    }
    const gap = logits.reduce(
      (most, value, index) => Math.max(most, Math.abs(value - peer.logits[index])),
      0,
    );
    const same = best.filter((label, index) => label === peer.best[index]).length;
    const isFloat32 = key === 'ours float32';
    const least = (agreement[key.replace('ours ', '')] ?? agreement.other) * best.length;
    return {
      ok: same >= least && (!isFloat32 || gap <= tolerance),
      text:
        `${model}: ${titleOf(key)} and onnxruntime agree in the best class of ${same} of ${best.length} images, logits ` +
        `differ by at most ${gap.toExponential(1)}`,
    };
  });
}

/** Answers under load must be those of the batches before; a batch of another size may round otherwise. */
function compareAnswers(model, clients, turns) {
  return Object.entries(turns).map(([key, list]) => {
    const right = list.reduce((total, turn) => total + turn.right, 0);
    const all = list.reduce((total, turn) => total + turn.requests, 0);
    return {
      // In 8 bits the predictor keeps half of the calibrating images to measure with, so that its ranges are others.
      ok: right >= (key === 'ours int8' ? 0.9 : agreement.other) * all,
      text: `${model}: ${titleOf(key)}, ${clients} clients: ${right} of ${all} answers are the best class of the batches before`,
    };
  });
}

function batchTable(measured) {
  const rows = measured.flatMap(({ model, batches }) =>
    batches.flatMap(({ batch, turns, ratios }) =>
      Object.entries(turns).map(([key, list]) => [
        `${model}, batch ${batch}: ${titleOf(key)}`,
        showSpread(spread(list.map(imagesPerSecond))),
        show(spread(list.map(({ median }) => median * 1000)).median),
        ratios[key] ? showSpread(ratios[key]) : '',
      ]),
    ),
  );
  return { title: 'throughput', columns: ['', 'images/s', 'a batch, ms', 'ratio'], rows };
}

function requestTable(measured) {
  const columns = [
    '',
    'requests/s',
    'latency p50, ms',
    'p99',
    'event loop delay p50, ms',
    'p99',
    'max',
    'ratio',
  ];
  const rows = measured.flatMap(({ model, requests }) =>
    requests.flatMap(({ clients, turns, ratios }) =>
      Object.entries(turns).map(([key, list]) => {
        const of = (cost) => show(spread(list.map(cost)).median);
        return [
          `${model}, ${clients} clients: ${titleOf(key)}`,
          showSpread(spread(list.map(requestsPerSecond))),
          of(({ latencyMs }) => latencyMs.p50),
          of(({ latencyMs }) => latencyMs.p99),
          of(({ loopDelayMs }) => loopDelayMs.p50),
          of(({ loopDelayMs }) => loopDelayMs.p99),
          of(({ loopDelayMs }) => loopDelayMs.max),
          ratios[key] ? showSpread(ratios[key]) : '',
        ];
      }),
    ),
  );
  return { title: 'concurrent requests', columns, rows };
}
