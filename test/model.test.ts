/** A Model: loading, its facts, choosing what learns, another head, forward, saving, its end. */
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadModel, type Tensor } from '../src/index.js';
import { backbone, bitsOf, changed, fixtureModel, open, residual } from './defects.js';

const image = (side: number): Tensor => ({
  data: Float32Array.from({ length: 3 * side * side }, (_, i) => ((i * 37) % 101) / 50 - 1),
  shape: [1, 3, side, side],
  dtype: 'float32',
});

t.test('loads from a path and from bytes, and knows where it came from', async (t) => {
  const bytes = readFileSync(residual);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const fromPath = await open(t);
  const fromBytes = await loadModel(bytes, { device: 'cpu' });
  t.teardown(() => fromBytes.dispose());
  t.same(fromPath.origin, { name: 'residual.pt', sha256 });
  t.same(fromBytes.origin, { name: 'the model given as bytes', sha256 });
  t.same(await fromPath.forward([image(16)]), await fromBytes.forward([image(16)]));
  t.equal(fromPath.device, 'cpu');
  t.equal(fromPath.card, undefined);
  t.same(fromPath.notices, []);
  const { parameters, buffers } = await fromPath.summary();
  const elements = [...parameters, ...buffers].map(({ shape, dtype }) => {
    return shape.reduce((product, side) => product * side, 1) * (dtype === 'int64' ? 8 : 4);
  });
  t.equal(
    fromPath.bytes,
    elements.reduce((sum, size) => sum + size, 0),
  );
});

t.test('what cannot be loaded has a code and names the file', async (t) => {
  const folder = t.testdir({ 'text.pt': 'no model' });
  await t.rejects(loadModel(join(folder, 'missing.pt')), { code: 'FILE_NOT_FOUND', message: /missing\.pt/ });
  await t.rejects(loadModel(join(folder, 'text.pt')), { code: 'MODEL_UNREADABLE', message: /text\.pt/ });
  await t.rejects(loadModel(folder), { code: 'FILE_NOT_FOUND' });
  await t.rejects(loadModel(new Uint8Array()), { code: 'MODEL_UNREADABLE' });
  await t.rejects(loadModel(residual, { device: 'cuda:31' }), { code: 'DEVICE_UNAVAILABLE' });
  await t.rejects(loadModel(residual, { device: 'gpu' }), { code: /INVALID_VALUE|DEVICE_UNAVAILABLE/ });
  await t.rejects(loadModel(residual, { threads: 0 }), { code: 'INVALID_VALUE', message: /`threads`/ });
  await t.rejects(loadModel(residual, { thread: 1 } as never), { message: /Did you mean `threads`/ });
  await t.rejects(loadModel(7 as never), { name: 'TypeError', code: 'INVALID_TYPE' });
});

t.test('notices say what to know before training', async (t) => {
  const notices = async (name: string) => (await open(t, fixtureModel(name))).notices.join('\n');
  t.match(await notices('residual.frozen'), /no parameters.*torch\.jit\.script/);
  t.match(
    await notices('residual.traced-eval'),
    /traced in eval mode.*Dropout stays off and BatchNorm keeps/,
  );
  t.match(await notices('residual.train-mode'), /saved in train mode/);
  t.match(await notices('residual.without-grad'), /requires_grad off.*can learn now/);
  t.match(await notices('folded'), /already folded into the convolutions.*stays in eval/);
});

t.test('selections: names, modules, globs, regular expressions, the last layers', async (t) => {
  const model = await open(t);
  t.same(model.select('fc'), ['fc.weight', 'fc.bias']);
  t.same(model.select('conv1.weight'), ['conv1.weight']);
  t.same(model.select(['block.conv?', /^fc\.b/]), ['block.conv1.weight', 'block.conv2.weight', 'fc.bias']);
  t.same(model.select({ last: 1 }), ['fc.weight', 'fc.bias']);
  t.same(model.select({ last: 2 }), [
    'block.conv2.weight',
    'block.bn2.weight',
    'block.bn2.bias',
    'fc.weight',
    'fc.bias',
  ]);
  t.throws(() => model.select({ last: 5 }), { code: 'INVALID_VALUE', message: /has 4 layers/ });
  t.throws(() => model.select('fcc'), { code: 'PATTERN_UNMATCHED', message: /Near matches: `fc`/ });
  t.throws(() => model.select(7 as never), { code: 'INVALID_TYPE' });
});

t.test('freeze and unfreeze change what learns, and summary says so', async (t) => {
  const model = await open(t);
  const all = model.trainable;
  t.equal(all.length, 11);
  await model.freeze(['conv1', 'bn1', 'block']);
  t.same(model.trainable, ['fc.weight', 'fc.bias']);
  const { parameters, modules } = await model.summary();
  t.same(
    parameters.filter(({ trainable }) => trainable).map(({ name }) => name),
    model.trainable,
  );
  t.same(
    modules.filter(({ path, training }) => path.includes('bn') && training),
    [],
    'frozen BatchNorm is in eval',
  );
  await model.unfreeze('block.conv2');
  t.same(model.trainable, ['block.conv2.weight', 'fc.weight', 'fc.bias']);
  await model.unfreeze('*');
  t.same(model.trainable, all);
  await model.setTrainable(['fc.bias']);
  t.same(model.trainable, ['fc.bias']);
  await t.rejects(model.setTrainable(['fc.bais']), {
    code: 'INVALID_VALUE',
    message: /Did you mean `fc\.bias`/,
  });
  await t.rejects(model.freeze('fcc'), { code: 'PATTERN_UNMATCHED' });
  await t.rejects(model.freeze('fc', { trainBatchnorm: true } as never), {
    message: /Did you mean `trainBatchNorm`/,
  });
  t.same(model.trainable, ['fc.bias'], 'what is refused changes nothing');
});

t.test('replaceHead changes the head alone, the same for the same seed', async (t) => {
  const [one, same, other] = await Promise.all([open(t), open(t), open(t)]);
  const before = await bitsOf(one);
  t.same(await one.replaceHead({ classes: 7, seed: 3, imageSize: 16 }), {
    parameters: ['fc.weight', 'fc.bias'],
    layers: ['fc'],
    standardiser: null,
    cut: [],
  });
  t.same(changed(before, await bitsOf(one)), ['fc.bias', 'fc.weight']);
  await same.replaceHead({ classes: 7, seed: 3, imageSize: 16 });
  await other.replaceHead({ classes: 7, seed: 4, imageSize: 16 });
  t.same(await bitsOf(same), await bitsOf(one));
  t.same(changed(await bitsOf(other), await bitsOf(one)), ['fc.bias', 'fc.weight']);
  t.match(await one.forward([image(16)]), { shape: [1, 7] });
  await t.rejects(one.replaceHead({ classes: 0 }), { code: 'INVALID_VALUE' });
  await t.rejects(one.replaceHead({ classes: 3, layer: 'conv1' }), { code: /NO_HEAD|MODEL_FAILED/ });
  await t.rejects(one.replaceHead({ clases: 3 } as never), { message: /Did you mean `classes`/ });
  t.match(await one.forward([image(16)]), { shape: [1, 7] }, 'after a refusal it is as it was');
  const tokens = await open(t, fixtureModel('mlp.traced'));
  const { heads } = await tokens.summary();
  const example: Tensor[] = [{ data: new Float32Array(4), shape: [1, 4], dtype: 'float32' }];
  t.same((await tokens.replaceHead({ classes: 2, example })).layers, [heads[0]?.module], 'not an image');
});

t.test('reinitialise makes the network untrained, the same for the same seed', async (t) => {
  const model = await open(t);
  const before = await bitsOf(model);
  await model.reinitialise(1);
  const first = await bitsOf(model);
  t.ok(changed(before, first).includes('conv1.weight'));
  await model.reinitialise(2);
  t.notSame(await bitsOf(model), first);
  await model.reinitialise(1);
  t.same(await bitsOf(model), first);
});

t.test('forward refuses what does not fit', async (t) => {
  const model = await open(t);
  await t.rejects(model.forward([]), { code: /SHAPE_MISMATCH|INVALID_VALUE|MODEL_FAILED/ });
  await t.rejects(model.forward([{ ...image(16), shape: [1, 3, 16, 17] }]), { code: 'SHAPE_MISMATCH' });
  await t.rejects(model.forward([{ data: new Float32Array(4), shape: [1, 4], dtype: 'float32' }]), {
    code: 'MODEL_FAILED',
  });
  await t.rejects(model.forward('x' as never), { code: 'INVALID_TYPE' });
});

t.test('save replaces a file as one act, and what is saved loads to the same bits', async (t) => {
  const file = join(t.testdir({ 'model.pt': 'something old' }), 'model.pt');
  const model = await open(t);
  await model.replaceHead({ classes: 3, imageSize: 16 });
  await model.save(file);
  const saved = await open(t, file);
  t.same(await bitsOf(saved), await bitsOf(model));
  t.same(await saved.forward([image(16)]), await model.forward([image(16)]));
  t.equal(saved.card, undefined);
  await t.rejects(model.save(join(file, 'nowhere', 'model.pt')), { code: 'FILE_NOT_FOUND' });
});

t.test('a card that this version cannot read is refused, with the field', async (t) => {
  const model = await open(t);
  const file = join(t.testdir(), 'model.pt');
  await model.save(file, { format: 2, classes: ['a'] } as never);
  await t.rejects(loadModel(file), { code: 'MODEL_UNREADABLE', message: /torchgraft\.json.*format/ });
  await model.native.save(file, { 'torchgraft.json': '{' });
  await t.rejects(loadModel(file), { code: 'MODEL_UNREADABLE', message: /not JSON/ });
});

t.test('a second operation is refused while one runs', async (t) => {
  const model = await open(t, backbone);
  const first = model.forward([image(96)]);
  await t.rejects(model.forward([image(96)]), { code: 'BUSY' });
  await t.resolves(first);
});

t.test('dispose waits, frees, and is final; await using disposes', async (t) => {
  const model = await loadModel(residual, { device: 'cpu', threads: 1 });
  const running = model.forward([image(64)]);
  await Promise.all([model.dispose(), model.dispose()]);
  t.match(await running, { shape: [1, 5] });
  t.equal(model.bytes, 0);
  for (const call of [
    () => model.forward([image(16)]),
    () => model.summary(),
    () => model.freeze('fc'),
    () => model.replaceHead({ classes: 2 }),
    () => model.reinitialise(),
    () => model.save(join(t.testdirName, 'model.pt')),
  ]) {
    await t.rejects(call() as Promise<unknown> as Promise<null>, { code: /DISPOSED|FILE_NOT_FOUND/ });
  }
  let outer: typeof model;
  {
    await using scoped = await loadModel(residual, { device: 'cpu', threads: 1 });
    outer = scoped;
  }
  t.equal(outer.bytes, 0);
});

t.test('a file that was cut anywhere is unreadable, not a crash', async (t) => {
  const bytes = readFileSync(residual);
  const file = join(t.testdir(), 'cut.pt');
  for (const share of [0.1, 0.5, 0.99]) {
    writeFileSync(file, bytes.subarray(0, bytes.length * share));
    await t.rejects(loadModel(file), { code: 'MODEL_UNREADABLE', message: /cut\.pt/ });
  }
});
