/** Mixup and cutmix give torchvision's batches, and losses of shares PyTorch's values and gradients. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { loadAddon } from '../src/addon.js';
import type {
  NativeAugment,
  NativeBatch,
  NativeLoss,
  NativeModel,
  NativeTraining,
  Tensor,
} from '../src/native.js';

interface Case {
  mixup: number;
  cutmix: number;
  pixels: string;
  labels: number[];
  indices: number[];
  share: number;
  /** [top, left, height, width] */
  box: number[] | null;
  /** float32 [n, 3 * height * width] */
  images: string;
  /** float32 [n, classes] */
  target: string;
}

interface Fixture {
  seed: number;
  epoch: number;
  mean: number[];
  std: number[];
  classes: number;
  size: [number, number];
  cases: Case[];
  losses: { options: object; logits: string; shares: string; loss: number; gradient: string }[];
}

const folder =
  process.env.TORCHGRAFT_PARITY_FIXTURES ?? fileURLToPath(new URL('./fixtures/training', import.meta.url));
const fixture = JSON.parse(gunzipSync(readFileSync(join(folder, 'mix.json.gz'))).toString()) as Fixture;
const native = loadAddon();
const [height, width] = fixture.size;
const values = 3 * height * width;

/** Gradients that are the model's output, and its target. */
const showOutput = 'def loss(output, target):\n    return (output * output).sum() / 2\n';
const showTarget = 'def loss(output, target):\n    return (output * target).sum()\n';

const nothing: NativeAugment = {
  ...{ crop: null, horizontalFlip: 0, verticalFlip: 0, rotation: 0 },
  ...{ brightness: 0, contrast: 0, saturation: 0, hue: 0 },
};

function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64'));
}

function floatsOf(text: string): Float32Array {
  return new Float32Array(bytesOf(text).buffer);
}

interface Teardown {
  teardown(free: () => unknown): unknown;
}

/** The model gives its input back, flat, plus `offset` [6, values]: whose gradient is that of the output. */
async function echo(t: Teardown, threads = 1): Promise<NativeModel> {
  const model = await native.load(join(folder, 'echo.pt'), { device: 'cpu', threads });
  t.teardown(() => model.dispose());
  await model.setTrainable(['offset'], false);
  return model;
}

function configure(model: NativeModel, changes: Partial<NativeTraining>): Promise<void> {
  return model.configure({
    optimizer: { kind: 'sgd', momentum: 0, dampening: 0, nesterov: false },
    groups: [{ parameters: ['offset'], learningRate: 0, weightDecay: 0 }],
    loss: { kind: 'crossEntropy', labelSmoothing: 0 },
    ...{ clipNorm: 0, auxiliaryWeight: 0.4, seed: fixture.seed },
    // The gradient of the first batch stays until the second.
    accumulate: 2,
    preprocess: { mean: fixture.mean, std: fixture.std, size: fixture.size },
    augment: null,
    ...changes,
  });
}

function batchOf({ pixels, labels, indices }: Pick<Case, 'pixels' | 'labels' | 'indices'>, epoch: number) {
  const count = labels.length;
  return {
    inputs: [{ data: bytesOf(pixels), shape: [count, height, width, 3], dtype: 'uint8' as const }],
    target: { data: Int32Array.from(labels), shape: [count], dtype: 'int32' as const },
    indices: Int32Array.from(indices),
    epoch,
  };
}

/** Of `offset`, [6 * values], for one batch alone. */
async function gradientOf(model: NativeModel, batch: NativeBatch): Promise<Float32Array> {
  await model.step(batch);
  const [gradient] = (await model.gradients(['offset'])) as [Tensor];
  // The end of an accumulation drops it.
  await model.step({ ...batch, flush: true });
  return gradient.data as Float32Array;
}

/** Rows of the gradient that `source` makes a picture of: [count, values]. */
async function shown(model: NativeModel, source: string, each: Case, more: Partial<NativeTraining> = {}) {
  const { mixup, cutmix } = each;
  const augment = { ...nothing, ...(mixup && { mixup }), ...(cutmix && { cutmix }) };
  await configure(model, { loss: { kind: 'source', source }, augment, ...more });
  const gradient = await gradientOf(model, batchOf(each, fixture.epoch));
  return gradient.subarray(0, each.labels.length * values);
}

function farthest(actual: ArrayLike<number>, wanted: ArrayLike<number>): number {
  let most = actual.length === wanted.length ? 0 : Number.POSITIVE_INFINITY;
  for (let i = 0; i < wanted.length; i++) {
    const gap = Math.abs((actual[i] as number) - (wanted[i] as number));
    if (!(gap <= most)) most = gap;
  }
  return most;
}

function argmax(row: ArrayLike<number>): number {
  return Array.from(row).reduce((best, value, i) => (value > (row[best] as number) ? i : best), 0);
}

t.test('batches are mixed as torchvision mixes them, and labels likewise', async (t) => {
  const model = await echo(t);
  t.ok(fixture.cases.some(({ box }) => box) && fixture.cases.some(({ box }) => !box));
  for (const each of fixture.cases) {
    const name = `mixup ${each.mixup}, cutmix ${each.cutmix}, ${each.labels.length} images of ${each.indices[0]}`;
    const images = floatsOf(each.images);
    t.ok(farthest(await shown(model, showOutput, each), images) < 1e-5, name);
    const targets = await shown(model, showTarget, each);
    const rows = each.labels.map((_, i) => targets.subarray(i * values, (i + 1) * values));
    const shares = rows.flatMap((row) => Array.from(row.subarray(0, fixture.classes)));
    t.ok(farthest(shares, floatsOf(each.target)) < 1e-6, `${name}: labels`);
    for (const row of rows)
      t.ok(Math.abs(row.reduce((a, b) => a + b) - 1) < 1e-6, `${name}: labels sum to 1`);
  }
});

t.test('a batch counts the label of the larger share', async (t) => {
  const model = await echo(t);
  for (const each of fixture.cases.filter(({ labels }) => labels.length > 2)) {
    const images = floatsOf(each.images);
    const best = each.labels.map((_, i) => argmax(images.subarray(i * values, (i + 1) * values)));
    // Classes are pixels here: half of the images are right.
    const own = each.labels.map((_, i) => (i % 2 === 0 ? (best[i] as number) : 0));
    const labels = each.share >= 0.5 ? own : own.toReversed();
    const augment = {
      ...nothing,
      ...(each.mixup && { mixup: each.mixup }),
      ...(each.cutmix && { cutmix: each.cutmix }),
    };
    await configure(model, { augment });
    const { correct } = await model.step(batchOf({ ...each, labels }, fixture.epoch));
    t.equal(correct, best.filter((pixel, i) => own[i] === pixel).length);
  }
});

t.test('threads do not change a bit of it; seed, epoch and samples do', async (t) => {
  const augment: NativeAugment = {
    ...{ ...nothing, horizontalFlip: 0.5, mixup: 0.8, cutmix: 1 },
    randAugment: { operations: 3, magnitude: 20 },
    erasing: { probability: 0.5, scale: [0.02, 0.33], ratio: [0.3, 3.3], value: 'noise' },
  };
  const each = fixture.cases.find(({ labels }) => labels.length === 6) as Case;
  const one = await echo(t, 1);
  const many = await echo(t, 3);
  const bits = async (model: NativeModel, changes: Partial<Case> = {}, seed = 1) =>
    Array.from(await shown(model, showOutput, { ...each, ...changes }, { augment, seed }));
  const first = await bits(one);
  t.strictSame(await bits(many), first);
  t.strictSame(await bits(one), first, 'again');
  t.notSame(await bits(one, {}, 2), first, 'another seed');
  t.notSame(await bits(one, { indices: [3, 1, 4, 15, 9, 2] }), first, 'other samples');
});

t.test('shares have the Beta distribution of alpha', async (t) => {
  const model = await echo(t);
  const [one] = fixture.cases as [Case];
  const draws = 400;
  for (const alpha of [0.2, 1, 4]) {
    await configure(model, {
      loss: {
        kind: 'source',
        source: 'def loss(output, target):\n    return target[0, 1] + 0 * output.sum()\n',
      },
      augment: { ...nothing, mixup: alpha },
    });
    const shares: number[] = [];
    for (let i = 0; i < draws; i++) {
      const batch = batchOf({ ...one, labels: [1, 0], indices: [2 * i, 2 * i + 1] }, 1);
      shares.push((await model.step(batch)).loss);
    }
    const mean = shares.reduce((a, b) => a + b) / draws;
    const variance = shares.reduce((sum, share) => sum + (share - mean) ** 2, 0) / draws;
    const wanted = 1 / (4 * (2 * alpha + 1));
    // Four standard errors of a mean; variances of bounded numbers are at most as uncertain.
    t.ok(Math.abs(mean - 0.5) < 4 * Math.sqrt(wanted / draws), `alpha ${alpha}: mean ${mean}`);
    t.ok(Math.abs(variance / wanted - 1) < 0.25, `alpha ${alpha}: variance ${variance}, expected ${wanted}`);
  }
});

t.test('losses of shares are those of PyTorch, and so are their gradients', async (t) => {
  const model = await echo(t);
  for (const { options, logits, shares, loss, gradient } of fixture.losses) {
    const { classWeights, ...rest } = options as { classWeights?: number[] };
    const given = { ...rest, ...(classWeights && { classWeights: Float32Array.from(classWeights) }) };
    await configure(model, { loss: given as NativeLoss, preprocess: null });
    const shape = [5, fixture.classes];
    const batch: NativeBatch = {
      inputs: [{ data: floatsOf(logits), shape, dtype: 'float32' }],
      target: { data: floatsOf(shares), shape, dtype: 'float32' },
    };
    const all = await gradientOf(model, batch);
    const judged = await model.evaluate(batch);
    t.ok(Math.abs(judged.loss - loss) < 1e-5, `loss ${judged.loss}, expected ${loss}`);
    const rows = Array.from({ length: 5 }, (_, i) =>
      Array.from(all.subarray(i * values, i * values + fixture.classes)),
    );
    t.ok(farthest(rows.flat(), floatsOf(gradient)) < 1e-6, 'gradient');
  }
});

t.test('shares must be shares', async (t) => {
  const model = await echo(t);
  for (const kind of ['crossEntropy', 'focal'] as const) {
    await configure(model, { loss: { kind, labelSmoothing: 0, gamma: 2 } as NativeLoss, preprocess: null });
    const step = (...row: number[]) =>
      model.step({
        inputs: [{ data: Float32Array.of(1, 2, 3), shape: [1, 3], dtype: 'float32' }],
        target: { data: Float32Array.from(row), shape: [1, row.length], dtype: 'float32' },
      });
    for (const row of [
      [0.5, 0.5, 0.5],
      [1.5, -0.5, 0],
      [Number.NaN, 1, 0],
      [0, 0, 0],
    ]) {
      await t.rejects(step(...row), { code: 'INVALID_VALUE', message: /sum to 1/ }, row.join());
    }
    await t.rejects(step(0.5, 0.5), { code: 'SHAPE_MISMATCH', message: /shares of the classes/ });
    t.ok((await step(0.2, 0.3, 0.5)).loss > 0);
  }
});

t.test('what cannot be mixed is refused', async (t) => {
  const model = await echo(t);
  const each = fixture.cases[0] as Case;
  await configure(model, { augment: { ...nothing, mixup: 1 } });
  const floats = { data: new Float32Array(2 * values), shape: [2, values], dtype: 'float32' as const };
  await t.rejects(model.step({ ...batchOf(each, 1), target: floats }), {
    code: 'SHAPE_MISMATCH',
    message: /class indices/,
  });
  await t.rejects(model.step(batchOf({ ...each, labels: [0, values] }, 1)), { code: 'SHAPE_MISMATCH' });
  t.throws(() => configure(model, { augment: { ...nothing, mixup: -1 } }), { code: 'INVALID_VALUE' });
});
