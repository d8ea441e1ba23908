// Our side of `npm run bench -- loader`: passes over lists of images with BatchLoader, on command.
import { writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { BatchLoader, completePreprocessing } from '../../lib/index.js';
import { packageVersion } from '../../lib/package.js';

const config = JSON.parse(process.argv.at(-1));
const preprocessing = completePreprocessing();
/** What the peer calls plain and augmented. The random crop and flip of a training image are done natively, in the step. */
const views = { plain: 'eval', augmented: 'canvas' };

function open({ set, view, threads }) {
  const samples = config.sets[set].map((path) => ({ path, label: 0 }));
  return new BatchLoader(samples, { preprocessing, view: views[view], batchSize: config.batch, threads });
}

async function pass(request) {
  const processor = process.cpuUsage();
  const start = performance.now();
  let images = 0;
  for await (const batch of open(request)) images += batch.shape[0];
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(processor);
  return { images, seconds, processorSeconds: (user + system) / 1e6 };
}

/** The pixels of the first batch. */
async function pixels(request) {
  for await (const { data, shape } of open({ ...request, view: 'plain', threads: 1 })) {
    writeFileSync(request.file, data);
    return { shape };
  }
}

const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
say({ version: `torchgraft ${packageVersion()}` });
for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line);
  say(await (request.do === 'pixels' ? pixels(request) : pass(request)));
}
