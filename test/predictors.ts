/** What the tests of the predictor share: two small models of other classes and sizes, and ways to hold its work. */
import { join } from 'node:path';
import {
  completePreprocessing,
  createPredictor,
  loadModel,
  type ModelCard,
  type Prediction,
  type PredictorOptions,
  type Preprocessing,
} from '../src/index.js';
import { Batcher } from '../src/predictor/batcher.js';
import { ImageRequest } from '../src/predictor/request.js';
import type { Serving } from '../src/predictor/serving.js';
import { threadBudget } from '../src/thread-budget.js';
import { residual } from './defects.js';

interface Test {
  teardown(free: () => unknown): unknown;
}

export const grey = { classes: ['ant', 'bee', 'cat', 'dog', 'elk', 'fox'], size: 32, resize: 36 };
export const red = { classes: ['oak', 'pine', 'yew'], size: 24, resize: 24 };

export function cardOf({ classes, ...parts }: { classes: string[] } & Partial<Preprocessing>): ModelCard {
  const preprocessing = completePreprocessing(parts);
  return { format: 1, classes, preprocessing, provenance: {}, metrics: {} };
}

/** The fixture network with a new head for these classes, and their card in it. */
export async function saveModel(folder: string, name: string, of: typeof grey): Promise<string> {
  const file = join(folder, `${name}.pt`);
  await using model = await loadModel(residual, { device: 'cpu', threads: 1 });
  await model.replaceHead({ classes: of.classes.length, seed: of.size, imageSize: of.size });
  await model.save(file, cardOf(of));
  return file;
}

export async function predictor(t: Test, file: string, options: PredictorOptions = {}) {
  const made = await createPredictor(file, { device: 'cpu', threads: 1, precision: 'float32', ...options });
  t.teardown(() => made.dispose());
  return made;
}

/** RGB bytes [side, side, 3] that differ by seed. */
export function pixels(seed: number, side = 32): Uint8Array {
  return Uint8Array.from({ length: side * side * 3 }, (_, i) => (i * (seed + 3)) % 256);
}

/** Takes all threads of the budget, so that no batch can begin, until the function it returns is called. */
export async function holdThreads(t: Test): Promise<() => void> {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  await new Promise<void>((taken) => {
    void threadBudget.compute(threadBudget.threads, () => {
      taken();
      return released;
    });
  });
  t.teardown(release);
  return release;
}

/** Takes the places of all decoders, likewise. */
export async function holdDecoders(t: Test): Promise<() => void> {
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  for (let i = 0; i < threadBudget.threads; i++) void threadBudget.decode(() => released);
  t.teardown(release);
  await turns(1);
  return release;
}

/** Lets the event loop turn, for work that needs no other thread. */
export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((done) => setImmediate(done));
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turns(1);
}

/** Stands for a model whose batches end when the test says so; its logits are the first bytes of each image. */
export function handServing(parts: { card?: ModelCard; fixedCostMs?: number } = {}) {
  const card = parts.card ?? cardOf(grey);
  const batches: { count: number; end: () => void; fail: (error: Error) => void }[] = [];
  const classify = (given: Uint8Array, count: number) => {
    const bytes = given.length / count;
    const classes = card.classes.length;
    const logits = Float32Array.from({ length: count * classes }, (_, i) => {
      return given[Math.floor(i / classes) * bytes + (i % classes)] as number;
    });
    return new Promise<Float32Array>((resolve, reject) => {
      batches.push({ count, end: () => resolve(logits), fail: reject });
    });
  };
  const serving = { card, threads: 1, fixedCostMs: parts.fixedCostMs ?? 0, classify };
  return { serving: serving as unknown as Serving, batches };
}

export function handBatcher(
  options: Partial<{ maxBatch: number; maxDelayMs: number; maxQueue: number }> = {},
  parts = {},
) {
  const { serving, batches } = handServing(parts);
  const settings = {
    maxBatch: 32,
    maxDelayMs: 2,
    maxQueue: 1024,
    threads: 2,
    precision: 'auto',
    device: 'cpu',
    maxAccuracyLoss: 0,
  } as const;
  const batcher = new Batcher(serving, { ...settings, ...options });
  return { batcher, batches };
}

/** A request for an image; what becomes of it is kept in `outcome`. */
export function request(image: ImageRequest['image'], signal?: AbortSignal) {
  const made = new ImageRequest(image, false, { top: 1, threshold: 0.5, ...(signal ? { signal } : {}) });
  const asked = { request: made, outcome: 'open' };
  made.answer.then(
    ({ top }: Prediction) => {
      asked.outcome = top[0]?.class ?? '';
    },
    ({ code, message }) => {
      asked.outcome = code ?? message;
    },
  );
  return asked;
}

/** Raw pixels that are only cropped; `handServing` says class `best` of them. */
export function rawOf(best: number, side = 36) {
  const data = new Uint8Array(side * side * 3);
  const { size, resize } = grey;
  const margin = (resize - size) / 2;
  data[(margin * side + margin) * 3 + best] = 255;
  return { data, width: side, height: side, channels: 3 as const };
}
