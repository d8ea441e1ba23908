/** Networks without a classifier get one on the features that are named. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { fineTune, type HeadOptions, loadClassifier, type Model, type Tensor } from '../src/index.js';
import { torchgraft } from './command-line.js';
import { copyDefects, defects, fixtureModel, open, quick } from './defects.js';
import { furthest } from './figures.js';

const trunk = (name: string) => fixtureModel(`../trunks/${name}`);
const expected = JSON.parse(
  readFileSync(new URL('./fixtures/trunks/expected.json', import.meta.url), 'utf8'),
) as Record<string, { shape: number[]; values: number[] }>;
const image: Tensor = {
  data: Float32Array.from({ length: 3 * 32 * 32 }, (_, i) => Math.sin(i)),
  shape: [1, 3, 32, 32],
  dtype: 'float32',
};
const request = (append: HeadOptions['append']) => ({
  classes: 3,
  seed: 1,
  imageSize: 32,
  ...(append ? { append } : {}),
});

async function logits(model: Model): Promise<number[]> {
  const output = (await model.forward([image])) as Tensor | Record<string, Tensor>;
  const main = ('last_hidden_state' in output ? output.last_hidden_state : output) as Tensor;
  return [...(main.data as Float32Array)];
}

/** What PyTorch's output of the image comes to as features. */
function featuresOf(name: string, append: HeadOptions['append']): number[] {
  const { shape, values } = expected[name] as (typeof expected)[string];
  if (shape.length === 2) return values;
  const [, first, second] = shape as [number, number, number];
  if (shape.length === 4) {
    const places = values.length / first;
    return Array.from({ length: first }, (_, c) => meanOf(values.slice(c * places, (c + 1) * places)));
  }
  const token = (at: number) => values.slice(at * second, (at + 1) * second);
  const mean = (from: number) =>
    token(0).map((_, c) =>
      meanOf(Array.from({ length: first - from }, (_, at) => token(from + at)[c] as number)),
    );
  if (append === 'pooled') return mean(0);
  return append === 'classToken' ? token(0) : [...token(0), ...mean(1)];
}

const meanOf = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

const possible = [
  ['map', 'pooled'],
  ['rows', 'pooled'],
  ['tokens', 'pooled'],
  ['tokens', 'classToken'],
  ['tokens', 'both'],
  ['named', 'both'],
] as const;

for (const [name, append] of possible) {
  t.test(
    `${name}, ${append}: logits are the new layer's of PyTorch's features, also when saved`,
    async (t) => {
      const model = await open(t, trunk(name));
      const before = await model.summary();
      await t.rejects(model.replaceHead(request(undefined)), { code: 'NO_HEAD', message: /--append-head/ });
      const { parameters, layers } = await model.replaceHead(request(append));
      t.same([parameters, layers], [['classifier.weight', 'classifier.bias'], ['classifier']]);
      const [weight, bias] = await model.native.values(parameters);
      const features = featuresOf(name, append);
      const wanted = Array.from(bias?.data as Float32Array, (start, output) =>
        features.reduce(
          (sum, value, i) =>
            sum + value * ((weight?.data as Float32Array)[output * features.length + i] as number),
          start,
        ),
      );
      t.ok(furthest(await logits(model), wanted) < 1e-4);
      t.ok(
        before.parameters.every(({ name: own }) => model.trainable.includes(own)),
        'what learned learns',
      );
      const file = join(t.testdir(), 'model.pt');
      await model.save(file);
      const saved = await open(t, file);
      t.same(await logits(saved), await logits(model));
      t.match((await saved.summary()).heads, [{ module: 'classifier', role: 'main', outFeatures: 3 }]);
      // Once more, by default and by name: the layer there is, not another one behind it.
      for (const again of [undefined, append]) {
        t.same((await saved.replaceHead({ ...request(again), classes: 5 })).layers, ['classifier']);
        t.equal((await logits(saved)).length, 5);
      }
    },
  );
}

t.test('what cannot be taken is refused, and the model stays as it was', async (t) => {
  for (const [name, append] of [
    ['map', 'classToken'],
    ['rows', 'both'],
  ] as const) {
    const model = await open(t, trunk(name));
    await t.rejects(model.replaceHead(request(append)), {
      code: 'NO_HEAD',
      message: /it has no tokens\. Use `pooled`/,
    });
    t.same((await model.summary()).heads, []);
    await model.forward([image]);
  }
  const model = await open(t, trunk('tokens'));
  await model.replaceHead(request('both'));
  await t.rejects(model.replaceHead(request('pooled')), {
    code: 'NO_HEAD',
    message: /already put a classifier on the 'both' features/,
  });
  await t.rejects(model.replaceHead({ ...request('both'), layer: 'fc' }), { code: 'INVALID_VALUE' });
  await t.rejects(model.replaceHead(request('cls' as never)), { code: 'INVALID_VALUE', message: /append/ });
});

t.test('the forms of heads: hidden layers and a cosine', async (t) => {
  for (const form of [{ hidden: [4] }, { kind: 'cosine' as const }]) {
    const model = await open(t, trunk('tokens'));
    await model.replaceHead({ ...request('both'), ...form });
    t.equal((await logits(model)).length, 3);
  }
});

t.test('a trunk is fine-tuned, and its file is an ordinary classifier', async (t) => {
  const data = defects(24, 12);
  for (const [name, strategy] of [
    ['tokens', 'head'],
    ['map', 'lp-ft'],
  ] as const) {
    const model = await open(t, trunk(name));
    const { history } = await fineTune(model, data, { ...quick, strategy, head: { append: 'pooled' } });
    t.ok(history.length > 0);
    const file = join(t.testdir(), 'model.pt');
    await model.save(file);
    const classifier = await loadClassifier(file);
    t.teardown(() => classifier.dispose());
    const [sample] = data.splits.val;
    t.equal((await classifier.predict([sample?.path as string]))[0]?.top.length, 5);
  }
});

t.test('train --append-head', async (t) => {
  const folder = join(t.testdir(), 'defects');
  copyDefects(folder, 6);
  const args = [
    'train',
    '--model',
    trunk('map'),
    '--data',
    folder,
    '--image-size',
    '32',
    '--epochs',
    '1',
    '--no-report',
  ];
  const refused = await torchgraft([...args, '--out', join(folder, '..', 'a')]);
  t.match(refused, { code: 1, stderr: /NO_HEAD.*--append-head/s });
  const { code, stderr } = await torchgraft([
    ...args,
    '--out',
    join(folder, '..', 'b'),
    '--append-head',
    'pooled',
  ]);
  t.equal(code, 0, stderr);
});

t.test('check, audit and rank --append-head', async (t) => {
  const folder = join(t.testdir(), 'defects');
  copyDefects(folder, 12);
  const asked = ['--data', folder, '--image-size', '32', '--json'];
  for (const command of ['check', 'audit']) {
    const args = [command, '--model', trunk('tokens'), ...asked];
    t.match(await torchgraft(args), { code: 1, stderr: /NO_HEAD.*--append-head/s }, command);
    const { code, stdout, stderr } = await torchgraft([...args, '--append-head', 'both']);
    t.equal(code, 0, stderr);
    t.match(JSON.parse(stdout), command === 'check' ? { verdict: String } : { labels: { accuracy: Number } });
  }
  const own = ['--append-head', `${trunk('map')}:pooled`, '--append-head', 'both'];
  const { code, stdout, stderr } = await torchgraft([
    'rank',
    trunk('map'),
    trunk('tokens'),
    ...asked,
    ...own,
  ]);
  t.equal(code, 0, stderr);
  const widths = new Map<string, number>(
    JSON.parse(stdout).models.map(({ name, features }: { name: string; features: number }) => [
      name,
      features,
    ]),
  );
  t.same([widths.get('map.pt'), widths.get('tokens.pt')], [8, 16]);
  const wrong = await torchgraft(['rank', trunk('map'), '--data', folder, '--append-head', 'cls']);
  t.match(wrong, { code: 2, stderr: /Expected pooled, classToken, both/ });
});
