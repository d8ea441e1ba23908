/** Preprocessing and augmentation give torchvision's pixels, with the decisions that (seed, epoch, index) make. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { loadAddon } from '../src/addon.js';
import type { NativeAugment, NativeModel, NativePreprocess } from '../src/native.js';

interface Case {
  name: string;
  augment: NativeAugment;
  size: [number, number];
  shape: number[];
  pixels: string;
  indices: number[];
  sizes: number[];
  /** float32 [n, 3 * height * width], NaN where torchvision treats borders in another way. */
  expected: string;
}

interface Fixture {
  seed: number;
  epoch: number;
  mean: number[];
  std: number[];
  cases: Case[];
}

const folder =
  process.env.TORCHGRAFT_PARITY_FIXTURES ?? fileURLToPath(new URL('./fixtures/training', import.meta.url));
const fixture = JSON.parse(gunzipSync(readFileSync(join(folder, 'augment.json.gz'))).toString()) as Fixture;

/** The model gives its images back; this loss is their largest deviation from target[:, 0] where target[:, 1] is 1. */
const source = `def loss(output, target):
    return ((output - target[:, 0]).abs() * target[:, 1]).max()
`;

/** Of normalised values: 1 grey level is 0.017. */
const tolerance = 2e-5;

function bytesOf(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'base64'));
}

/** [n, 2, values]: what is expected, and where it is to be compared. */
function targetOf(each: Case): Float32Array {
  const expected = new Float32Array(bytesOf(each.expected).buffer);
  const count = each.indices.length;
  const length = expected.length / count;
  const target = new Float32Array(2 * expected.length);
  for (const [i, value] of expected.entries()) {
    const at = 2 * Math.floor(i / length) * length + (i % length);
    if (Number.isNaN(value)) continue;
    target[at] = value;
    target[at + length] = 1;
  }
  return target;
}

async function largestDeviation(model: NativeModel, each: Case, epoch: number): Promise<number> {
  const target = targetOf(each);
  const count = each.indices.length;
  const preprocess: NativePreprocess = { mean: fixture.mean, std: fixture.std, size: each.size };
  await model.configure({
    optimizer: { kind: 'sgd', momentum: 0, dampening: 0, nesterov: false },
    groups: [{ parameters: ['scale'], learningRate: 0, weightDecay: 0 }],
    loss: { kind: 'source', source },
    clipNorm: 0,
    accumulate: 1,
    auxiliaryWeight: 0.4,
    seed: fixture.seed,
    preprocess,
    augment: each.augment,
  });
  const { loss } = await model.step({
    inputs: [{ data: bytesOf(each.pixels), shape: each.shape, dtype: 'uint8' }],
    target: { data: target, shape: [count, 2, target.length / count / 2], dtype: 'float32' },
    indices: Int32Array.from(each.indices),
    sizes: Int32Array.from(each.sizes),
    epoch,
  });
  return loss;
}

const native = loadAddon();

for (const each of fixture.cases) {
  t.test(each.name, async (t) => {
    const model = await native.load(join(folder, 'scale.pt'), { device: 'cpu', threads: 2 });
    t.teardown(() => model.dispose());
    await model.setTrainable(['scale'], false);
    const off = await largestDeviation(model, each, fixture.epoch);
    t.ok(off <= tolerance, `the largest deviation is ${off.toExponential(1)}`);
    const other = await largestDeviation(model, each, fixture.epoch + 1);
    t.ok(other > 0.02, 'another epoch makes other decisions');
  });
}
