// What both sides of `npm run bench -- predict` do with a way to run a batch, and a way to answer one request.
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { quantile } from './statistics.js';

/** The loop's timer fires this often while it is watched, milliseconds. */
const resolution = 1;

/** The validation images as bytes [count, size, size, 3]. */
export function readImages({ images, size }) {
  const data = new Uint8Array(readFileSync(images));
  const bytes = size * size * 3;
  return { count: data.length / bytes, bytes, data };
}

/** n rows of `length` values from one on, counted around the end; a view where they lie together. */
export function takeRows(values, length, from, n) {
  const count = values.length / length;
  const start = from % count;
  if (start + n <= count) return values.subarray(start * length, (start + n) * length);
  const rows = new values.constructor(n * length);
  for (let row = 0; row < n; row++) {
    const index = (from + row) % count;
    rows.set(values.subarray(index * length, (index + 1) * length), row * length);
  }
  return rows;
}

/** Runs batches for a while, at least three; whole ones where there are images enough, so that nobody copies rows. */
async function measureBatches(run, count, { batch, seconds }) {
  const each = [];
  const starts = Math.max(1, Math.floor(count / batch));
  const start = performance.now();
  const processor = process.cpuUsage();
  for (let turn = 0; turn < 3 || performance.now() - start < seconds * 1000; turn++) {
    const before = performance.now();
    await run((turn % starts) * batch, batch);
    each.push((performance.now() - before) / 1000);
  }
  const total = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(processor);
  return {
    batch,
    batches: each.length,
    seconds: total,
    median: quantile(each, 0.5),
    processorSeconds: (user + system) / 1e6,
  };
}

/** `clients` ask one image at a time, each again as soon as it has its answer; the event loop is watched meanwhile. */
async function measureRequests(answer, expected, { clients, seconds }) {
  const latencies = [];
  let right = 0;
  let next = 0;
  const delay = monitorEventLoopDelay({ resolution });
  const end = performance.now() + seconds * 1000;
  const client = async () => {
    while (performance.now() < end) {
      const index = next++ % expected.length;
      const before = performance.now();
      const best = await answer(index);
      latencies.push(performance.now() - before);
      if (best === expected[index]) right++;
    }
  };
  delay.enable();
  const start = performance.now();
  await Promise.all(Array.from({ length: clients }, client));
  const total = (performance.now() - start) / 1000;
  delay.disable();
  const late = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - resolution);
  return {
    clients,
    requests: latencies.length,
    right,
    seconds: total,
    latencyMs: { p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99), max: Math.max(...latencies) },
    loopDelayMs: { p50: late(delay.percentile(50)), p99: late(delay.percentile(99)), max: late(delay.max) },
  };
}

/** Logits of all images, written as float32 [count, classes]; and the best class of each. */
async function writeLogits(run, count, { file }) {
  const out = openSync(file, 'w');
  const best = [];
  let classes;
  for (let from = 0; from < count; from += 32) {
    const n = Math.min(32, count - from);
    const logits = await run(from, n);
    classes = logits.length / n;
    for (let row = 0; row < n; row++)
      best.push(indexOfMax(logits.subarray(row * classes, (row + 1) * classes)));
    writeSync(out, new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength));
  }
  closeSync(out);
  return { classes, best };
}

export function indexOfMax(values) {
  let best = 0;
  for (let index = 1; index < values.length; index++) if (values[index] > values[best]) best = index;
  return best;
}

/**
 * Answers requests on stdin until it closes.
 *
 * @param side `about`, said first; `count` of images; `run(from, n)` gives logits of n images, counted around the end;
 *   `openServer()` gives `{ answer(index), close() }`, the best class of one image
 */
export async function serve({ about, count, run, openServer }) {
  const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
  let expected;
  let server;
  const tasks = {
    logits: async (request) => {
      const logits = await writeLogits(run, count, request);
      expected = logits.best;
      return logits;
    },
    batches: (request) => measureBatches(run, count, request),
    requests: async (request) => {
      server ??= await openServer();
      return measureRequests(server.answer, expected, request);
    },
  };
  say(about);
  for await (const line of createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    say(await tasks[request.do](request));
  }
  await server?.close();
}
