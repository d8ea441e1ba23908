/** Which layers are heads, and what is learned from: networks by what they return and how their head is written. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import type { NativeModel, NativeTraining, ReplaceHeadRequest, Tensor } from '../../src/native.js';
import {
  bitsOf,
  changed,
  configure,
  distance,
  isTensor,
  native,
  type StoredTensor,
  tensorOf,
} from './fixtures.js';

interface Network {
  main: string[];
  auxiliary: string[];
  place: string[];
  logits: StoredTensor;
  loss: number;
  channels: number | null;
  unused: string[];
}

const folder = fileURLToPath(new URL('../fixtures/heads', import.meta.url));
const expected = JSON.parse(gunzipSync(readFileSync(join(folder, 'expected.json.gz'))).toString()) as {
  image: StoredTensor;
  target: StoredTensor;
  networks: Record<string, Network>;
};
const image = () => tensorOf(expected.image);
const batch = () => ({ inputs: [image()], target: tensorOf(expected.target) });
const networks = Object.entries(expected.networks);
const withHeads = networks.filter(([, { main }]) => main.length > 0);

async function open(
  t: { teardown(free: () => unknown): unknown },
  name: string,
  path = join(folder, `${name}.pt`),
) {
  const model = await native.load(path, { device: 'cpu', threads: 1 });
  t.teardown(() => model.dispose());
  return model;
}

async function headsOf(model: NativeModel) {
  const { heads } = await model.describe();
  const of = (wanted: string) => heads.filter(({ role }) => role === wanted).map(({ module }) => module);
  return { main: of('main'), auxiliary: of('auxiliary') };
}

function request(more: Partial<ReplaceHeadRequest> = {}): ReplaceHeadRequest {
  return {
    layer: '',
    classes: 3,
    seed: 1,
    hidden: [],
    dropout: 0,
    standardise: false,
    example: [image()],
    ...more,
  };
}

/** Exactly the weights of these layers learn. */
async function learn(model: NativeModel, layers: string[], training: Partial<NativeTraining> = {}) {
  const weights = layers.map((layer) => `${layer}.weight`);
  await model.setTrainable(weights, false);
  await configure(model, {
    groups: [{ parameters: weights, learningRate: 0.1, weightDecay: 0 }],
    ...training,
  });
  return weights;
}

for (const [name, { main, auxiliary, place, channels, unused }] of networks) {
  t.test(`heads of ${name}`, async (t) => {
    const model = await open(t, name);
    t.same(await headsOf(model), { main, auxiliary });
    const { mainOutput, inputChannels, unusedLayers, headProblem, layers } = await model.describe();
    t.same(
      { mainOutput, inputChannels, unusedLayers },
      { mainOutput: place, inputChannels: channels, unusedLayers: unused },
    );
    t.ok(unused.every((layer) => !layers.includes(layer)));
    if (main.length > 0) t.equal(headProblem, null);
    else
      t.match(headProblem, /cannot be told.*`layer`, on the command line with --head-layer.*`trunk\.conv2`/s);
  });
}

for (const [name, { logits, loss }] of networks) {
  t.test(`${name} is evaluated by its logits and learns from PyTorch's loss`, async (t) => {
    const model = await open(t, name);
    const evaluated = await model.evaluate({ inputs: [image()] });
    t.ok(distance(evaluated.logits, tensorOf(logits)) < 1e-5, 'logits');
    await configure(model);
    const step = await model.step(batch());
    t.ok(Math.abs(step.loss - loss) < 1e-5 * loss, `${step.loss} for PyTorch's ${loss}`);
  });
}

for (const [name, { main, auxiliary }] of withHeads) {
  t.test(`${name} is split before its head, by L-BFGS too, and serves its logits`, async (t) => {
    const model = await open(t, name);
    const weights = await learn(model, [...main, ...auxiliary]);
    const before = await bitsOf(model);
    const plan = await model.plan(batch(), { precision: 'float32', split: true });
    t.match(plan, { split: true, cacheable: true }, plan.reason);
    const { loss } = await model.step(batch());
    t.ok((await model.step(batch())).loss < loss);
    t.same(changed(before, await bitsOf(model)).sort(), weights.sort());
    const ends = { maxIterations: 5, historySize: 10, toleranceGradient: 1e-7, toleranceChange: 1e-9 };
    await learn(model, main, { optimizer: { kind: 'lbfgs', ...ends } });
    await model.plan(batch(), { precision: 'float32', split: true });
    t.ok((await model.step(batch())).loss < loss);
    const { logits } = await model.evaluate({ inputs: [image()] });
    const served = await open(t, name);
    await served.setValues(weights, await model.values(weights));
    const optimised = await served.optimise({ precision: 'float32', ...serving() });
    t.ok(optimised.difference < 1e-5);
    t.ok(distance((await served.evaluate({ inputs: [image()] })).logits, logits) < 1e-4);
  });
}

function serving() {
  // Patterned images, which the network takes as they are.
  const data = Uint8Array.from({ length: 2 * 10 * 10 * 3 }, (_, i) => (i * 37) % 251);
  const preprocess = { mean: [0.4, 0.5, 0.6], std: [0.2, 0.3, 0.4], size: [10, 10] };
  return {
    example: { data, shape: [2, 10, 10, 3], dtype: 'uint8' as const },
    preprocess: preprocess as {
      mean: [number, number, number];
      std: [number, number, number];
      size: [number, number];
    },
  };
}

const grafts: [string, Partial<ReplaceHeadRequest>][] = [
  ['nothing', {}],
  ['a standardiser', { standardise: true }],
  ['a cosine head', { cosine: { scale: 10, learnsScale: true } }],
  ['hidden layers', { hidden: [7], dropout: 0 }],
];

for (const [name, { main, auxiliary }] of withHeads) {
  for (const [what, more] of grafts) {
    // Auxiliary heads have no hidden layers.
    if (more.hidden && auxiliary.length > 0) continue;
    // The end of its forward does not make the dict.
    if (more.hidden && name === 'growing-dictionary') continue;
    t.test(`${name} gets a new head with ${what}, and it is found again in its file`, async (t) => {
      const model = await open(t, name);
      const made = await model.replaceHead(request(more));
      if (!more.hidden) t.same(made.layers, [...main, ...auxiliary]);
      const { logits } = await model.evaluate({ inputs: [image()] });
      t.same(logits.shape, [4, 3]);
      const heads = await headsOf(model);
      t.same(heads, { main: more.hidden ? [`${made.layers.at(-1)}.fc1`] : main, auxiliary });
      await model.addAdapters({ layers: (await model.describe()).layers, rank: 1, scale: 1, seed: 0 });
      const file = join(t.testdir(), 'model.pt');
      await model.save(file, {});
      const loaded = await open(t, name, file);
      t.same(await headsOf(loaded), heads, 'found anew');
      t.ok(distance((await loaded.evaluate({ inputs: [image()] })).logits, logits) < 1e-5);
      const again = await loaded.replaceHead(request({ classes: 4 }));
      t.same(again.layers, [...heads.main, ...heads.auxiliary]);
      t.same((await loaded.evaluate({ inputs: [image()] })).logits.shape, [4, 4]);
    });
  }
}

t.test('a layer that is named is the head, also in the file', async (t) => {
  const model = await open(t, 'weighed');
  await t.rejects(model.replaceHead(request()), { code: 'NO_HEAD', message: /`layer`.*--head-layer/s });
  const made = await model.replaceHead(request({ layer: 'fc' }));
  t.same(made.layers, ['fc']);
  t.same(await headsOf(model), { main: ['fc'], auxiliary: [] });
  t.match(await model.describe(), { headsKnown: true, headProblem: null });
  await model.nameHeads([], null);
  t.same(await headsOf(model), { main: [], auxiliary: [] });
  await model.nameHeads(['fc'], []);
  t.same(await headsOf(model), { main: ['fc'], auxiliary: [] });
  await t.rejects(model.nameHeads(['trunk.bn'], null), { code: 'NO_HEAD' });
  await t.rejects(model.nameHeads(['nothing'], null), { code: 'NO_HEAD' });
});

t.test('one of two heads that are averaged brings the other with it', async (t) => {
  const model = await open(t, 'averaged');
  const { layers } = await model.replaceHead(request({ layer: 'fc_dist' }));
  t.same(layers, ['fc', 'fc_dist']);
});

t.test('hidden layers have no place in a dict that grows', async (t) => {
  const model = await open(t, 'growing-dictionary');
  await t.rejects(model.replaceHead(request({ hidden: [7] })), {
    code: 'NO_HEAD',
    message: /Leave `hidden` out/,
  });
});

t.test('a refused head leaves what was known', async (t) => {
  const model = await open(t, 'not-last');
  const before = await model.describe();
  await t.rejects(model.replaceHead(request({ layer: 'conv_head' })), { code: 'MODEL_FAILED' });
  t.same(await model.describe(), before);
});

t.test('another number of channels is set in every convolution that the image reaches', async (t) => {
  const model = await open(t, 'two-stems');
  const grey = { ...image(), data: new Float32Array(4 * 100), shape: [4, 1, 10, 10] };
  await model.adaptInput({ channels: 1, example: [grey] });
  t.equal((await model.describe()).inputChannels, 1);
  t.same((await model.evaluate({ inputs: [grey] })).logits.shape, [4, 5]);
  const shuffled = await open(t, 'space-to-depth');
  await t.rejects(shuffled.adaptInput({ channels: 1, example: [grey] }), {
    code: 'MODEL_FAILED',
    message: /rearrange|own channels/,
  });
});

t.test('an optional input that is given is used, and one that is not has its default', async (t) => {
  const model = await open(t, 'optional-input');
  await learn(model, ['fc']);
  const unmasked = await model.plan(batch(), { precision: 'float32', split: true });
  t.match(unmasked, { split: true, reason: '' });
  const mask: Tensor = { data: new Float32Array([0]), shape: [1], dtype: 'float32' };
  const masked = { inputs: [image(), mask], target: tensorOf(expected.target) };
  const own = await open(t, 'optional-input');
  const output = await own.forward([image(), mask]);
  t.ok(
    isTensor(output) && distance((await model.evaluate(masked)).logits, output) < 1e-5,
    'unsplit for another number of inputs',
  );
  const plan = await model.plan(masked, { precision: 'float32', split: true });
  t.match(plan, { split: true }, plan.reason);
  t.ok(isTensor(output) && distance((await model.evaluate(masked)).logits, output) < 1e-5);
});
