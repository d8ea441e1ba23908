// A worker thread that loads a model and trains it: `steps` steps, or until it is terminated. Plain JavaScript, since
// workers do not inherit the loader that runs the tests.
import { parentPort, workerData } from 'node:worker_threads';
import { loadAddon } from '../../lib/addon.js';

const { source, training, batch, steps } = workerData;
const model = await loadAddon().load(source, { device: 'cpu', threads: 1 });
await model.configure(training);
for (let step = 0; step < steps; step++) {
  const running = model.step(batch);
  if (step === 0) parentPort.postMessage('training');
  await running;
}
