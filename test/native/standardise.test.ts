/** A head behind (x - mean) / std: exact, never trained, saved, replaced with the head, and right under every plan. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { NativeModel, ReplaceHeadRequest, Tensor } from '../../src/native.js';
import { readZip } from '../archive/archives.js';
import { outcomeOf } from '../process/tiny.js';
import {
  bitsOf,
  changed,
  configure,
  distance,
  hex,
  inputsOf,
  isTensor,
  open,
  randomBatch,
  randomTensor,
  train,
} from './fixtures.js';

const request = (name: string, more: Partial<ReplaceHeadRequest> = {}): ReplaceHeadRequest => ({
  ...{ layer: '', classes: 5, seed: 7, hidden: [], dropout: 0, standardise: true },
  ...{ example: inputsOf(name), ...more },
});

t.test(
  'branches that a fixed switch decides are gone from the saved code, those of the mode stay',
  async (t) => {
    const file = fileURLToPath(new URL('../fixtures/kinds/switched.pt', import.meta.url));
    const images = [randomTensor([2, 3, 8, 8], 1)];
    const model = await open(t, 'switched', file);
    const plain = await open(t, 'switched', file);
    const given = { ...request('residual'), example: images };
    await plain.replaceHead({ ...given, standardise: false });
    await model.replaceHead(given);
    t.same(await logitsOf(model, images), await logitsOf(plain, images), 'mean 0 and std 1');
    const saved = join(t.testdir(), 'model.pt');
    await model.save(saved, {});
    const code = readZip(readFileSync(saved))
      .filter(({ name }) => name.endsWith('.py'))
      .map(({ data }) => Buffer.from(data).toString())
      .join('\n');
    const forward = code.slice(code.indexOf('class Switched')).split(/\n {2}def /)[1] as string;
    t.match(forward, /\.training/);
    t.notMatch(forward, /switch|less/);
    t.match(forward, /doubled/);
  },
);

/** Logits of the main output. */
async function logitsOf(model: NativeModel, inputs: Tensor[]): Promise<Tensor> {
  const output = await model.forward(inputs);
  const main = Array.isArray(output) ? output[0] : output;
  if (!isTensor(main)) throw new Error('the model gives no tensor');
  return main;
}

/** Sets some mean and std; gives both. */
async function standardise(model: NativeModel, { mean, std }: { mean: string; std: string }) {
  const [old] = (await model.values([mean])) as [Tensor];
  const [size] = old.shape as [number];
  const values = [
    randomTensor([size], 1),
    { ...old, data: Float32Array.from({ length: size }, (_, i) => 0.5 + (i % 5) / 4) },
  ];
  await model.setValues([mean, std], values);
  return values.map(({ data }) => data as Float32Array) as [Float32Array, Float32Array];
}

const names = { mean: 'standardiser.mean', std: 'standardiser.std' };
const kinds: { name: string; head: string; bias: boolean; more?: Partial<ReplaceHeadRequest> }[] = [
  { name: 'residual', head: 'fc', bias: true },
  { name: 'residual.traced-eval', head: 'fc', bias: true },
  { name: 'residual', head: 'fc', bias: true, more: { hidden: [6], dropout: 0.2 } },
  { name: 'squeeze', head: 'classifier.1', bias: true },
  { name: 'no-bias', head: 'fc', bias: false },
  { name: 'inception', head: 'fc', bias: true },
];

for (const { name, head, bias, more } of kinds) {
  t.test(`before the head of ${name}${more ? ` (${Object.keys(more)})` : ''}`, async (t) => {
    const [model, plain] = [await open(t, name), await open(t, name)];
    const made = await model.replaceHead(request(name, more));
    const without = await plain.replaceHead(request(name, { ...more, standardise: false }));
    t.same(made, { ...without, standardiser: names });
    const { heads, buffers, parameters } = await model.describe();
    t.same(heads, (await plain.describe()).heads, 'the head is found behind it');
    t.same(parameters, (await plain.describe()).parameters);
    const [weight] = (await model.values([`${head}.weight`])) as [Tensor];
    const size = weight.shape[1] as number;
    t.same(
      buffers.filter(({ name }) => name.startsWith('standardiser')).map(({ shape }) => shape),
      [[size], [size]],
    );
    const inputs = inputsOf(name);
    const expected = await logitsOf(plain, inputs);
    t.equal(hex(await logitsOf(model, inputs)), hex(expected), 'with mean 0 and std 1 nothing changes');

    const [mean, std] = await standardise(model, names);
    const set = await logitsOf(model, inputs);
    t.ok(distance(set, expected) > 1e-3);
    // W ((x - m) / s) + b = (W / s) x + (b - W m / s); without a bias the means are 0.
    if (!bias) await model.setValues([names.mean], [{ ...weight, data: mean.fill(0), shape: [size] }]);
    const scaled = Float32Array.from(weight.data as Float32Array, (w, i) => w / (std[i % size] as number));
    await plain.setValues([`${head}.weight`], [{ ...weight, data: scaled }]);
    if (bias) {
      const [old] = (await plain.values([`${head}.bias`])) as [Tensor];
      const shifted = Float32Array.from(old.data as Float32Array, (b, row) =>
        mean.reduce((sum, m, i) => sum - (scaled[row * size + i] as number) * m, b),
      );
      await plain.setValues([`${head}.bias`], [{ ...old, data: shifted }]);
    }
    t.ok(distance(await logitsOf(model, inputs), await logitsOf(plain, inputs)) < 1e-5);
  });
}

t.test('it is saved and loaded with the model', async (t) => {
  for (const name of ['residual', 'squeeze', 'residual.traced-eval']) {
    const model = await open(t, name);
    await model.replaceHead(request(name));
    await standardise(model, names);
    const path = join(t.testdir(), 'saved.pt');
    await model.save(path, {});
    const loaded = await open(t, name, path);
    t.same(changed(await bitsOf(model), await bitsOf(loaded)), []);
    t.same((await loaded.describe()).heads, (await model.describe()).heads);
    const inputs = inputsOf(name);
    t.equal(hex(await logitsOf(loaded, inputs)), hex(await logitsOf(model, inputs)));
    t.same((await loaded.replaceHead(request(name, { standardise: false }))).standardiser, null);
    t.same(await bitsOf(loaded, (value) => value.startsWith('standardiser')), {}, 'and goes then too');
  }
});

t.test('it goes with the head when that is replaced again', async (t) => {
  const model = await open(t, 'residual');
  await model.replaceHead(request('residual'));
  await standardise(model, names);
  const again = await model.replaceHead(request('residual', { classes: 3 }));
  t.same(again.standardiser, names);
  const [mean, std] = (await model.values([names.mean, names.std])) as [Tensor, Tensor];
  t.ok((mean.data as Float32Array).every((value) => value === 0));
  t.ok((std.data as Float32Array).every((value) => value === 1));
  t.same((await model.replaceHead(request('residual', { standardise: false }))).standardiser, null);
  const plain = await open(t, 'residual');
  await plain.replaceHead(request('residual', { standardise: false }));
  t.same(changed(await bitsOf(plain), await bitsOf(model)), []);
  const { modules } = await model.describe();
  t.same(modules, (await plain.describe()).modules);
});

t.test('training, also of all layers, leaves it as it is', async (t) => {
  const model = await open(t, 'residual');
  const { parameters } = await model.replaceHead(request('residual'));
  await standardise(model, names);
  const all = (await model.describe()).parameters.map(({ name }) => name);
  for (const learns of [parameters, all]) {
    await model.setTrainable(learns, false);
    await configure(model);
    const before = await bitsOf(model);
    await train(model, 3);
    const after = changed(before, await bitsOf(model));
    t.same(
      after.filter((name) => name.startsWith('standardiser')),
      [],
    );
    t.ok(learns.every((name) => after.includes(name)));
  }
});

const layers = {
  head: ['fc.weight', 'fc.bias'],
  more: ['block.bn2.weight', 'block.conv2.weight', 'fc.weight', 'fc.bias'],
};
for (const [what, learns] of Object.entries(layers)) {
  t.test(`a plan outlives new means, and computes with them (${what})`, async (t) => {
    const [planned, unsplit] = [await open(t, 'residual'), await open(t, 'residual')];
    for (const model of [planned, unsplit]) {
      await model.replaceHead(request('residual'));
      await model.setTrainable(learns, false);
      await configure(model);
    }
    const batch = randomBatch([4, 3, 8, 8], 2);
    const split = { precision: 'float32', split: true } as const;
    const plan = await planned.plan(batch, split);
    t.match(plan, { split: true, cacheable: true });
    const key = await planned.planKey();
    for (const model of [planned, unsplit]) await standardise(model, names);
    t.not(await planned.planKey(), key, 'it was proven with the old ones');
    for (let step = 0; step < 3; step++) {
      const [ours, theirs] = [await planned.evaluate(batch), await unsplit.evaluate(batch)];
      t.ok(distance(ours.logits, theirs.logits) < 1e-5);
      const [mine, other] = [await planned.step(batch), await unsplit.step(batch)];
      t.ok(Math.abs(mine.loss - other.loss) < 1e-5);
    }
    await planned.openFeatures({ path: '', identity: '{}', label: '', memoryBytes: 1 << 20, fileBytes: 0 });
    t.equal(
      await outcomeOf(() => planned.readFeatures(Int32Array.of(0))),
      'FEATURES_DAMAGED',
      'the plan still holds',
    );
  });
}

t.test('serving computes with it', async (t) => {
  const [served, model] = [await open(t, 'residual'), await open(t, 'residual')];
  const preprocess = { mean: [0.5, 0.4, 0.3], std: [0.25, 0.2, 0.3], size: [8, 8] as [number, number] };
  const data = Uint8Array.from({ length: 2 * 192 }, (_, i) => (i * 2654435761) >>> 24);
  const images: Tensor = { data, shape: [2, 8, 8, 3], dtype: 'uint8' };
  for (const each of [served, model]) {
    await each.replaceHead(request('residual'));
    await standardise(each, names);
  }
  await served.optimise({ precision: 'float32', example: images, preprocess });
  const [ours, theirs] = [
    await served.evaluate({ inputs: [images], preprocess }),
    await model.evaluate({ inputs: [images], preprocess }),
  ];
  t.ok(distance(ours.logits, theirs.logits) < 1e-5);
});

t.test('what cannot have it is refused, and stays as it was', async (t) => {
  const wrong: [string, Partial<ReplaceHeadRequest>, string][] = [
    ['residual', { example: [randomTensor([2, 4], 0)] }, 'MODEL_FAILED'],
    ['residual', { standardise: 'yes' as never }, 'INVALID_TYPE'],
    ['residual.frozen', {}, 'MODEL_FROZEN'],
  ];
  for (const [name, more, code] of wrong) {
    const model = await open(t, name);
    const [before, description] = [await bitsOf(model), await model.describe()];
    t.equal(await outcomeOf(() => model.replaceHead(request(name, more))), code);
    t.same(changed(before, await bitsOf(model)), []);
    t.same(await model.describe(), description);
  }
});

t.test('a network made untrained standardises by 0 and 1 again', async (t) => {
  const model = await open(t, 'plain');
  const { standardiser } = await model.replaceHead(request('plain'));
  if (!standardiser) return t.fail('there is a standardiser');
  const before = await model.values([standardiser.mean, standardiser.std]);
  await standardise(model, standardiser);
  await model.reinitialise(0);
  t.same(await model.values([standardiser.mean, standardiser.std]), before);
  const [mean, std] = before as [Tensor, Tensor];
  t.ok([...mean.data].every((value) => value === 0) && [...std.data].every((value) => value === 1));
});
