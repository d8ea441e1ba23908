/** What save writes loads again bit for bit and opens in Python. */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import type { NativeModel, Tensor } from '../../src/native.js';
import {
  bitsOf,
  changed,
  configure,
  distance,
  hex,
  inputsOf,
  native,
  open,
  randomTensor,
  train,
} from './fixtures.js';

const extra = { 'torchgraft.json': '{"classes":["ant","bee","Käfer"]}' };
const image = randomTensor([4, 3, 8, 8], 5);

/** A model after surgery and training with a part of it frozen. */
async function grafted(t: Parameters<typeof open>[0], name: string, hidden: number[]): Promise<NativeModel> {
  const model = await open(t, name);
  const request = {
    layer: '',
    classes: 5,
    seed: 1,
    dropout: 0.3,
    standardise: false,
    example: inputsOf(name),
  };
  const { parameters } = await model.replaceHead({ ...request, hidden });
  await model.setTrainable(parameters, false);
  await configure(model);
  await train(model, 3);
  return model;
}

async function logitsOf(model: NativeModel): Promise<Tensor> {
  return (await model.evaluate({ inputs: [image] })).logits;
}

const kinds = [
  { name: 'residual', hidden: [] },
  { name: 'residual', hidden: [9] },
  { name: 'residual.traced-eval', hidden: [] },
  { name: 'residual.traced-eval', hidden: [9] },
  { name: 'residual.without-grad', hidden: [] },
  { name: 'squeeze', hidden: [] },
  { name: 'inception', hidden: [] },
  { name: 'folded', hidden: [] },
];

for (const { name, hidden } of kinds) {
  t.test(`${name}${hidden.length > 0 ? ' with an MLP head' : ''}: save, load, equal logits`, async (t) => {
    const path = join(t.testdir(), 'saved.pt');
    const model = await grafted(t, name, hidden);
    const logits = await logitsOf(model);
    await model.save(path, extra);
    const loaded = await open(t, name, path);
    t.equal(hex(await logitsOf(loaded)), hex(logits));
    t.same(changed(await bitsOf(model), await bitsOf(loaded)), []);
    t.same(loaded.extra, extra);
    const [before, after] = [await model.describe(), await loaded.describe()];
    t.match(after, {
      savedInTrainMode: false,
      savedWithoutGrad: [],
      heads: before.heads,
      layers: before.layers,
    });
  });
}

t.test('saving does not disturb training', async (t) => {
  const [quiet, saving] = [await grafted(t, 'residual', []), await grafted(t, 'residual', [])];
  for (let from = 3; from < 6; from++) {
    await saving.save(join(t.testdir(), 'saved.pt'), {});
    for (const model of [quiet, saving]) await train(model, 1, { from });
  }
  t.same(changed(await bitsOf(quiet), await bitsOf(saving)), []);
});

t.test('a path that cannot be written is refused, and the model still works', async (t) => {
  const model = await open(t, 'residual');
  const before = await bitsOf(model);
  await t.rejects(model.save(join(t.testdir(), 'no', 'such', 'folder', 'saved.pt'), {}), { code: /./ });
  t.same(changed(before, await bitsOf(model)), []);
});

const python = process.env.PYTHON ?? 'python3';

function pythonHasTorch(): boolean {
  try {
    execFileSync(python, ['-c', 'import torch'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

const script = fileURLToPath(new URL('../../scripts/open-saved.py', import.meta.url));
const skip = pythonHasTorch() ? false : `${python} has no PyTorch; set PYTHON to one that has`;

t.test('what is saved opens in Python with the same logits', { skip }, async (t) => {
  const folder = t.testdir();
  const input = join(folder, 'input.bin');
  writeFileSync(input, new Uint8Array((image.data as Float32Array).buffer));
  const paths: string[] = [];
  const wanted: Tensor[] = [];
  for (const [i, { name, hidden }] of kinds.entries()) {
    const model = await grafted(t, name, hidden);
    paths.push(join(folder, `${i}.pt`));
    await model.save(paths[i] as string, extra);
    wanted.push(await logitsOf(model));
  }
  const printed = execFileSync(python, [script, input, image.shape.join(), ...paths]);
  const answers = JSON.parse(printed.toString()) as { logits: number[] }[];
  for (const [i, logits] of wanted.entries()) {
    const { logits: numbers, ...answer } = answers[i] as { logits: number[] };
    t.ok(distance({ ...logits, data: Float32Array.from(numbers) }, logits) < 1e-5, `${kinds[i]?.name}`);
    t.same(answer, { extra: extra['torchgraft.json'], training: false, withoutGrad: [] });
  }
});

t.test('no file, a folder, and bytes that are no model', async (t) => {
  const options = { device: 'cpu', threads: 1 };
  await t.rejects(native.load(join(t.testdir(), 'missing.pt'), options), { code: 'FILE_NOT_FOUND' });
  await t.rejects(native.load(t.testdir(), options), { code: 'FILE_NOT_FOUND' });
  await t.rejects(native.load(new Uint8Array(0), options), { code: 'MODEL_UNREADABLE' });
  await t.rejects(native.load(Buffer.from('not a model'), options), { code: 'MODEL_UNREADABLE' });
});
