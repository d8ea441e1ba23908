// Throws CALLS random calls at every native export, and prints how each kind of call ended. Run by fuzz.test.ts.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { loadAddon } from '../../src/addon.js';
import type { NativeModel } from '../../src/native.js';
import * as tiny from './tiny.js';
import { makeRandom, makeValues } from './values.js';

const calls = Number(process.env.CALLS);
const random = makeRandom(Number(process.env.SEED));
const { below, pick, next } = random;
const addon = loadAddon();
const options = { device: 'cpu', threads: 1 };
const bytes = readFileSync(tiny.tinyModel);
const jpeg = readFileSync(fileURLToPath(new URL('../fixtures/images/orientation-6.jpg', import.meta.url)));
const { anything, damaged, tensor, torchScript } = makeValues(random, act);

let model = await addon.load(tiny.tinyModel, options);
let gone = false;
let other = await addon.load(bytes, options);
await model.configure(tiny.training());
const prototype = Object.getPrototypeOf(model);
const Model = prototype.constructor;
type Callable = (...values: unknown[]) => unknown;

/** Calls to be made next, in this order. */
const queue: (() => Promise<void>)[] = [];

/** What a getter does while native code is reading an argument. */
function act(): unknown {
  const result = pick<() => unknown>([
    () => {
      gone = true;
      return model.dispose();
    },
    () => model.step(tiny.batch()),
    () => model.describe(),
    () => addon.load(tiny.tinyModel, options).then((made) => made.dispose()),
    () => addon.live(),
    () => model.bytes,
    () => 3,
  ])();
  Promise.resolve(result).catch(() => {}); // refusals are as good as results here
  return result;
}

/** Arguments that would be accepted, for every method. */
const valid: Record<tiny.Method, () => unknown[]> = {
  describe: () => [],
  values: () => [tiny.parameters],
  setValues: () => [
    pick([
      ['fc.bias', 'bn.running_mean'],
      ['fc.bias', 'bn.running_var'],
      ['fc.bias', 'bn.num_batches_tracked'],
    ]),
    tiny.biases(),
  ],
  gradients: () => [tiny.parameters],
  nameHeads: () => [pick([[], ['fc'], ['conv', 'fc'], ['bn']]), pick([null, [], ['conv']])],
  forward: () => [[pick([tiny.images(2), tensor()])]],
  setTrainable: () => [pick([['fc.weight'], tiny.parameters, []]), below(2) === 0],
  replaceHead: () => [
    tiny.head({
      hidden: pick([[], [], [4], [4, 3]]),
      cosine: pick([null, null, { scale: 3, learnsScale: true }, { scale: 3, learnsScale: false }]),
      ...pick([{}, {}, { pooling: 'avg' }, { pooling: 'concat' }] as const),
      dropout: 0.1,
      standardise: below(3) === 0,
      layer: pick(['', '', 'fc', 'conv', 'bn', 'dropout']),
    }),
  ],
  addAdapters: () => [
    { ...tiny.adapters(), layers: pick([['conv'], ['conv', 'fc'], ['fc', 'fc'], ['bn'], []]) },
  ],
  mergeAdapters: () => [],
  putAdapters: () => [
    {
      ...tiny.adapterContent(),
      ...pick([
        {},
        {},
        { head: null },
        { down: [tensor(), tensor()] },
        { names: ['fc.bias'], values: [tensor()] },
      ]),
    },
  ],
  adaptInput: () => [
    { channels: pick([1, 2, 3, 3, 3, 5]), example: pick([[tiny.images(1)], [tensor()], []]) },
  ],
  reinitialise: () => [below(9)],
  estimateStatistics: () => [{ inputs: [pick([tiny.images(2), tensor()])], before: below(3) }],
  configure: () => [pick([tiny.training, tiny.augmentedTraining, sourceTraining, otherTraining])()],
  plan: () => [pick([tiny.batch, tiny.augmentedBatch, oddBatch])(), planRequest()],
  planKey: () => [],
  usePlan: () => [
    {
      ...tiny.knownPlan(),
      variant: pick(['fused', 'folded', 'exact', 'none']),
      crossings: pick([[], [{ shape: [4], dtype: 'Float' }], [{ shape: [4, 2, 2], dtype: 'Long' }]]),
      cacheable: below(2) === 0,
    },
  ],
  // Seldom: afterwards the model only predicts.
  optimise: () => [
    {
      ...tiny.serving(),
      precision: pick(['float32', 'auto', 'bfloat16', 'float64']),
      preprocess: below(8) === 0 ? tiny.serving().preprocess : undefined,
    },
  ],
  openFeatures: () => [
    tiny.features({
      path: pick(['', 'kept.features', 'none/kept.features']),
      identity: pick(['{}', '{"other":1}']),
      memoryBytes: pick([0, 500, 1 << 20]),
      fileBytes: pick([0, 2000, 1 << 20]),
    }),
  ],
  findFeatures: () => [tiny.keyedBatch(1 + below(4)).keys],
  storeFeatures: () => [tiny.keyedBatch(1 + below(4))],
  readFeatures: () => [Int32Array.from({ length: 1 + below(4) }, () => pick([0, 0, 0, 1, -1, 99]))],
  keepSource: () => [],
  dropSource: () => [],
  addFisher: () => [{ inputs: [pick([tiny.images(2), tensor()])], seed: below(9) }],
  fisher: () => [pick([['fc.weight'], tiny.parameters, ['bn.running_mean']])],
  joinSourceHead: () => [pick(['fc', 'fc', 'conv', 'bn'])],
  partSourceHead: () => [pick(['fc', 'fc', 'conv']), pick([1, 3, 5, 99])],
  step: () => [pick([tiny.batch, tiny.batch, tiny.augmentedBatch, oddBatch, rowsBatch])()],
  evaluate: () => [
    pick([
      tiny.batch(),
      { ...tiny.augmentedBatch(), preprocess: tiny.augmentedTraining().preprocess },
      {
        ...{ inputs: [tiny.pixels(4)], preprocess: tiny.augmentedTraining().preprocess },
        ...{ crops: pick([1, 2, 3, 4, -1]), mirrored: pick([true, false]) },
      },
      oddBatch(),
      rowsBatch(),
    ]),
  ],
  gradCam: () => [
    {
      ...pick([
        { inputs: [pick([tiny.images(2), tensor()])] },
        { inputs: [tiny.pixels(2)], preprocess: tiny.augmentedTraining().preprocess },
        { inputs: [tiny.images(2)] },
      ]),
      ...pick([{}, { classes: Int32Array.of(below(3), pick([0, 1, 2, 5, -1])) }]),
    },
  ],
  keepBest: () => [],
  restoreBest: () => [],
  save: () => ['out.pt', pick([{}, { 'torchgraft.json': '{}' }])],
  saveCheckpoint: () => ['checkpoint.pt', {}],
  loadCheckpoint: () => [pick(['checkpoint.pt', 'out.pt', 'missing.pt'])],
  dispose: () => [],
};
const methods = Object.keys(valid) as tiny.Method[];

function sourceTraining() {
  return tiny.training({ loss: { kind: 'source', source: torchScript() } });
}
function otherTraining() {
  const groups = [{ parameters: ['fc.weight', 'fc.bias'], learningRate: 0.1, weightDecay: 0 }];
  const classWeights = Float32Array.from({ length: pick([0, 1, 3, 5]) }, () => pick([0, 1, -1]));
  const anchor = pick([undefined, { kind: 'l2-sp', alpha: 1, beta: 1 }, { kind: 'ewc', lambda: 9 }] as const);
  const distillation = { weight: 1, temperature: 2, layer: 'fc', classes: pick([3, 5]) };
  return tiny.training({
    forgetting: pick([
      undefined,
      { fresh: [], ...(anchor ? { anchor } : {}) },
      { fresh: ['fc.weight', 'fc.bias'], distillation },
    ]),
    groups: pick([groups, [], tiny.training().groups]),
    accumulate: pick([1, 2]),
    loss: pick([
      { kind: 'mse' },
      { kind: 'huber', delta: 1 },
      { kind: 'focal', gamma: 0.5, classWeights },
      { kind: 'bceWithLogits', classWeights },
    ]),
    optimizer: pick([
      { kind: 'sgd', momentum: 0.9, dampening: 0, nesterov: true },
      { kind: 'rmsprop', alpha: 0.9, epsilon: 1e-8, momentum: 0.5, centered: true },
    ]),
  });
}
function planRequest() {
  return { precision: pick(['auto', 'float32', 'float32', 'bfloat16', 'float16']), split: below(5) > 0 };
}
/** Kept features, as far as they are there. */
function rowsBatch() {
  const { target, learningRates } = tiny.augmentedBatch();
  return { rows: Int32Array.from({ length: 4 }, () => pick([0, 0, 1, 2, 3, -1, 99])), target, learningRates };
}
function oddBatch() {
  return { inputs: [pick([tiny.images(4), tensor()])], target: tensor() };
}

/** The bytes of a model, cut short or with noise behind its header. */
function brokenModel(): Uint8Array {
  if (below(2) === 0) return bytes.subarray(0, below(bytes.length));
  return Uint8Array.from({ length: below(2000) }, (_, i) => (i < 4 ? (bytes[i] as number) : below(256)));
}

const outcomes: Record<string, number> = {};
const left: Promise<unknown>[] = [];
let pending = '';

/** Makes one call and waits for what it returns, mostly; the rest run on beside the next calls. */
async function make(name: string, call: () => unknown) {
  pending = name;
  const done = tiny.outcomeOf(call).then((outcome) => {
    const key = `${name} ${outcome}`;
    outcomes[key] = (outcomes[key] ?? 0) + 1;
  });
  if (next() < 0.97) await done;
  else left.push(done);
}

function callMethod() {
  const name = pick(methods.concat('step', 'configure', 'forward'));
  if (name === 'dispose' && below(20) > 0) return make('bytes', () => model.bytes);
  const style = below(10);
  const request = valid[name]();
  const given =
    style < 3
      ? request
      : style < 8
        ? (damaged(request) as unknown[])
        : Array.from({ length: below(4) }, () => anything());
  const values = Array.isArray(given) ? given : [given];
  // What was saved is seldom read back by chance before the model has another form.
  if (name === 'saveCheckpoint')
    queue.push(() => make('loadCheckpoint', () => (model.loadCheckpoint as Callable)('checkpoint.pt')));
  return make(name, () => (model[name] as Callable)(...values));
}

function callOddly(): Promise<void> {
  const name = pick([...methods, 'bytes', 'extra']);
  const property = Object.getOwnPropertyDescriptor(prototype, name) as PropertyDescriptor;
  const member = (property.get ?? property.value) as Callable;
  const receiver = pick([
    anything,
    () => Object.create(model),
    () => new Proxy(model, {}),
    () => prototype,
    () => Model,
    () => addon,
  ])();
  return pick([
    () => make('wrong receiver', () => member.call(receiver, anything())),
    () => make('new method', () => Reflect.construct(member, [anything()])),
    () => make('new', () => new Model(anything())),
    () =>
      make('construct', () =>
        Reflect.construct(Model, [anything()], pick([Model, Object, class extends Model {}])),
      ),
    () => make('subclass', () => new (class extends Model {})()),
    () => make('call class', () => Model.call(receiver)),
    () => make('set', () => Object.assign(model, { [name]: model[name as tiny.Method] })),
    () => make('info', () => (addon.info as Callable).call(receiver, anything())),
    () => make('live', () => (addon.live as Callable).call(receiver, anything())),
  ])();
}

function callLoad(): Promise<void> {
  const source = pick<() => unknown>([
    brokenModel,
    brokenModel,
    anything,
    () => bytes,
    () => tiny.tinyModel,
  ])();
  const given = pick([options, damaged(options), anything()]);
  return make('load', async () => {
    const made = await (addon.load as Callable)(source, given);
    await (made as NativeModel).dispose();
  });
}

/** Decodes a JPEG that is damaged at one byte, or cut, or something else, or resizes pixels, in whatever way is asked. */
function callDecode(): Promise<void> {
  const damagedJpeg = Uint8Array.from(jpeg);
  damagedJpeg[below(jpeg.length)] = below(256);
  const source = pick<() => unknown>([
    () => damagedJpeg,
    () => damagedJpeg.subarray(0, below(jpeg.length)),
    () => tiny.tinyModel,
    anything,
  ])();
  const side = pick([1, 7, 32]);
  const view = { resize: 32, side, squash: below(2) === 0, filter: pick(['bilinear', 'bicubic']) };
  const target = new Uint8Array(32 * 32 * 3);
  const given = pick([
    [source, view, target, 0],
    [source, view, target, 0],
    [source, damaged(view), pick([target, anything()]), pick([0, anything()])],
  ]);
  if (below(2) === 0) return make('decodeJpeg', () => (addon.decodeJpeg as Callable)(...given));
  const [width, height, channels] = [1 + below(90), 1 + below(90), 1 + below(4)] as const;
  const image = { data: new Uint8Array(width * height * channels), width, height, channels };
  return make('resizePixels', () =>
    (addon.resizePixels as Callable)(pick([image, image, damaged(image)]), ...given.slice(1)),
  );
}

/** Features that tell about a task, mostly one argument damaged. */
function callScore(): Promise<void> {
  const [n, d] = [pick([1, 2, 5, 40]), pick([1, 3, 20])];
  const data = Float32Array.from({ length: n * d }, () => pick([next(), 0, 1, below(100)]));
  const features = { data, shape: [n, d], dtype: 'float32' };
  const labels = Int32Array.from({ length: n }, () => below(3));
  const targets = { data: Float64Array.from({ length: 2 * n }, next), shape: [n, 2], dtype: 'float64' };
  const [name, request] = pick<[string, unknown[]]>([
    ['logME', [features, labels, 3]],
    ['hScore', [features, labels, 3, below(2) === 0]],
    ['ridge', [features, targets, [0, 1, 100].slice(below(3))]],
  ]);
  const given = below(2) === 0 ? request : damaged(request);
  const values = Array.isArray(given) ? given : [given];
  return make(name, () => (addon as unknown as Record<string, Callable>)[name]?.(...values));
}

/** Eleven calls in a row that lead to kept features and their use, mostly with one of them damaged. */
function keepFeatures(): Promise<void> {
  const sequence: [tiny.Method, unknown[]][] = [
    ['setTrainable', [['fc.weight', 'fc.bias'], false]],
    ['configure', [tiny.augmentedTraining()]],
    ['plan', [tiny.augmentedBatch(), planRequest()]],
    ['openFeatures', valid.openFeatures()],
    ['storeFeatures', valid.storeFeatures()],
    ['findFeatures', valid.findFeatures()],
    ['readFeatures', valid.readFeatures()],
    ['step', [rowsBatch()]],
    ['evaluate', [rowsBatch()]],
    ['step', [tiny.augmentedBatch()]],
    ['storeFeatures', valid.storeFeatures()],
  ];
  const at = below(2 * sequence.length);
  const calls = sequence.map(([name, request], index) => {
    const values = index === at ? (damaged(request) as unknown[]) : request;
    return () => make(name, () => (model[name] as Callable)(...(Array.isArray(values) ? values : [values])));
  });
  const [first, ...rest] = calls;
  queue.push(...rest);
  return (first as () => Promise<void>)();
}

/** Two out of a hundred calls load a model: each makes a thread. */
function callNext(): Promise<void> {
  const queued = queue.shift();
  if (queued) return queued();
  const part = below(100);
  if (part < 2) return callLoad();
  if (part < 7) return callDecode();
  if (part < 10) return keepFeatures();
  if (part < 12) return callScore();
  return part < 30 ? callOddly() : callMethod();
}

process.on('exit', (code) => {
  if (code !== 0) console.error(`ended in ${pending}`);
});
for (let made = 0; made < calls; made++) {
  await callNext();
  if (gone || model.bytes === 0 || made % 500 === 0) {
    await Promise.all(left.splice(0));
    await Promise.all([model.dispose(), other.dispose()]);
    [model, other] = await Promise.all([addon.load(bytes, options), addon.load(tiny.tinyModel, options)]);
    await model.configure(tiny.training());
    gone = false;
  }
}
await Promise.all(left);
await Promise.all([model.dispose(), other.dispose()]);
// What getters started is waited for here.
while (addon.live().tasks > 0) await new Promise((done) => setTimeout(done, 5));
console.log(JSON.stringify({ outcomes, live: addon.live() }));
