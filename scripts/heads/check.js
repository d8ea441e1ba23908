// Takes a network for each line of standard input, as main.py writes them, and answers a line each.
import { rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { createTrainer, loadModel } from '../../lib/index.js';

const options = { device: 'cpu', threads: 1 };

for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await check(JSON.parse(line)))}\n`);
}

async function check({ file, heads, size, way }) {
  const model = await loadModel(file, options);
  try {
    const { headProblem } = await model.summary();
    if (headProblem) return { outcome: 'refused', text: headProblem };
    const seen = [await mainHeads(model), ...(await replaceTwice(model, heads, size, `${file}.saved`))];
    const stray = seen.find((found) => String(found) !== String(heads));
    if (stray) return { outcome: 'wrong', text: `${stray} for ${heads}` };
    return { outcome: 'found', text: `${heads} (${way}, ${size} px)` };
  } catch (error) {
    return { outcome: 'wrong', text: `${error.code}: ${error.message}` };
  } finally {
    await model.dispose();
  }
}

/** What is taken for the head after a step of a new one, by what the file says, without it, and when it is replaced again. */
async function replaceTwice(model, heads, size, saved) {
  const { parameters } = await model.replaceHead({ classes: 3, imageSize: size });
  await model.setTrainable(parameters);
  await step(model, size);
  await model.save(saved);
  const loaded = await loadModel(saved, options);
  try {
    const known = await mainHeads(loaded);
    await loaded.native.nameHeads([], null);
    const found = await mainHeads(loaded);
    const { layers } = await loaded.replaceHead({ classes: 2, imageSize: size });
    return [known, found, layers.filter((layer) => heads.includes(layer)).sort()];
  } finally {
    await loaded.dispose();
    rmSync(saved, { force: true });
  }
}

async function mainHeads(model) {
  const { heads } = await model.summary();
  return heads
    .filter(({ role }) => role === 'main')
    .map(({ module }) => module)
    .sort();
}

async function step(model, size) {
  const trainer = await createTrainer(model, { optimizer: 'sgd', learningRate: 0.01 });
  const data = Float32Array.from({ length: 2 * 3 * size * size }, (_, i) => Math.sin(i * 12.9));
  const target = { data: Int32Array.of(0, 1), shape: [2], dtype: 'int32' };
  await trainer.step({ inputs: [{ data, shape: [2, 3, size, size], dtype: 'float32' }], target });
}
