// Every method of NativeModel in every state a model can be in. One table says what must happen.
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import t from 'tap';
import { loadAddon } from '../../src/addon.js';
import type { NativeModel } from '../../src/native.js';
import {
  adapterContent,
  adapters,
  augmentedBatch,
  augmentedTraining,
  batch,
  biases,
  features,
  head,
  images,
  keyedBatch,
  knownPlan,
  type Method,
  outcomeOf,
  parameters,
  serving,
  tinyModel,
  training,
} from '../process/tiny.js';

const addon = loadAddon();
const load = () => addon.load(tinyModel, { device: 'cpu', threads: 1 });
const directory = t.testdir({ 'notes.txt': 'not a model', empty: '' });
const checkpoint = join(directory, 'checkpoint.pt');
const target = join(directory, 'saved.pt');

/** How a model gets into each state; what is returned is awaited after the call under test. */
const states = {
  fresh: async () => {},
  configured: async (model: NativeModel) => model.configure(training()),
  /** The kept weights make restoreBest possible. */
  kept: async (model: NativeModel) => {
    await model.configure(training());
    await model.step(batch());
    await model.keepBest();
  },
  planned: async (model: NativeModel) => {
    await model.setTrainable(['fc.weight', 'fc.bias'], false);
    await model.configure(training());
    await model.plan(batch(), { precision: 'float32', split: true });
  },
  /** Features are kept; training takes pixels. */
  keeping: async (model: NativeModel) => {
    await model.setTrainable(['fc.weight', 'fc.bias'], false);
    await model.configure(augmentedTraining());
    await model.plan(augmentedBatch(), { precision: 'float32', split: true });
    await model.openFeatures(features());
  },
  headReplaced: async (model: NativeModel) => {
    await model.configure(training());
    await model.replaceHead(head({ classes: 3 }));
  },
  headFailed: async (model: NativeModel) => {
    await model.configure(training());
    await outcomeOf(() => model.replaceHead(head({ layer: 'conv' })));
  },
  lossFailed: async (model: NativeModel) => {
    await model.configure(
      training({
        loss: { kind: 'source', source: 'def loss(output, target):\n    return output.sum() / 0' },
      }),
    );
    await outcomeOf(() => model.step(batch()));
  },
  optimised: async (model: NativeModel) => {
    await model.optimise(serving());
  },
  busy: async (model: NativeModel) => {
    await model.configure(training());
    return [model.step(batch())];
  },
  disposing: async (model: NativeModel) => {
    await model.configure(training());
    return [model.step(batch()), model.dispose()];
  },
  disposed: async (model: NativeModel) => model.dispose(),
} satisfies Record<string, (model: NativeModel) => Promise<unknown>>;
type State = keyof typeof states;

const calls: Record<Method, (model: NativeModel) => Promise<unknown>> = {
  describe: (model) => model.describe(),
  values: (model) => model.values(parameters),
  setValues: (model) => model.setValues(['fc.bias', 'bn.running_mean'], biases()),
  gradients: (model) => model.gradients(parameters),
  forward: (model) => model.forward([images(2)]),
  setTrainable: (model) => model.setTrainable(['fc.weight', 'fc.bias'], false),
  replaceHead: (model) => model.replaceHead(head()),
  nameHeads: (model) => model.nameHeads(['fc'], null),
  addAdapters: (model) => model.addAdapters(adapters()),
  mergeAdapters: (model) => model.mergeAdapters(),
  putAdapters: (model) => model.putAdapters(adapterContent()),
  adaptInput: (model) => model.adaptInput({ channels: 3, example: [images(1)] }),
  reinitialise: (model) => model.reinitialise(1),
  estimateStatistics: (model) => model.estimateStatistics({ inputs: [images(2)], before: 0 }),
  configure: (model) => model.configure(training()),
  plan: (model) => model.plan(batch(), { precision: 'float32', split: true }),
  planKey: (model) => model.planKey(),
  usePlan: (model) => model.usePlan(knownPlan()),
  optimise: (model) => model.optimise(serving()),
  openFeatures: (model) => model.openFeatures(features()),
  findFeatures: (model) => model.findFeatures(keyedBatch().keys),
  storeFeatures: (model) => model.storeFeatures(keyedBatch()),
  readFeatures: (model) => model.readFeatures(Int32Array.of(0)),
  keepSource: (model) => model.keepSource(),
  dropSource: (model) => model.dropSource(),
  addFisher: (model) => model.addFisher({ inputs: [images(2)], seed: 1 }),
  fisher: (model) => model.fisher(['fc.weight']),
  joinSourceHead: (model) => model.joinSourceHead('fc'),
  partSourceHead: (model) => model.partSourceHead('fc', 2),
  step: (model) => model.step(batch()),
  evaluate: (model) => model.evaluate(batch()),
  gradCam: (model) => model.gradCam({ inputs: [images(2)] }),
  keepBest: (model) => model.keepBest(),
  restoreBest: (model) => model.restoreBest(),
  save: (model) => model.save(target, {}),
  saveCheckpoint: (model) => model.saveCheckpoint(target, {}),
  loadCheckpoint: (model) => model.loadCheckpoint(checkpoint),
  dispose: (model) => model.dispose(),
};

const columns: State[] = [
  'fresh',
  'configured',
  'kept',
  'planned',
  'keeping',
  'optimised',
  'headReplaced',
  'headFailed',
  'lossFailed',
  'busy',
  'disposing',
  'disposed',
];
const [no, froz] = ['NOT_TRAINABLE', 'MODEL_FROZEN'];
/** Without a plan there are no features; training on pixels takes no floats. */
const [value, shape, loss, lost] = ['INVALID_VALUE', 'SHAPE_MISMATCH', 'LOSS_NOT_FINITE', 'FEATURES_DAMAGED'];
// biome-ignore format: a table
const table: Record<Method, string[]> = {
  //               fresh configured kept  planned keeping optimised headReplaced headFailed lossFailed busy disposing   disposed
  describe:       ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  values:         ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  setValues:      ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , froz , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  gradients:      ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  forward:        ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  setTrainable:   ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , froz , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  replaceHead:    ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , froz , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  nameHeads:      ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , froz , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  addAdapters:    ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , froz , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  putAdapters:    ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , froz , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  mergeAdapters:  ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , froz , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  adaptInput:     ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , froz , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  reinitialise:   ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , froz , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  estimateStatistics: ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , froz , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  configure:      ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , froz , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
 // A loss that is not finite proves nothing equal: unsplit.
  plan:           [no   , 'ok' , 'ok' , 'ok' , shape, froz , no   , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  planKey:        [no   , 'ok' , 'ok' , 'ok' , 'ok' , froz , no   , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  usePlan:        [no   , 'ok' , 'ok' , 'ok' , 'ok' , froz , no   , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  optimise:       ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , froz , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  openFeatures:   [no   , value, value, 'ok' , 'ok' , froz , no   , value, value, 'BUSY', 'DISPOSED', 'DISPOSED'],
  findFeatures:   [no   , value, value, value, 'ok' , froz , no   , value, value, 'BUSY', 'DISPOSED', 'DISPOSED'],
  storeFeatures:  [no   , value, value, value, 'ok' , froz , no   , value, value, 'BUSY', 'DISPOSED', 'DISPOSED'],
  // Nothing is kept yet: row 0 is none.
  readFeatures:   [no   , value, value, value, lost , froz , no   , value, value, 'BUSY', 'DISPOSED', 'DISPOSED'],
  keepSource:     ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , froz , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  dropSource:     ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  // No source is kept.
  addFisher:      [value, value, value, value, value, froz , value, value, value, 'BUSY', 'DISPOSED', 'DISPOSED'],
  fisher:         [value, value, value, value, value, froz , value, value, value, 'BUSY', 'DISPOSED', 'DISPOSED'],
  joinSourceHead: [value, value, value, value, value, froz , value, value, value, 'BUSY', 'DISPOSED', 'DISPOSED'],
  partSourceHead: ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , froz , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  step:           [no   , 'ok' , 'ok' , 'ok' , shape, froz , no   , 'ok' , loss , 'BUSY', 'DISPOSED', 'DISPOSED'],
  evaluate:       ['ok' , 'ok' , 'ok' , 'ok' , shape, 'ok' , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  gradCam:        ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , froz , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  keepBest:       [no   , 'ok' , 'ok' , 'ok' , 'ok' , froz , no   , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  restoreBest:    [no   , no   , 'ok' , no   , no   , froz , no   , no   , no   , 'BUSY', 'DISPOSED', 'DISPOSED'],
  save:           ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  saveCheckpoint: [no   , 'ok' , 'ok' , 'ok' , 'ok' , froz , no   , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  loadCheckpoint: [no   , 'ok' , 'ok' , 'ok' , 'ok' , froz , no   , 'ok' , 'ok' , 'BUSY', 'DISPOSED', 'DISPOSED'],
  dispose:        ['ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' , 'ok' ],
};

t.before(async () => {
  const model = await load();
  await model.configure(training());
  await model.step(batch());
  await model.saveCheckpoint(checkpoint, {});
  await model.dispose();
});

for (const [column, state] of columns.entries()) {
  t.test(`every method when the model is ${state}`, async (t) => {
    for (const method of Object.keys(calls) as Method[]) {
      const model = await load();
      const running = await states[state](model);
      const outcome = await outcomeOf(() => calls[method](model));
      t.equal(outcome, table[method][column], method);
      // What was running is not disturbed by a refused call.
      for (const work of (running ?? []) as Promise<unknown>[])
        t.equal(await outcomeOf(() => work), 'ok', `${method}: the work before it`);
      await model.dispose();
    }
    t.same(addon.live(), { models: 0, tasks: 0 });
  });
}

t.test('the table has every method of the class', async (t) => {
  const model = await load();
  const names = Object.getOwnPropertyNames(Object.getPrototypeOf(model));
  const expected = [...Object.keys(table), 'bytes', 'extra', 'constructor'];
  t.same(names.sort(), expected.sort());
  await model.dispose();
});

t.test('bytes and extra can be read in every state; bytes is 0 once disposed', async (t) => {
  for (const state of columns) {
    const model = await load();
    await Promise.all(((await states[state](model)) ?? []) as Promise<unknown>[]);
    t.same(model.extra, {}, state);
    t[state.startsWith('dispos') ? 'equal' : 'not'](model.bytes, 0, state);
    await model.dispose();
    t.equal(model.bytes, 0, state);
  }
});

t.test('dispose waits for the work before it, and a second dispose for the first', async (t) => {
  const model = await load();
  await model.configure(training());
  const order: string[] = [];
  await Promise.all([
    model.step(batch(64, 64)).then(() => order.push('step')),
    model.dispose().then(() => order.push('first')),
    model.dispose().then(() => order.push(`second ${model.bytes}`)),
  ]);
  t.same(order, ['step', 'first', 'second 0']);
});

t.test('a load that fails leaves nothing alive', async (t) => {
  const pipe = join(directory, 'pipe');
  execFileSync('mkfifo', [pipe]);
  const options = { device: 'cpu', threads: 1 };
  const failures: [string, string | Uint8Array, object, string][] = [
    ['no file', join(directory, 'missing.pt'), options, 'FILE_NOT_FOUND'],
    ['a directory', directory, options, 'FILE_NOT_FOUND'],
    ['a pipe', pipe, options, 'FILE_NOT_FOUND'],
    ['a path with a zero byte', `${tinyModel}\0`, options, 'INVALID_VALUE'],
    ['a text file', join(directory, 'notes.txt'), options, 'MODEL_UNREADABLE'],
    ['an empty file', join(directory, 'empty'), options, 'MODEL_UNREADABLE'],
    ['no bytes', new Uint8Array(0), options, 'MODEL_UNREADABLE'],
    ['other bytes', new Uint8Array(1000).fill(80), options, 'MODEL_UNREADABLE'],
    ['an unknown device', tinyModel, { device: 'nonsense', threads: 1 }, 'INVALID_VALUE'],
    ['a device libtorch has no code for', tinyModel, { device: 'meta', threads: 1 }, 'DEVICE_UNAVAILABLE'],
    ['no thread', tinyModel, { device: 'cpu', threads: 0 }, 'INVALID_VALUE'],
  ];
  for (const [what, source, given, code] of failures) {
    t.equal(await outcomeOf(() => addon.load(source, given as typeof options)), code, what);
    t.same(addon.live(), { models: 0, tasks: 0 }, what);
  }
});

t.test('a file that cannot be written is an error, and the model stays as it was', async (t) => {
  const model = await load();
  await model.setTrainable(['fc.weight'], false);
  for (const path of ['/dev/full', directory, join(directory, 'none', 'x.pt'), '']) {
    await t.rejects(model.save(path, {}), { code: 'FILE_UNWRITABLE', message: /Cannot write/ }, path);
  }
  const trainable = (await model.describe()).parameters.filter((parameter) => parameter.trainable);
  t.same(
    trainable.map((parameter) => parameter.name),
    ['fc.weight'],
  );
  await model.save(target, {});
  await (await addon.load(target, { device: 'cpu', threads: 1 })).dispose();
  await model.dispose();
});
