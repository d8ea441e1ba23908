/** Networks that end in softmax or sigmoid: said, cut off behind a new head, and trained as the same network without. */
import { join } from 'node:path';
import t from 'tap';
import {
  type FineTuneOptions,
  fineTune,
  type HeadOptions,
  loadClassifier,
  type Model,
  type Tensor,
} from '../src/index.js';
import { defects, figures, fixtureModel, open, quick } from './defects.js';

const small = defects(12, 6);
const fixture = (name: string) => fixtureModel(`../squashes/${name}`);
const image: Tensor = {
  data: Float32Array.from({ length: 3 * 32 * 32 }, (_, i) => Math.sin(i)),
  shape: [1, 3, 32, 32],
  dtype: 'float32',
};

async function logits(model: Model): Promise<number[]> {
  const output = await model.forward([image]);
  const main = (Array.isArray(output) ? output[0] : output) as Tensor;
  return [...(main.data as Float32Array)];
}

const heads: Partial<HeadOptions>[] = [{}, { hidden: [5] }, { kind: 'cosine' }];
const ended = {
  ...{ softmax: 'softmax', 'softmax-eval': 'softmax', 'softmax-traced': 'softmax' },
  ...{ 'log-softmax': 'log_softmax', sigmoid: 'sigmoid', tuple: 'softmax', auxiliary: 'softmax' },
};

for (const [name, squash] of Object.entries(ended)) {
  t.test(`${name}: a new head gives the logits of the plain network, also when saved`, async (t) => {
    const model = await open(t, fixture(name));
    t.match(model.notices.join('\n'), new RegExp(`The network ends in ${squash};`));
    for (const head of heads) {
      const plain = await open(t, fixture('plain'));
      const other = await open(t, fixture(name));
      const request = { classes: 6, seed: 1, imageSize: 32, ...head };
      t.same((await plain.replaceHead(request)).cut, []);
      if (name === 'auxiliary' && 'hidden' in head) {
        await t.rejects(other.replaceHead(request), { code: 'NO_HEAD' });
        t.ok(
          (await logits(other)).every((value) => value > 0 && value < 1),
          'and it is as it was',
        );
        continue;
      }
      t.same((await other.replaceHead(request)).cut, [squash]);
      const wanted = await logits(plain);
      t.same(await logits(other), wanted);
      t.ok(wanted.some((value) => value < 0));
      t.notMatch(other.notices.join('\n'), /ends in/);
      const file = join(t.testdir(), 'model.pt');
      await other.save(file);
      t.same(await logits(await open(t, file)), wanted);
    }
  });
}

t.test('softmax within a network is none of this', async (t) => {
  const model = await open(t, fixture('inner'));
  t.notMatch(model.notices.join('\n'), /ends in/);
  t.same((await model.replaceHead({ classes: 6, imageSize: 32 })).cut, []);
});

t.test(
  'training comes to what the plain network comes to, and says what was cut; predictions are probabilities',
  async (t) => {
    const path = small.splits.val[0]?.path as string;
    const outcome = async (name: string, options: FineTuneOptions) => {
      const model = await open(t, fixture(name));
      const { history, decisions } = await fineTune(model, small, { ...quick, epochs: 2, ...options });
      const file = join(t.testdir(), 'model.pt');
      await model.save(file);
      const classifier = await loadClassifier(file, { device: 'cpu' });
      t.teardown(() => classifier.dispose());
      const [prediction] = await classifier.predict([path]);
      const cut = decisions.filter((text) => /was cut off/.test(text));
      return { cut, trained: { history: history.map(figures), top: prediction?.top }, file };
    };
    for (const options of [{ strategy: 'head' }, { strategy: 'full' }] satisfies FineTuneOptions[]) {
      const plain = await outcome('plain', options);
      t.same(plain.cut, []);
      for (const name of ['softmax', 'softmax-eval', 'softmax-traced', 'sigmoid']) {
        const found = await outcome(name, options);
        t.match(found.cut, [/^The network ended in (softmax|sigmoid), which was cut off/]);
        t.same(found.trained, plain.trained, name);
        const again = await open(t, found.file);
        const { decisions } = await fineTune(again, small, { ...quick, ...options });
        t.notMatch(decisions.join('\n'), /was cut off/, 'a second training goes on');
      }
    }
  },
);
