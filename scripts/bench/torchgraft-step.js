// Our side of `npm run bench -- step`: prepares one model and one batch, then does train steps on command.
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { loadModel, normalisation } from '../../lib/index.js';
import { versions } from '../../lib/versions.js';

const config = JSON.parse(process.argv.at(-1));
const { size, labels, threads } = config;
const model = await loadModel(config.model, { device: 'cpu', threads });
await model.replaceHead({ classes: config.classes, imageSize: size });
await model.save(config.start);
await model.setTrainable(model.select(/(?:)/));
const { learningRate, weightDecay } = config;
await model.native.configure({
  optimizer: { kind: 'adamw', beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
  groups: [{ parameters: model.trainable, learningRate, weightDecay }],
  loss: { kind: 'crossEntropy', labelSmoothing: 0 },
  clipNorm: 0,
  accumulate: 1,
  auxiliaryWeight: 0.4,
  seed: 0,
  preprocess: { ...normalisation(config.normalisation), size: [size, size] },
  augment: null,
});
const batch = {
  inputs: [
    {
      data: new Uint8Array(readFileSync(config.images)),
      shape: [labels.length, size, size, 3],
      dtype: 'uint8',
    },
  ],
  target: { data: Int32Array.from(labels), shape: [labels.length], dtype: 'int32' },
};

// As fineTune does, on the first images.
const few = Math.min(8, labels.length);
const [{ data }] = batch.inputs;
const { split, variant, precision } = await model.native.plan(
  {
    inputs: [
      { ...batch.inputs[0], data: data.subarray(0, few * size * size * 3), shape: [few, size, size, 3] },
    ],
    target: { ...batch.target, data: batch.target.data.subarray(0, few), shape: [few] },
  },
  { precision: config.precision, split: true },
);

async function steps(count) {
  const losses = [];
  const seconds = [];
  const before = process.resourceUsage();
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    losses.push((await model.native.step(batch)).loss);
    seconds.push((performance.now() - start) / 1000);
  }
  const after = process.resourceUsage();
  return {
    losses,
    seconds,
    userSeconds: (after.userCPUTime - before.userCPUTime) / 1e6,
    systemSeconds: (after.systemCPUTime - before.systemCPUTime) / 1e6,
    minorFaults: after.minorPageFault - before.minorPageFault,
    peakRssMb: after.maxRSS / 1024,
  };
}

const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
say({ versions: versions(), trainable: model.trainable.length, plan: { split, variant, precision } });
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  say(
    request.do === 'evaluate'
      ? { loss: (await model.native.evaluate(batch)).loss }
      : await steps(request.count),
  );
}
await model.dispose();
