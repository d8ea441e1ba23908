/** Kept features: rows give what pixels give, and what is wrong with them is said by code. */
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { NativeBatch, NativeFeatures, NativeModel, NativeTraining, Tensor } from '../../src/native.js';
import { augmentedBatch, augmentedTraining, keyedBatch, outcomeOf, tinyModel } from '../process/tiny.js';
import { bitsOf, changed, configure, distance, native, open } from './fixtures.js';
import { apart, valuesApart } from './plans.js';

const head = ['fc.weight', 'fc.bias'];
const preprocess = { mean: [0.5, 0.4, 0.3], std: [0.25, 0.2, 0.3], size: [8, 8] as [number, number] };
const crops: NativeTraining['augment'] = {
  crop: { scale: [0.4, 1], ratio: [0.75, 1.33] },
  ...{ horizontalFlip: 0.5, verticalFlip: 0, rotation: 0 },
  ...{ brightness: 0.2, contrast: 0, saturation: 0, hue: 0 },
};

/** Pixels of images `from`, `from + 1`, ... */
function pixels(count: number, from = 0) {
  const data = Uint8Array.from({ length: count * 192 }, (_, i) => ((i + from * 192) * 2654435761) >>> 24);
  return { data, shape: [count, 8, 8, 3], dtype: 'uint8' as const };
}

function batch(count: number, from = 0): NativeBatch & { target: object } {
  const data = Int32Array.from({ length: count }, (_, i) => (i + from) % 5);
  return {
    inputs: [pixels(count, from)],
    target: { data, shape: [count], dtype: 'int32' },
    indices: Int32Array.from({ length: count }, (_, i) => i + from),
    sizes: new Int32Array(2 * count).fill(8),
    epoch: 1,
  };
}

const keysOf = (count: number, from = 0) =>
  Uint8Array.from({ length: 32 * count }, (_, i) => Math.floor(i / 32) + from + 1);

const memory: NativeFeatures = { path: '', identity: '{}', label: '', memoryBytes: 1 << 20, fileBytes: 0 };
const inFile = (path: string): NativeFeatures => ({ ...memory, path, fileBytes: 1 << 20 });

/** A model whose features are kept as said. */
async function openKeeping(
  t: Parameters<typeof open>[0],
  kept: NativeFeatures = memory,
  {
    learns = head,
    augment = null,
    name = 'residual',
  }: { learns?: string[]; augment?: NativeTraining['augment']; name?: string } = {},
): Promise<NativeModel> {
  const model = await open(t, name);
  await model.setTrainable(learns, false);
  await configure(model, { preprocess, augment });
  const plan = await model.plan(batch(4), { precision: 'float32', split: true });
  if (!plan.cacheable) throw new Error(plan.reason);
  await model.openFeatures(kept);
  return model;
}

const store = (model: NativeModel, count: number, from = 0, more: object = {}) => {
  const { inputs, indices, sizes } = batch(count, from);
  return model.storeFeatures({ inputs, indices, sizes, keys: keysOf(count, from), ...more });
};
const rowsBatch = (rows: Int32Array, from = 0) => ({
  rows,
  target: batch(rows.length, from).target as NativeBatch['target'],
});

t.test('rows give the loss, the logits and the steps that pixels give', async (t) => {
  for (const learns of [head, ['block.bn2.weight', 'block.bn2.bias', ...head]]) {
    const kept = await openKeeping(t, memory, { learns });
    const seen = await openKeeping(t, memory, { learns });
    const rows = await store(kept, 6);
    t.same([...rows], [0, 1, 2, 3, 4, 5]);
    const [ours, theirs] = [await kept.evaluate(rowsBatch(rows)), await seen.evaluate(batch(6))];
    t.ok(apart(ours.logits, theirs.logits) < 1e-5);
    t.ok(Math.abs(ours.loss - theirs.loss) < 1e-5);
    for (let step = 0; step < 3; step++) {
      const [mine, other] = [await kept.step(rowsBatch(rows)), await seen.step(batch(6))];
      t.ok(Math.abs(mine.loss - other.loss) < 1e-5, `loss ${mine.loss}, ${other.loss}`);
      t.equal(mine.correct, other.correct);
      t.equal(mine.count, 6);
    }
    t.ok((await valuesApart(kept, seen, learns)) < 1e-4);
  }
});

t.test('rows come in the order that is asked for, as often as asked for', async (t) => {
  const model = await openKeeping(t);
  const rows = await store(model, 4);
  const whole = (await model.evaluate({ rows })).logits;
  const picked = (await model.evaluate({ rows: Int32Array.from([3, 0, 3]) })).logits;
  const part = (row: number, { data }: typeof whole) => [
    ...(data as Float32Array).subarray(row * 5, row * 5 + 5),
  ];
  for (const [at, row] of [3, 0, 3].entries()) {
    for (const [i, value] of part(at, picked).entries())
      t.ok(Math.abs(value - (part(row, whole)[i] as number)) < 1e-6);
  }
});

t.test(
  'augmented views are a function of seed, view and index; rows of them are what training sees',
  async (t) => {
    const model = await openKeeping(t, memory, { augment: crops });
    const plain = await store(model, 4, 0);
    const view = await store(model, 4, 10, {
      inputs: [pixels(4)],
      indices: Int32Array.from([0, 1, 2, 3]),
      epoch: 1,
      augmentSeed: 3,
    });
    const again = await store(model, 4, 20, {
      inputs: [pixels(4)],
      indices: Int32Array.from([0, 1, 2, 3]),
      epoch: 1,
      augmentSeed: 3,
    });
    const other = await store(model, 4, 30, {
      inputs: [pixels(4)],
      indices: Int32Array.from([0, 1, 2, 3]),
      epoch: 2,
      augmentSeed: 3,
    });
    const logits = async (rows: Int32Array) => (await model.evaluate({ rows })).logits;
    t.equal(apart(await logits(again), await logits(view)), 0);
    t.ok(apart(await logits(other), await logits(view)) > 1e-3);
    t.ok(apart(await logits(plain), await logits(view)) > 1e-3);
    // Training is configured with seed 3: the same crops, live.
    const live = await openKeeping(t, memory, { augment: crops });
    const [ours, theirs] = [await model.step(rowsBatch(view)), await live.step(batch(4))];
    t.ok(Math.abs(ours.loss - theirs.loss) < 1e-5, `${ours.loss}, ${theirs.loss}`);
  },
);

t.test('rows can be read: what crosses the cut, row-major', async (t) => {
  const model = await native.load(tinyModel, { device: 'cpu', threads: 1 });
  t.teardown(() => model.dispose());
  // In eval mode the rest is BatchNorm, ReLU, the mean over the image, and the head: easily done by hand.
  await model.setTrainable(['bn.weight', 'bn.bias', 'fc.weight', 'fc.bias'], false);
  await model.configure(augmentedTraining());
  const { crossings } = await model.plan(augmentedBatch(), { precision: 'float32', split: true });
  await model.openFeatures(memory);
  const stored = await model.storeFeatures(keyedBatch());
  const rows = Int32Array.from([stored[2], stored[0]] as number[]);
  const read = await model.readFeatures(rows);
  t.match(read, [{ shape: [2, ...(crossings[0]?.shape as number[])], dtype: 'float32' }]);
  t.equal(read.length, 1);
  const [images] = read as [Tensor];
  const [channels, height, width] = images.shape.slice(1) as [number, number, number];
  const values = await model.values([
    ...['bn.running_mean', 'bn.running_var', 'bn.weight', 'bn.bias', 'fc.weight', 'fc.bias'],
  ]);
  const at = (value: number, index: number) => Number(values[value]?.data[index]);
  const size = height * width;
  const logits = [0, 1].flatMap((row) => {
    const pooled = Array.from({ length: channels }, (_, c) => {
      const start = (row * channels + c) * size;
      const normed = Array.from(images.data.subarray(start, start + size) as Float32Array, (x) =>
        Math.max(0, ((x - at(0, c)) / Math.sqrt(at(1, c) + 1e-5)) * at(2, c) + at(3, c)),
      );
      return normed.reduce((sum, x) => sum + x, 0) / size;
    });
    return [0, 1, 2].map((k) => pooled.reduce((sum, x, c) => sum + x * at(4, k * channels + c), at(5, k)));
  });
  const expected = (await model.evaluate({ rows })).logits;
  t.ok(distance({ ...expected, data: Float32Array.from(logits) }, expected) < 1e-5);
});

t.test('a file serves the next model with the same trunk; another identity begins it anew', async (t) => {
  const path = join(t.testdir(), 'kept.features');
  const first = await openKeeping(t, inFile(path));
  const expected = (await first.evaluate({ rows: await store(first, 5) })).logits;
  t.ok(statSync(path).size > 5 * 24);

  const second = await openKeeping(t, inFile(path));
  const found = await second.findFeatures(keysOf(6));
  t.equal(found[5], -1, 'a sixth was never stored');
  t.ok(found.subarray(0, 5).every((row) => row >= 0));
  t.equal(apart((await second.evaluate({ rows: found.subarray(0, 5) })).logits, expected), 0);
  t.match(await second.openFeatures({ ...inFile(path), identity: '{"other":1}' }), { rows: 0, problem: '' });
  t.same([...(await second.findFeatures(keysOf(2)))], [-1, -1]);
});

t.test(
  'features that are damaged on the disk are not used: neither when looked up nor when read',
  async (t) => {
    const path = join(t.testdir(), 'kept.features');
    // Without memory every row is read from the file each time.
    const kept = { ...inFile(path), memoryBytes: 0 };
    const model = await openKeeping(t, kept);
    const rows = await store(model, 4);
    const expected = (await model.evaluate({ rows })).logits;
    const bytes = readFileSync(path);
    bytes[bytes.length - 3] = (bytes[bytes.length - 3] as number) ^ 0xff;
    writeFileSync(path, bytes, { flag: 'r+' });
    t.equal(await outcomeOf(() => model.evaluate({ rows })), 'FEATURES_DAMAGED');
    t.equal(await outcomeOf(() => model.step(rowsBatch(rows))), 'FEATURES_DAMAGED');
    const found = await model.findFeatures(keysOf(4));
    t.same(
      [...found].map((row) => row < 0),
      [false, false, false, true],
      'the last one is',
    );
    const renewed = await store(model, 1, 3);
    t.equal(
      apart(
        (await model.evaluate({ rows: Int32Array.from([...found.subarray(0, 3), ...renewed]) })).logits,
        expected,
      ),
      0,
    );

    const looking = await openKeeping(t, kept);
    truncateSync(path, statSync(path).size - 10);
    const left = await looking.findFeatures(keysOf(4));
    t.ok([...left].filter((row) => row < 0).length >= 1, 'a record half gone is none');
  },
);

t.test('a step on damaged features changes nothing', async (t) => {
  const path = join(t.testdir(), 'kept.features');
  const model = await openKeeping(t, { ...inFile(path), memoryBytes: 0 });
  const rows = await store(model, 4);
  const before = await bitsOf(model);
  truncateSync(path, 300);
  t.equal(await outcomeOf(() => model.step(rowsBatch(rows))), 'FEATURES_DAMAGED');
  t.same(changed(before, await bitsOf(model)), []);
  t.equal(await outcomeOf(() => model.step(batch(4))), 'ok', 'pixels still do');
});

t.test('where there is no room a row gets no number', async (t) => {
  const model = await openKeeping(t, { ...memory, memoryBytes: 0 });
  t.same([...(await store(model, 3))], [-1, -1, -1]);
});

t.test('wrong arguments are refused by code', async (t) => {
  const model = await openKeeping(t);
  const rows = await store(model, 4);
  const target = batch(4).target as NativeBatch['target'];
  const wrong: [string, () => unknown, string][] = [
    ['a row that is none', () => model.evaluate({ rows: Int32Array.from([0, 9]) }), 'FEATURES_DAMAGED'],
    [
      'a negative row',
      () => model.step({ rows: Int32Array.from([0, -1, 1, 2]), target }),
      'FEATURES_DAMAGED',
    ],
    ['no rows', () => model.evaluate({ rows: new Int32Array() }), 'SHAPE_MISMATCH'],
    ['rows of another type', () => model.evaluate({ rows: [0, 1] as never }), 'INVALID_TYPE'],
    ['fewer targets than rows', () => model.step({ rows: rows.subarray(0, 2), target }), 'SHAPE_MISMATCH'],
    ['keys of 31 bytes', () => model.findFeatures(new Uint8Array(31)), 'SHAPE_MISMATCH'],
    ['no keys', () => model.findFeatures(new Uint8Array()), 'SHAPE_MISMATCH'],
    ['keys of another type', () => model.findFeatures('key' as never), 'INVALID_TYPE'],
    ['fewer keys than images', () => store(model, 4, 0, { keys: keysOf(3) }), 'SHAPE_MISMATCH'],
    [
      'floats for pixels',
      () =>
        store(model, 1, 0, {
          inputs: [{ data: new Float32Array(192), shape: [1, 8, 8, 3], dtype: 'float32' }],
        }),
      'SHAPE_MISMATCH',
    ],
    ['a path with a zero byte', () => model.openFeatures(inFile('a\0b')), 'INVALID_VALUE'],
    ['a negative budget', () => model.openFeatures({ ...memory, memoryBytes: -1 }), 'INVALID_VALUE'],
    ['no identity', () => model.openFeatures({ ...memory, identity: undefined as never }), 'INVALID_TYPE'],
  ];
  for (const [what, call, code] of wrong) t.equal(await outcomeOf(call), code, what);
  t.equal(await outcomeOf(() => model.evaluate({ rows })), 'ok', 'and the features are still there');
});

t.test('features go with the plan that made them', async (t) => {
  const changes: [string, (model: NativeModel) => Promise<unknown>][] = [
    ['another layer learns', (model) => model.setTrainable(['block.bn2.weight', ...head], false)],
    [
      'the head is another',
      (model) =>
        model.replaceHead({
          layer: '',
          classes: 5,
          seed: 1,
          hidden: [],
          dropout: 0,
          standardise: false,
          example: [{ data: new Float32Array(192), shape: [1, 3, 8, 8], dtype: 'float32' }],
        }),
    ],
    ['the weights are others', (model) => model.reinitialise(1)],
    ['training is configured anew', (model) => configure(model, { preprocess })],
  ];
  for (const [what, change] of changes) {
    const model = await openKeeping(t);
    const rows = await store(model, 4);
    await change(model);
    for (const call of [() => model.step(rowsBatch(rows)), () => model.evaluate({ rows })]) {
      t.not(await outcomeOf(call), 'ok', what);
    }
  }
  const model = await openKeeping(t);
  const rows = await store(model, 4);
  t.equal(await outcomeOf(() => model.step(rowsBatch(rows))), 'ok');
  await model.plan(batch(4), { precision: 'float32', split: true });
  t.equal(
    await outcomeOf(() => model.evaluate({ rows })),
    'INVALID_VALUE',
    'a new plan begins without features',
  );
});
