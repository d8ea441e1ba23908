/** Loads, trains, predicts and measures; what it gives is compared across realms. `given` are paths. */
import * as torchgraft from 'torchgraft';

export async function run({ backbone, folder, image, bytes, out, baselines }) {
  const { fineTune, imageFolder, loadClassifier, loadModel, createPredictor, createTrainer } = torchgraft;
  const preprocessing = { size: 96, resize: 96 };
  const data = await imageFolder(folder);
  const model = await loadModel(backbone, { device: 'cpu', threads: 1 });
  const { signal } = new AbortController();
  const seen = [];
  const training = fineTune(model, data, {
    ...{
      epochs: 1,
      strategy: 'head',
      precision: 'float32',
      cache: 'none',
      threads: 1,
      preprocessing,
      signal,
    },
    onBatch: ({ phase }) => seen.push(phase),
  });
  for await (const epoch of training) seen.push(epoch.epoch);
  await model.save(`${out}.pt`);
  await torchgraft.writeReport(`${out}.html`, { model, data, result: training.result });
  const selected = model.select(/^fc\./);
  await model.dispose();

  // Bytes and numbers of this realm.
  const classifier = await loadClassifier(`${out}.pt`, { device: 'cpu', threads: 1 });
  const own = Uint8Array.from(bytes);
  const pixels = new Uint8ClampedArray(96 * 96 * 3).fill(90);
  const raw = { data: pixels, width: 96, height: 96, channels: 3 };
  const large = { data: new Uint8Array(500 * 500 * 4).fill(90), width: 500, height: 500, channels: 4 };
  const predictions = await classifier.predict([image, own, raw, large], { top: 1 });
  const { model: inner } = classifier;
  const again = await loadModel(Uint8Array.from(await readBytes(`${out}.pt`)), { device: 'cpu', threads: 1 });
  const input = { data: new Float32Array(3 * 96 * 96), shape: [1, 3, 96, 96], dtype: 'float32' };
  const logits = await inner.forward([input]);
  const same = await again.forward([input]);
  const trainer = await createTrainer(again, { learningRate: 0.1 });
  const step = await trainer.step({
    inputs: [input],
    target: { data: Int32Array.of(0), shape: [1], dtype: 'int32' },
  });
  await again.dispose();
  await classifier.dispose();

  // Which precision is fastest, a clock would tell.
  const serving = { device: 'cpu', threads: 1, maxBatch: 2, precision: 'float32' };
  const predictor = await createPredictor(`${out}.pt`, serving);
  const served = await predictor.predict(own, { signal });
  const servedPixels = await predictor.predictPixels(pixels);
  await predictor.dispose();

  const scores = Float32Array.of(1, 0, 0, 1);
  const metrics = torchgraft.classificationMetrics(scores, Int32Array.of(0, 1), 0.5, { classes: ['a', 'b'] });
  const { codes, isOwn } = await refusals();
  return {
    ...{ seen, selected, codes, isOwn },
    top: predictions.map(({ top }) => top[0].class),
    isSame: Array.from(logits.data).join() === Array.from(same.data).join(),
    loss: step.loss,
    served: [served.top[0].class, servedPixels.top[0].class],
    accuracy: metrics.accuracy,
  };
}

async function readBytes(path) {
  const { readFile } = await import('node:fs/promises');
  return readFile(path);
}

/** Codes of mistakes, and whether the errors are of this realm. */
async function refusals() {
  const { loadModel, loadClassifier, fineTune } = torchgraft;
  const attempts = [
    () => loadModel('nothing.pt'),
    () => loadModel(new Float32Array(4)),
    () => loadModel(Uint8Array.of(1, 2, 3)),
    () => loadClassifier('nothing.pt', { thread: 1 }),
    async () => fineTune({}, {}, { signal: {} }),
  ];
  const errors = [];
  for (const attempt of attempts)
    errors.push(
      await attempt().then(
        () => ({}),
        (error) => error,
      ),
    );
  return { codes: errors.map(({ code }) => code), isOwn: errors.map((error) => error instanceof Error) };
}
