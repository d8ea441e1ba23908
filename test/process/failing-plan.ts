// Fine-tunes with a plan that fails while images are being decoded, and prints what the program gets of it.

import { fineTune, loadModel } from '../../src/index.js';
import { backbone, defects, quick } from '../defects.js';

await using model = await loadModel(backbone, { device: 'cpu', threads: 1 });

const plan = () => Promise.reject(new Error('the plan failed'));
Object.defineProperty(model.native, 'plan', { value: plan, configurable: true });
// One decoder: when the first batch is there, none of the next is.
const start = () => fineTune(model, defects(40, 6), { ...quick, cache: 'memory' });
try {
  // Nobody waits for this run but its loop.
  for await (const _ of start()) console.log('an epoch');
} catch (error) {
  console.log((error as Error).message);
}
try {
  await start();
} catch (error) {
  console.log((error as Error).message);
}
