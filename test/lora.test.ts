/** Strategy `lora`: learns, resumes to the same bits, is saved merged, and kept apart in a file for one base alone. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  type FineTuneOptions,
  fineTune,
  type HeadForm,
  loadAdapter,
  loadClassifier,
  type Model,
  saveAdapter,
  type Tensor,
} from '../src/index.js';
import { backbone, bitsOf, changed, defects, figures, fixtureModel, open, quick, train } from './defects.js';

const small = defects(20, 6);
const options = {
  ...quick,
  ...{ strategy: 'lora', epochs: 3, lora: { rank: 2 }, learningRate: 0.01, cache: 'memory' },
  augment: { horizontalFlip: 0.5 },
} satisfies FineTuneOptions;

const image: Tensor = {
  data: Float32Array.from({ length: 2 * 3 * 32 * 32 }, (_, i) => Math.sin(i)),
  shape: [2, 3, 32, 32],
  dtype: 'float32',
};
const logits = async (model: Model) => [...((await model.forward([image])) as Tensor).data].map(Number);
const apart = (a: number[], b: number[]) =>
  Math.max(...a.map((value, i) => Math.abs(value - (b[i] as number))));

t.test('adapters and the head learn, all else keeps its bits; saved merged', async (t) => {
  const model = await open(t);
  const before = await bitsOf(model);
  const run = fineTune(model, small, options);
  for await (const _ of run);
  const { adapters } = await model.summary();
  t.same(adapters.map(({ rank, scale }) => [rank, scale])[0], [2, 2], 'alpha is twice the rank');
  const learned = adapters.flatMap(({ down, up }) => [down, up]);
  t.same(changed(before, await bitsOf(model)), [...learned, 'fc.bias', 'fc.weight'].sort());
  t.match(run.result?.decisions[0], /adapters of rank 2 in \d+ layers/);
  t.same(
    run.result?.stages.map(({ name, learning }) => [name, learning]),
    [['lora', learned.length + 2]],
  );
  const file = join(t.testdir(), 'model.pt');
  await model.save(file);
  const saved = await open(t, file);
  t.same((await saved.summary()).adapters, []);
  t.ok(apart(await logits(saved), await logits(model)) < 1e-5);
  const classifier = await loadClassifier(file, { device: 'cpu' });
  t.teardown(() => classifier.dispose());
  t.equal((await classifier.predict([small.splits.val[0]?.path as string])).length, 1);
});

t.test('resumed within epochs, it comes to the same bits', async (t) => {
  const outcome = async (given: FineTuneOptions) => {
    const model = await open(t);
    const run = fineTune(model, small, given);
    for await (const _ of run);
    return { bits: await bitsOf(model), reports: run.result?.history.map(figures) };
  };
  const checkpoint = join(t.testdir(), 'checkpoint.pt');
  for (const batches of [4, 9]) {
    const controller = new AbortController();
    let seen = 0;
    const stopping = {
      ...options,
      ...{ checkpoint, resume: true, signal: controller.signal },
      onBatch: () => ++seen === batches && controller.abort(),
    };
    await t.rejects(train(await open(t), small, stopping), { code: 'ABORTED' });
  }
  t.same(await outcome({ ...options, checkpoint, resume: true }), await outcome(options));
});

const heads: HeadForm[] = [{}, { hidden: [5] }, { kind: 'cosine', pooling: 'concat' }];
for (const head of heads) {
  t.test(
    `an adapter file with head ${JSON.stringify(head)} makes the same model of the same base`,
    async (t) => {
      const model = await open(t);
      await train(model, small, { ...options, epochs: 1, head });
      const file = join(t.testdir(), 'adapter.safetensors');
      await saveAdapter(model, file);
      const other = await open(t);
      await loadAdapter(other, file);
      t.same(await logits(other), await logits(model));
      t.same(other.card, model.card);
      const bytes = readFileSync(file);
      const length = Number(bytes.readBigUInt64LE());
      const { __metadata__: metadata, ...tensors } = JSON.parse(bytes.toString('utf8', 8, 8 + length));
      t.equal(metadata.format, 'pt');
      const [first] = (await model.summary()).adapters;
      const a = tensors[`base_model.model.${first?.layer}.lora_A.weight`];
      t.equal(a.shape.length, 4, 'a convolution, as in PEFT');
      t.equal(a.shape[0], 2);
    },
  );
}

t.test('another base, a damaged file, and models with adapters are refused', async (t) => {
  const model = await open(t);
  const folder = t.testdir();
  const file = join(folder, 'adapter.safetensors');
  await t.rejects(saveAdapter(model, file), { code: 'INVALID_VALUE', message: /lora/ });
  await train(model, small, { ...options, epochs: 1 });
  await saveAdapter(model, file);
  await t.rejects(loadAdapter(model, file), { code: 'INVALID_VALUE' });
  const changedBase = await open(t);
  const name = (await changedBase.summary()).layers[0] as string;
  const [first] = (await changedBase.native.values([`${name}.weight`])) as [Tensor];
  (first.data as Float32Array)[0] = 0.123;
  await changedBase.native.setValues([`${name}.weight`], [first]);
  const before = await bitsOf(changedBase);
  await t.rejects(loadAdapter(changedBase, file), { code: 'ADAPTER_MISMATCH', message: /residual\.pt/ });
  t.same(await bitsOf(changedBase), before);
  await t.rejects(loadAdapter(await open(t, fixtureModel('squeeze')), file), { code: 'ADAPTER_MISMATCH' });
  const whole = readFileSync(file);
  for (const [name, bytes] of Object.entries({
    short: whole.subarray(0, 4),
    cut: whole.subarray(0, whole.length - 8),
    text: Buffer.from('not an adapter at all'),
    other: Buffer.concat([Buffer.from([2, 0, 0, 0, 0, 0, 0, 0]), Buffer.from('{}')]),
  })) {
    writeFileSync(join(folder, name), bytes);
    await t.rejects(loadAdapter(await open(t), join(folder, name)), { code: 'ADAPTER_INVALID' }, name);
  }
  await t.rejects(loadAdapter(await open(t), join(folder, 'nowhere')), { code: 'FILE_NOT_FOUND' });
});

t.test('going on: the same adapters stay, another strategy merges them first', async (t) => {
  const model = await open(t);
  await train(model, small, { ...options, epochs: 1 });
  const before = await logits(model);
  const { adapters } = await model.summary();
  const run = fineTune(model, small, { ...options, epochs: 1 });
  for await (const _ of run) break;
  t.same((await model.summary()).adapters, adapters);
  await train(model, small, { ...quick, strategy: 'head', learningRate: 1e-9 });
  t.same((await model.summary()).adapters, []);
  t.equal((await logits(model)).length, before.length);
});

t.test('targets, and options that have no meaning', async (t) => {
  const model = await open(t);
  const { layers } = await model.summary();
  const target = layers[0] as string;
  await train(model, small, { ...options, epochs: 1, lora: { rank: 1, alpha: 3, targets: [target] } });
  const { adapters } = await model.summary();
  t.same(
    adapters.map(({ layer, rank, scale }) => [layer, rank, scale]),
    [[target, 1, 3]],
  );
  const refused: [FineTuneOptions, { code: string; message?: RegExp }][] = [
    [
      { ...options, lora: { targets: ['fc'] } },
      { code: 'INVALID_VALUE', message: /targets/ },
    ],
    [{ ...options, lora: { targets: ['nothing*'] } }, { code: 'PATTERN_UNMATCHED' }],
    [
      { ...options, lora: { rank: 500 } },
      { code: 'INVALID_VALUE', message: /rank/ },
    ],
  ];
  for (const [given, error] of refused) await t.rejects(train(await open(t), small, given), error);
  t.throws(() => fineTune(model, small, { ...options, strategy: 'full' }), {
    code: 'INVALID_VALUE',
    message: /lora/,
  });
  t.throws(() => fineTune(model, small, { ...options, trainBatchNorm: true }), { message: /trainBatchNorm/ });
  t.throws(() => fineTune(model, small, { ...options, lora: { ranc: 2 } as object }), { message: /rank/ });
});

t.test('on the embedded photographs it beats what it began from', async (t) => {
  const model = await open(t, backbone);
  const run = fineTune(model, defects(120, 60), {
    ...{ strategy: 'lora', epochs: 3, batchSize: 16, augment: 'none', threads: 1 },
    preprocessing: { size: 64, resize: 64 },
  });
  for await (const _ of run);
  const { baseline, best } = run.result ?? {};
  t.ok((best?.validation.loss as number) < 0.8 * (baseline?.validation.loss as number));
  t.ok((await model.summary()).parameters.some(({ name }) => name.startsWith('lora.')));
});
