/** Every method of Predictor in every state it can be in. One table says what must happen. */
import t from 'tap';
import { loadAddon } from '../src/addon.js';
import { createPredictor, type Predictor } from '../src/index.js';
import { threadBudget } from '../src/thread-budget.js';
import { defects } from './defects.js';
import { grey, holdThreads, pixels, red, saveModel, until } from './predictors.js';
import { outcomeOf } from './process/tiny.js';

const images = defects(6, 6).splits.val.map(({ path }) => path);
const image = images[0] as string;
const folder = t.testdir();
const file = await saveModel(folder, 'grey', grey);
const other = await saveModel(folder, 'other', { ...red, size: grey.size, resize: grey.resize });
const { live } = loadAddon();
const options = { device: 'cpu', threads: 1, precision: 'float32' } as const;

type Test = Parameters<typeof holdThreads>[0];
type Work = Record<string, Promise<unknown>>;
interface Reached {
  /** What goes on, and must come out as `during` says. */
  work?: Work;
  /** Called once the method under test was called. */
  release?: () => void;
}

/** How a predictor with room for one request gets into each state. */
const states = {
  idle: async () => ({}),
  running: async (predictor, t) => {
    const release = await holdThreads(t);
    const work = { request: predictor.predict(image) };
    await until(() => threadBudget.use().waitingTeams === 1);
    release();
    // It begins within this turn of the event loop, in which it cannot end.
    for (let tick = 0; tick < 1000 && predictor.stats().running === 0; tick++) await null;
    if (predictor.stats().running !== 1) throw new Error('the batch did not begin');
    return { work };
  },
  full: async (predictor, t) => {
    const release = await holdThreads(t);
    return { work: { request: predictor.predict(image) }, release };
  },
  swapping: async (predictor) => ({ work: { swap: predictor.swap(other) } }),
  swapFailed: async (predictor) => {
    await outcomeOf(() => predictor.swap('nowhere.pt'));
    return {};
  },
  draining: async (predictor, t) => {
    const release = await holdThreads(t);
    return { work: { request: predictor.predict(image), drain: predictor.drain() }, release };
  },
  drained: async (predictor) => {
    await predictor.drain();
    return {};
  },
  disposing: async (predictor, t) => {
    const release = await holdThreads(t);
    return { work: { lostRequest: predictor.predict(image), dispose: predictor.dispose() }, release };
  },
  disposed: async (predictor) => {
    await predictor.dispose();
    return {};
  },
} satisfies Record<string, (predictor: Predictor, t: Test) => Promise<Reached>>;
type State = keyof typeof states;

const calls = {
  predict: (predictor) => predictor.predict(image),
  predictMany: (predictor) => predictor.predictMany([image]),
  predictSettled: (predictor) => predictor.predictSettled([image]),
  predictPixels: (predictor) => predictor.predictPixels(pixels(1, grey.size)),
  stats: async (predictor) => predictor.stats(),
  swap: (predictor) => predictor.swap(other),
  drain: (predictor) => predictor.drain(),
  dispose: (predictor) => predictor.dispose(),
} satisfies Record<string, (predictor: Predictor) => Promise<unknown>>;
type Method = keyof typeof calls;

const many = 'QUEUE_FULL';
const no = 'DISPOSED';
// biome-ignore format: a table
const table: Record<Method, Record<State, string>> = {
  predict:       { idle: 'ok', running: 'ok', full: many, swapping: 'ok', swapFailed: 'ok', draining: no,   drained: no,   disposing: no,   disposed: no },
  predictMany:   { idle: 'ok', running: 'ok', full: many, swapping: 'ok', swapFailed: 'ok', draining: no,   drained: no,   disposing: no,   disposed: no },
  predictSettled: { idle: 'ok', running: 'ok', full: many, swapping: 'ok', swapFailed: 'ok', draining: no,  drained: no,   disposing: no,   disposed: no },
  predictPixels: { idle: 'ok', running: 'ok', full: many, swapping: 'ok', swapFailed: 'ok', draining: no,   drained: no,   disposing: no,   disposed: no },
  stats:         { idle: 'ok', running: 'ok', full: 'ok', swapping: 'ok', swapFailed: 'ok', draining: 'ok', drained: 'ok', disposing: 'ok', disposed: 'ok' },
  swap:          { idle: 'ok', running: 'ok', full: 'ok', swapping: 'ok', swapFailed: 'ok', draining: no,   drained: no,   disposing: no,   disposed: no },
  drain:         { idle: 'ok', running: 'ok', full: 'ok', swapping: 'ok', swapFailed: 'ok', draining: 'ok', drained: 'ok', disposing: 'ok', disposed: 'ok' },
  dispose:       { idle: 'ok', running: 'ok', full: 'ok', swapping: 'ok', swapFailed: 'ok', draining: 'ok', drained: 'ok', disposing: 'ok', disposed: 'ok' },
};

/** What becomes of the work of a state, whatever is called meanwhile; dispose() and drain() end more. */
function outcomesAfter(name: string, method: Method, state: State): string {
  if (name === 'lostRequest') return 'DISPOSED';
  if (name === 'swap') return method === 'drain' || method === 'dispose' ? 'DISPOSED' : 'ok';
  const isRunning = state === 'running';
  if (name === 'request' && method === 'dispose') return isRunning ? 'ok' : 'DISPOSED';
  return 'ok';
}

for (const state of Object.keys(states) as State[]) {
  t.test(`every method when the predictor is ${state}`, async (t) => {
    for (const method of Object.keys(calls) as Method[]) {
      const predictor = await createPredictor(file, { ...options, maxQueue: 1, maxBatch: 4 });
      const { work = {}, release }: Reached = await states[state](predictor, t);
      const others = Object.entries(work).map(async ([name, promise]) => [
        name,
        await outcomeOf(() => promise),
      ]);
      const call = outcomeOf(() => calls[method](predictor));
      release?.();
      t.equal(await call, table[method][state], method);
      for (const [name, outcome] of await Promise.all(others)) {
        t.equal(outcome, outcomesAfter(name as string, method, state), `${method}: the ${name} before it`);
      }
      await predictor.dispose();
      t.same(live(), { models: 0, tasks: 0 }, method);
    }
  });
}

t.test('the table has every method of the class', async (t) => {
  const predictor = await createPredictor(file, options);
  const names = Object.getOwnPropertyNames(Object.getPrototypeOf(predictor));
  t.same(names.sort(), [...Object.keys(table), 'card', 'classes', 'constructor'].sort());
  await predictor.dispose();
  t.same(predictor.classes, grey.classes, 'what it served can be read still');
});
