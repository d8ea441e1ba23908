// Our side of `npm run bench -- predict`: the compiled model on batches of pixels, and the predictor on single images.
import * as torchgraft from '../../lib/index.js';
import { packageVersion } from '../../lib/package.js';
import { readImages, serve, takeRows } from './serving.js';

const { loadModel, normalisation } = torchgraft;
const config = JSON.parse(process.argv.at(-1));
const { model: file, carded, precision, threads, size } = config;
const images = readImages(config);
const preprocess = { ...normalisation(config.normalisation), size: [size, size] };

const take = (from, n) => takeRows(images.data, images.bytes, from, n);
const toTensor = (from, n) => ({ data: take(from, n), shape: [n, size, size, 3], dtype: 'uint8' });

const model = await loadModel(file, { device: 'cpu', threads });
const isInt8 = precision === 'int8';
const calibration = isInt8 ? readImages({ images: config.calibration, size }) : undefined;
const optimised = await model.native.optimise({
  precision: isInt8 ? 'float32' : precision,
  example: toTensor(0, 8),
  preprocess,
  ...(calibration
    ? { samples: { data: calibration.data, shape: [calibration.count, size, size, 3], dtype: 'uint8' } }
    : {}),
});

async function run(from, n) {
  const { logits } = await model.native.evaluate({ inputs: [toTensor(from, n)], preprocess });
  return logits.data;
}

/** Images of the file as sources of pixels. */
function pictures({ data, bytes, count }) {
  return Array.from({ length: count }, (_, i) => ({
    data: takeRows(data, bytes, i, 1),
    width: size,
    height: size,
    channels: 3,
  }));
}

async function openServer() {
  // Its threads are the predictor's now.
  await model.dispose();
  const predictor = await torchgraft.createPredictor(carded, {
    threads,
    precision,
    ...(calibration ? { calibration: pictures(calibration), maxAccuracyLoss: 1 } : {}),
  });
  return {
    async answer(index) {
      const image = { data: take(index, 1), width: size, height: size, channels: 3 };
      const { top } = await predictor.predict(image, { top: 1 });
      return top[0].index;
    },
    close: () => predictor.dispose(),
  };
}

const about = {
  version: `torchgraft ${packageVersion()}`,
  precision,
  optimised: optimised ?? 'not optimised',
};
await serve({ about, count: images.count, run, openServer });
