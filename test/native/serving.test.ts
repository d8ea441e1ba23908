/** What createPredictor serves, a frozen and compiled copy, gives the model's own logits; wrong requests are refused by code. */
import t from 'tap';
import type { NativeModel, OptimiseRequest, Tensor } from '../../src/native.js';
import { distance, open } from './fixtures.js';
import { fileOf, splitNames } from './plans.js';

const side = 16;
const preprocess = {
  mean: [0.4, 0.5, 0.6] as [number, number, number],
  std: [0.2, 0.25, 0.3] as [number, number, number],
  size: [side, side] as [number, number],
};

/** Patterned images [count, side, side, 3], others by seed. */
function images(count: number, seed: number): Tensor {
  const shape = [count, side, side, 3];
  const data = Uint8Array.from(
    { length: count * side * side * 3 },
    (_, i) => (i * i * 31 + i * 7 + seed * 97) % 256,
  );
  return { data, shape, dtype: 'uint8' };
}

const request = (changes: Partial<OptimiseRequest> = {}): OptimiseRequest => ({
  ...{ precision: 'float32', example: images(8, 0), preprocess },
  ...changes,
});

async function logitsOf(model: NativeModel, count: number): Promise<Tensor> {
  return (await model.evaluate({ inputs: [images(count, count)], preprocess })).logits;
}

/** Models of images; the networks of scripts/fixtures-splits.py are awkward ones, `activations` a mobile one. */
const served = [
  ...['plain', 'squeeze', 'vgg', 'inception', 'residual', 'folded', 'fresh'],
  ...['residual.traced-eval', 'residual.traced-train', 'residual.train-mode', 'residual.without-grad'],
  ...['residual.frozen', ...splitNames],
];
/** Forward assigns an attribute, or runs parts of itself asynchronously. */
const unservable = ['assigns', 'forked'];
/** Takes images of another size. */
const unsized = ['filled'];

for (const name of served.filter((name) => ![...unservable, ...unsized].includes(name))) {
  t.test(`${name}: the model's own logits`, async (t) => {
    for (const example of [images(8, 0), images(1, 0)]) {
      const own = await open(t, name, fileOf(name));
      const optimised = await open(t, name, fileOf(name));
      const made = await optimised.optimise(request({ example }));
      t.match(made, {
        precision: 'float32',
        layout: /^(fused|folded|exact), channels-last$/,
        seconds: Number,
      });
      t.ok(made.difference < 1e-5, `the example's within ${made.difference}`);
      for (const count of [1, 3, 9]) {
        const [ours, theirs] = [await logitsOf(optimised, count), await logitsOf(own, count)];
        t.same(ours.shape, theirs.shape);
        t.equal(theirs.shape[0], count);
        t.ok(Math.max(...(theirs.data as Float32Array).map(Math.abs)) > 1e-2, 'logits that mean something');
        const apart = distance(ours, theirs);
        t.ok(apart < 1e-4, `${count} of an example of ${example.shape[0]}: within ${apart}`);
      }
    }
  });
}

t.test('in lower precision within its bound, at all sizes', async (t) => {
  for (const [precision, bound] of [
    ['bfloat16', 0.1],
    ['float16', 0.02],
  ] as const) {
    for (const name of ['residual', 'activations']) {
      const own = await open(t, name, fileOf(name));
      const optimised = await open(t, name, fileOf(name));
      t.match(await optimised.optimise(request({ precision })), { precision });
      for (const count of [1, 3, 9]) {
        const [ours, theirs] = [await logitsOf(optimised, count), await logitsOf(own, count)];
        const largest = Math.max(...(theirs.data as Float32Array).map(Math.abs));
        const apart = distance(ours, theirs) / largest;
        t.ok(apart > 0 && apart < bound, `${precision}, ${name}, ${count}: ${apart}`);
      }
    }
  }
});

t.test('what cannot be frozen is refused, and still gives its own logits', async (t) => {
  for (const name of unservable) {
    const model = await open(t, name, fileOf(name));
    const before = await logitsOf(model, 3);
    await t.rejects(model.optimise(request()), { code: 'MODEL_FAILED', message: /^optimise: / }, name);
    t.ok(distance(await logitsOf(model, 3), before) < 1e-6, name);
  }
});

t.test('wrong requests are refused by code, and the model can be optimised after', async (t) => {
  const model = await open(t, 'residual');
  const pixels = images(2, 0);
  const wrong: [string, unknown, string][] = [
    ['nothing', undefined, 'INVALID_TYPE'],
    ['no precision', { example: pixels, preprocess }, 'INVALID_TYPE'],
    ['an unknown precision', request({ precision: 'int8' as never }), 'INVALID_VALUE'],
    ['no example', request({ example: undefined as never }), 'INVALID_TYPE'],
    ['an example of another type', request({ example: 'image.jpg' as never }), 'INVALID_TYPE'],
    ['no preprocessing', { precision: 'float32', example: pixels, preprocess: null }, 'INVALID_TYPE'],
    ['an example of no images', request({ example: images(0, 0) }), 'SHAPE_MISMATCH'],
    [
      'fewer pixels than the shape says',
      request({ example: { ...pixels, shape: [3, side, side, 3] } }),
      'SHAPE_MISMATCH',
    ],
    [
      'four channels',
      request({ example: { ...pixels, shape: [2, side, (side * 3) / 4, 4] } }),
      'SHAPE_MISMATCH',
    ],
    ['another size', request({ preprocess: { ...preprocess, size: [side, side + 1] } }), 'SHAPE_MISMATCH'],
    [
      'numbers that are no pixels',
      request({
        example: { ...pixels, data: Float32Array.from(pixels.data as Uint8Array), dtype: 'float32' },
      }),
      'SHAPE_MISMATCH',
    ],
  ];
  for (const [what, given, code] of wrong) {
    const made = (async () => model.optimise(given as OptimiseRequest))();
    await t.rejects(made, { code }, what);
  }
  await t.rejects((await open(t, 'centred')).optimise(request()), { code: 'SHAPE_MISMATCH' }, 'two inputs');
  await t.rejects((await open(t, 'mlp.traced')).optimise(request()), { code: 'MODEL_FAILED' }, 'no images');
  await model.optimise(request());
  await t.rejects(model.optimise(request()), { code: 'MODEL_FROZEN' }, 'once');
  await t.rejects(model.setTrainable(['fc.weight'], false), { code: 'MODEL_FROZEN' });
});
