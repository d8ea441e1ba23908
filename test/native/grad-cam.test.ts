/** Grad-CAM against PyTorch's hooks, and what must not change by it. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import type { NativeModel, Tensor } from '../../src/native.js';
import {
  bitsOf,
  configure,
  distance,
  inputsOf,
  native,
  open,
  randomBatch,
  randomTensor,
  type Stored,
  tensorOf,
} from './fixtures.js';

type StoredTensor = Extract<Stored, { shape: number[] }>;
interface Maps {
  classes: number[];
  maps: StoredTensor;
  logits: StoredTensor;
}
const folder = fileURLToPath(new URL('../fixtures/grad-cam', import.meta.url));
const expected = JSON.parse(gunzipSync(readFileSync(join(folder, 'expected.json.gz'))).toString()) as Record<
  string,
  { inputs: StoredTensor; predicted: Maps; chosen: Maps }
>;
const place = (name: string) => join(folder, `${name}.pt`);
const inputs = (name: string) => [tensorOf(expected[name]?.inputs as StoredTensor)];

/** Rows of a tensor [n, ...]. */
function rows({ data, shape }: Tensor): number[][] {
  const size = data.length / (shape[0] as number);
  return Array.from({ length: shape[0] as number }, (_, i) =>
    Array.from(data.slice(i * size, (i + 1) * size), Number),
  );
}

for (const [name, { predicted, chosen }] of Object.entries(expected)) {
  for (const kind of ['', '.traced']) {
    t.test(`maps of ${name}${kind} are those of PyTorch's hooks`, async (t) => {
      const model = await open(t, name, place(name + kind));
      for (const wanted of [predicted, chosen]) {
        const classes = wanted === chosen ? { classes: Int32Array.from(chosen.classes) } : {};
        const found = await model.gradCam({ inputs: inputs(name), ...classes });
        t.same([...found.classes], wanted.classes);
        t.same(found.maps.shape, wanted.maps.shape);
        t.ok(
          distance(found.maps, tensorOf(wanted.maps)) < 1e-5,
          `${distance(found.maps, tensorOf(wanted.maps))}`,
        );
        t.ok(distance(found.logits, tensorOf(wanted.logits)) < 1e-5);
        for (const row of rows(found.maps)) t.ok([0, 1].includes(Math.max(...row)) && Math.min(...row) >= 0);
      }
    });
  }
}

t.test('maps are not all 0 in the fixtures, and differ by class', async (t) => {
  const model = await open(t, 'linear', place('linear'));
  const [image] = inputs('linear').map(({ data }) => data.slice(0, 192)) as [Float32Array];
  const twice = Float32Array.from([...image, ...image]);
  const { maps } = await model.gradCam({
    inputs: [{ data: twice, shape: [2, 3, 8, 8], dtype: 'float32' }],
    classes: Int32Array.of(0, 3),
  });
  const [one, other] = rows(maps) as [number[], number[]];
  t.equal(Math.max(...one), 1);
  t.equal(Math.max(...other), 1);
  t.ok(Math.max(...one.map((value, i) => Math.abs(value - (other[i] as number)))) > 0.1);
});

t.test('behind pooling and one Linear layer it is CAM (Zhou et al. 2016)', async (t) => {
  // The map itself: with the identity for a head, and one image a place, its pooled value is the map's.
  const model = await open(t, 'tiny', fileURLToPath(new URL('../fixtures/tiny.pt', import.meta.url)));
  const image = randomTensor([1, 3, 9, 9], 4);
  const [conv, bias, gamma, beta, mean, variance, weight] = (
    await model.values([
      'conv.weight',
      'conv.bias',
      'bn.weight',
      'bn.bias',
      'bn.running_mean',
      'bn.running_var',
      'fc.weight',
    ])
  ).map(({ data }) => Array.from(data, Number)) as number[][];
  const at = (list: number[] | undefined, i: number) => list?.[i] as number;
  const side = 4;
  for (const chosen of [0, 1, 2]) {
    const cam = Array.from({ length: side * side }, (_, place) => {
      let sum = 0;
      for (let k = 0; k < 4; k++) {
        let value = at(bias, k);
        for (let tap = 0; tap < 27; tap++) {
          const [c, y, x] = [Math.floor(tap / 9), Math.floor(tap / 3) % 3, tap % 3];
          const [row, column] = [2 * Math.floor(place / side) + y, 2 * (place % side) + x];
          value += at(conv, k * 27 + tap) * Number(image.data[c * 81 + row * 9 + column]);
        }
        const normal = (value - at(mean, k)) / Math.sqrt(at(variance, k) + 1e-5);
        sum += at(weight, chosen * 4 + k) * Math.max(0, normal * at(gamma, k) + at(beta, k));
      }
      return Math.max(0, sum);
    });
    const largest = Math.max(...cam);
    const data = Float32Array.from(cam, (value) => (largest > 0 ? value / largest : 0));
    const { maps } = await model.gradCam({ inputs: [image], classes: Int32Array.of(chosen) });
    t.same(maps.shape, [1, side, side]);
    t.ok(distance(maps, { data, shape: maps.shape, dtype: 'float32' }) < 1e-5, `class ${chosen}`);
  }
});

/** Everything of a model that a call could change and somebody could see. */
async function stateOf(model: NativeModel) {
  const description = await model.describe();
  const names = description.parameters.map(({ name }) => name);
  const gradients = await model.gradients(names);
  return {
    bits: await bitsOf(model),
    gradients: gradients.map((each) => each && Array.from(each.data, Number)),
    description,
  };
}

t.test('nothing of the model changes, in any mode', async (t) => {
  const model = await open(t, 'residual');
  const batch = randomBatch([4, 3, 8, 8], 1);
  const images = [randomTensor([2, 3, 8, 8], 9)];
  await model.setTrainable(['fc.weight', 'fc.bias', 'block.conv2.weight'], true);
  const fresh = await stateOf(model);
  await model.gradCam({ inputs: images });
  t.same(await stateOf(model), fresh, 'as loaded');
  await configure(model, {
    accumulate: 2,
    groups: [
      { parameters: ['fc.weight', 'fc.bias', 'block.conv2.weight'], learningRate: 0.1, weightDecay: 0 },
    ],
  });
  // Half an accumulation: gradients are there, and the mode is that of training.
  await model.step(batch);
  const before = await stateOf(model);
  t.ok(before.gradients.some((each) => each?.some((value) => value !== 0)));
  t.ok(before.description.modules.some(({ training }) => training));
  await model.gradCam({ inputs: images });
  t.same(await stateOf(model), before, 'in the middle of an accumulation');
  const ends: Record<string, string>[] = [];
  for (const looks of [false, true]) {
    const one = await open(t, 'residual');
    await configure(one);
    for (let step = 0; step < 3; step++) {
      await one.step(randomBatch([4, 3, 8, 8], step));
      if (looks) await one.gradCam({ inputs: images });
    }
    ends.push(await bitsOf(one));
  }
  t.same(ends[1], ends[0], 'training goes on as it would have');
});

t.test('random numbers are as they were where forward draws some', async (t) => {
  const drawing = fileURLToPath(new URL('../fixtures/kinds/always-drops.pt', import.meta.url));
  const images = [randomTensor([2, 3, 8, 8], 9)];
  const after: unknown[] = [];
  const loose: unknown[] = [];
  for (const looks of [false, true]) {
    const model = await open(t, 'always-drops', drawing);
    await configure(model);
    await model.step(randomBatch([4, 3, 8, 8], 0, 4)); // seeds the generator
    if (looks) {
      const before = await stateOf(model);
      await model.gradCam({ inputs: images });
      t.same(await stateOf(model), before, 'nor are statistics written');
    }
    after.push(await model.forward(images));
    loose.push(await model.forward(images));
  }
  t.notSame(after[0], loose[0], 'forward draws numbers');
  t.same(after[1], after[0]);
});

t.test('it goes with heads of every form, and with adapters', async (t) => {
  const images = [randomTensor([2, 3, 8, 8], 9)];
  const request = {
    layer: '',
    classes: 3,
    seed: 1,
    hidden: [],
    dropout: 0,
    standardise: false,
    example: images,
  };
  const forms = [
    {},
    { hidden: [6, 5], dropout: 0.3 },
    { standardise: true },
    { cosine: { scale: 10, learnsScale: true } },
    { pooling: 'concat' },
    { pooling: 'concat', hidden: [6], cosine: { scale: 10, learnsScale: false } },
    { pooling: 'concat', standardise: true },
  ] as const;
  for (const name of ['residual', 'residual.traced-eval']) {
    for (const form of forms) {
      const model = await open(t, name);
      await model.replaceHead({ ...request, ...form, hidden: [...('hidden' in form ? form.hidden : [])] });
      const outputs = (await model.forward(images)) as Tensor;
      const said = `${name} ${JSON.stringify(form)}`;
      const found = await model.gradCam({ inputs: images, classes: Int32Array.of(0, 2) });
      t.same(found.maps.shape, [2, 8, 8], said);
      t.ok(distance(found.logits, outputs) < 1e-6, `${said}: the logits of forward`);
    }
    const model = await open(t, name);
    const plain = await model.gradCam({ inputs: images, classes: Int32Array.of(1, 2) });
    await model.addAdapters({ layers: ['fc', 'block.conv2'], rank: 2, scale: 2, seed: 1 });
    const same = await model.gradCam({ inputs: images, classes: Int32Array.of(1, 2) });
    t.ok(distance(same.maps, plain.maps) < 1e-5, `${name}: adapters that change nothing yet`);
    const { adapters } = await model.describe();
    for (const { up } of adapters) {
      const [old] = (await model.values([up])) as [Tensor];
      await model.setValues([up], [randomTensor(old.shape, 5)]);
    }
    const adapted = await model.gradCam({ inputs: images, classes: Int32Array.of(1, 2) });
    t.ok(distance(adapted.maps, plain.maps) > 1e-3, `${name}: adapters that learned`);
    await model.mergeAdapters();
    const merged = await model.gradCam({ inputs: images, classes: Int32Array.of(1, 2) });
    t.ok(distance(merged.maps, adapted.maps) < 1e-4, `${name}: merged`);
  }
});

t.test('forward that returns a tuple, and one that writes', async (t) => {
  const model = await open(t, 'inception');
  const found = await model.gradCam({ inputs: inputsOf('inception') });
  t.equal(found.maps.shape.length, 3);
  t.ok(Math.max(...(found.maps.data as Float32Array)) === 1);
  const split = (name: string) => fileURLToPath(new URL(`../fixtures/splits/${name}.pt`, import.meta.url));
  for (const name of ['writes-buffer', 'counter', 'assigns', 'noise', 'with-optional', 'input-written']) {
    const writing = await open(t, name, split(name));
    const before = await bitsOf(writing);
    const outcome = await writing.gradCam({ inputs: [randomTensor([2, 3, 8, 8], 9)] }).then(
      () => 'ok',
      ({ code }) => code,
    );
    t.equal(outcome, 'ok', name);
    t.same(await bitsOf(writing), before, `${name}: nothing is written`);
  }
});

t.test('a forward that assigns a buffer of another shape finds its own again', async (t) => {
  const model = await open(t, 'growing', place('growing'));
  const before = await stateOf(model);
  const images = [randomTensor([2, 3, 8, 8], 9)];
  await model.gradCam({ inputs: images });
  t.same(await stateOf(model), before);
  await model.forward(images);
  const [seen] = (await model.values(['seen'])) as [Tensor];
  t.same(seen.shape, [2], 'forward itself does');
  await model.gradCam({ inputs: images });
  t.same((await model.values(['seen']))[0], seen);
});

t.test('what has no map is refused, and classes that do not fit', async (t) => {
  for (const [name, code, message] of [
    ['no-bias', 'NO_HEAD', /No map of features is pooled before 'fc'/],
    ['two-heads', 'NO_HEAD', /No map of features/],
    ['list-out', 'NO_HEAD', /map/],
    ['residual.frozen', 'MODEL_FROZEN', /gradCam: .*torch.jit.freeze/],
  ] as const) {
    const model = await open(t, name);
    await t.rejects(model.gradCam({ inputs: inputsOf(name) }), { code, message }, name);
  }
  const model = await open(t, 'residual');
  const images = [randomTensor([2, 3, 8, 8], 9)];
  const refuse = (request: object, code: string) =>
    t.rejects(async () => model.gradCam(request as never), { code });
  await refuse({ inputs: images, classes: Int32Array.of(1) }, 'SHAPE_MISMATCH');
  await refuse({ inputs: images, classes: Int32Array.of(1, 5) }, 'INVALID_VALUE');
  await refuse({ inputs: images, classes: Int32Array.of(-1, 0) }, 'INVALID_VALUE');
  await refuse({ inputs: images, classes: [0, 1] }, 'INVALID_TYPE');
  await refuse({ inputs: [] }, 'SHAPE_MISMATCH');
  await refuse({ inputs: [...images, ...images] }, 'SHAPE_MISMATCH');
  await refuse({ inputs: [randomTensor([2, 4, 8, 8], 1)] }, 'MODEL_FAILED');
  const nan = { data: new Float32Array(192).fill(Number.NaN), shape: [1, 3, 8, 8], dtype: 'float32' };
  await refuse({ inputs: [nan] }, 'MODEL_FAILED');
  t.equal((await model.gradCam({ inputs: images })).classes.length, 2);
});

t.test(
  'pixels are preprocessed as for evaluate; planned models do, optimised ones say what to do',
  async (t) => {
    const tiny = fileURLToPath(new URL('../fixtures/tiny.pt', import.meta.url));
    const model = await native.load(tiny, { device: 'cpu', threads: 1 });
    t.teardown(() => model.dispose());
    const data = Uint8Array.from({ length: 2 * 192 }, (_, i) => (i * 37) % 256);
    const images = { data, shape: [2, 8, 8, 3], dtype: 'uint8' as const };
    const preprocess = { mean: [0.4, 0.5, 0.6], std: [0.2, 0.25, 0.3], size: [8, 8] } as never;
    const { logits } = await model.evaluate({ inputs: [images], preprocess });
    const found = await model.gradCam({ inputs: [images], preprocess });
    t.ok(distance(found.logits, logits) < 1e-6);
    await model.setTrainable(['fc.weight', 'fc.bias'], false);
    await configure(model, {
      groups: [{ parameters: ['fc.weight', 'fc.bias'], learningRate: 0.1, weightDecay: 0 }],
    });
    await model.plan(randomBatch([4, 3, 8, 8], 1, 3), { precision: 'float32', split: true });
    const planned = await model.gradCam({ inputs: [images], preprocess });
    t.same(planned.maps, found.maps);
    await model.optimise({ precision: 'float32', example: images, preprocess });
    await t.rejects(model.gradCam({ inputs: [images], preprocess }), {
      code: 'MODEL_FROZEN',
      message: /Load it again/,
    });
  },
);
