// The peer's side of `npm run bench -- predict`: onnxruntime-node in float32 on pixels that are already normalised.
import { indexOfMax, readImages, serve, takeRows } from './serving.js';

const config = JSON.parse(process.argv.at(-1));
const { default: onnxruntime } = await import(config.onnxruntime);
const { size, threads, mean, std } = config;
const images = readImages(config);
const area = size * size;

/** Normalised float32 [count, 3, size, size], before any clock runs. */
const inputs = new Float32Array(images.count * 3 * area);
for (let image = 0; image < images.count; image++) {
  for (let pixel = 0; pixel < area; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      const value = images.data[(image * area + pixel) * 3 + channel] / 255;
      inputs[(image * 3 + channel) * area + pixel] = (value - mean[channel]) / std[channel];
    }
  }
}

const session = await onnxruntime.InferenceSession.create(config.onnx, {
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  executionMode: 'sequential',
  graphOptimizationLevel: 'all',
});

async function run(from, n) {
  const { logits } = await session.run({
    input: new onnxruntime.Tensor('float32', takeRows(inputs, 3 * area, from, n), [n, 3, size, size]),
  });
  return logits.data;
}

const server = { answer: async (index) => indexOfMax(await run(index, 1)), close: () => session.release() };

const about = {
  version: `onnxruntime-node ${onnxruntime.env.versions.node ?? onnxruntime.env.versions.common}`,
  precision: 'float32',
};
await serve({ about, count: images.count, run, openServer: async () => server });
