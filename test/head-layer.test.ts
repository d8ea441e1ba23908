/** A head that is named because it cannot be found, and what is known of heads from a saved file. */
import { join } from 'node:path';
import { Command } from 'commander';
import t from 'tap';
import { commands } from '../src/cli/commands.js';
import {
  extractFeatures,
  fineTune,
  loadModel,
  logisticProbe,
  type Model,
  planModel,
  rankModels,
  transferCheck,
  writeHead,
} from '../src/index.js';
import { torchgraft } from './command-line.js';
import { bitsOf, changed, copyDefects, defects, fixtureModel, open, quick, train } from './defects.js';

/** Scores times a confidence: `fc` is the head, and nothing says so. */
const weighed = fixtureModel('../heads/weighed');
const data = defects(12, 6);
const { preprocessing } = quick;
const reading = { preprocessing, threads: 1, cache: 'memory', precision: 'float32' } as const;
const learnt = ['fc.bias', 'fc.weight'];

const mainHeads = async (model: Model) =>
  (await model.summary()).heads.filter(({ role }) => role === 'main').map(({ module }) => module);

t.test('without a name it is refused, with candidates and what to do', async (t) => {
  const model = await open(t, weighed);
  const refusal = {
    code: 'NO_HEAD',
    message: /two layers' outputs.*`layer`.*--head-layer.*`confidence`, `fc`/s,
  };
  await t.rejects(train(model, data, quick), refusal);
  await t.rejects(extractFeatures(model, data, reading), refusal);
  await t.rejects(planModel(model), refusal);
  const { failed } = await rankModels([weighed], data, { threads: 1, cache: 'memory' });
  t.match(failed, [{ code: 'NO_HEAD', reason: refusal.message }]);
});

t.test('what was fine-tuned by name is known in the file, for the same and for other classes', async (t) => {
  const model = await open(t, weighed);
  await train(model, data, { ...quick, head: { layer: 'fc' } });
  t.same(model.trainable.sort(), learnt);
  const file = join(t.testdir(), 'named.pt');
  await model.save(file);
  const again = await open(t, file);
  t.match(await again.summary(), { headsKnown: true, headProblem: null });
  await train(again, data, quick);
  t.same(again.trainable.sort(), learnt);
  const other = await open(t, file);
  const renamed = { ...data, classes: data.classes.map((name) => `${name} too`) };
  await train(other, renamed, quick);
  t.same(other.trainable.sort(), learnt);
  t.same(await mainHeads(other), ['fc']);
});

t.test('a head that was made by name is known in a file without classes', async (t) => {
  const model = await open(t, weighed);
  await model.replaceHead({ layer: 'fc', classes: 3, imageSize: 32 });
  const file = join(t.testdir(), 'cardless.pt');
  await model.save(file);
  const loaded = await open(t, file);
  t.equal(loaded.card, undefined);
  t.same(await mainHeads(loaded), ['fc']);
  t.same((await loaded.replaceHead({ classes: 2, imageSize: 32 })).layers, ['fc']);
});

t.test('features, plans, checks and rankings take a name, and forget it again', async (t) => {
  const model = await open(t, weighed);
  const features = await extractFeatures(model, data, { ...reading, layer: 'fc' });
  t.equal(features.layer, 'fc');
  t.same(features.train.shape, [12, 6]);
  t.match(await planModel(model, { layer: 'fc', imageSize: 32 }), {
    split: true,
    suffixLayers: ['fc'],
  });
  const { verdict } = await transferCheck(model, data, { ...reading, layer: 'fc', untrained: 1 });
  t.match(verdict, /help|neutral|harm/);
  const ranked = await rankModels([{ file: weighed, layer: 'fc', preprocessing }], data, {
    threads: 1,
    cache: 'memory',
  });
  t.same(
    ranked.models.map((each) => each.features),
    [6],
  );
  t.same(await mainHeads(model), []);
  await t.rejects(extractFeatures(model, data, { ...reading, layer: 'trunk.bn' }), { code: 'NO_HEAD' });
  await t.rejects(planModel(model, { layer: 'fd' }), { code: 'NO_HEAD' });
});

t.test('a probe is written into the layer whose features it was fitted on', async (t) => {
  const model = await open(t, fixtureModel('../heads/not-last'));
  const features = await extractFeatures(model, data, reading);
  t.equal(features.layer, 'classifier');
  t.same(features.train.shape, [12, 9]);
  const before = await bitsOf(model);
  await writeHead(model, features, await logisticProbe(features, { C: [0.1] }));
  t.same(changed(before, await bitsOf(model)), ['classifier.bias', 'classifier.weight']);
});

t.test('two heads that are averaged learn together, with a probe of what both take in', async (t) => {
  const model = await open(t, fixtureModel('../heads/averaged'));
  const features = await extractFeatures(model, data, reading);
  t.same(features.train.shape, [12, 12]);
  const probe = await logisticProbe(features, { C: [0.1] });
  await t.rejects(writeHead(model, features, probe), { code: 'NO_HEAD', message: /`fc` and `fc_dist`/ });
  const run = fineTune(model, data, { ...quick, strategy: 'auto' });
  for await (const _ of run);
  t.equal(run.result?.stages[0]?.optimizer, 'lbfgs');
  t.same(await mainHeads(model), ['fc', 'fc_dist']);
  const source = await open(t, fixtureModel('../heads/averaged'));
  const distilled = train(source, data, { ...quick, distillation: {} });
  await t.rejects(distilled, { code: 'NO_HEAD', message: /fc and fc_dist.*regularisation/s });
});

t.test('layers that forward never uses are none to count or to learn', async (t) => {
  const file = fixtureModel('../heads/unused-in-eval.traced');
  const model = await open(t, file);
  t.ok(
    model.notices.some((notice) => /2 layers that have parameters, for example network\.aux\.0/.test(notice)),
  );
  t.same(model.select({ last: 2 }).sort(), [
    ...['network.fc.bias', 'network.fc.weight', 'network.mid.bias', 'network.mid.weight'],
  ]);
  for (const strategy of ['last:2', 'llrd', 'full', 'bias', 'gradual'] as const) {
    const own = await open(t, file);
    await train(own, data, { ...quick, strategy, epochs: strategy === 'gradual' ? 4 : 1 });
    t.notOk(
      own.trainable.some((name) => name.startsWith('network.aux')),
      strategy,
    );
    t.ok(own.trainable.includes('network.mid.bias'), strategy);
  }
});

t.test('networks with weight standardisation and optional inputs keep what is frozen', async (t) => {
  for (const name of ['standardised', 'standardised.traced', 'optional-input', 'optional-input.traced']) {
    const model = await open(t, fixtureModel(`../heads/${name}`));
    const run = fineTune(model, data, { ...quick, optimizer: 'lbfgs', cache: 'memory' });
    for await (const _ of run);
    t.match(run.result?.computation, { plan: { split: true, cacheable: true, suffixLayers: ['fc'] } }, name);
  }
});

t.test('on the command line', async (t) => {
  const folder = join(t.testdir({}), 'defects');
  copyDefects(folder, 6);
  const out = join(t.testdirName, 'run');
  const small = ['--image-size', '32', '--data', folder, '--threads', '1'];
  const quickly = [...small, '--epochs', '1', '--no-baselines', '--no-report', '--out', out];
  const refused = await torchgraft(['train', '--model', weighed, ...quickly]);
  t.match(refused, { code: 1, stderr: /error \[NO_HEAD\].*--head-layer.*`fc`/s });
  t.notMatch(refused.stderr, / at .*\.js:/, 'no stack');
  const named = ['--head-layer', 'fc'];
  const trained = await torchgraft(['train', '--model', weighed, ...quickly, '--strategy', 'head', ...named]);
  t.equal(trained.code, 0, trained.stderr);
  const known = await loadModel(join(out, 'model.pt'), { device: 'cpu', threads: 1 });
  t.teardown(() => known.dispose());
  t.same(await mainHeads(known), ['fc']);
  const checked = await torchgraft(['check', '--model', weighed, ...small, '--untrained', '1', ...named]);
  t.match(checked, { code: 0, stdout: /help|neutral|harm/ });
  const one = ['--head-layer', `${weighed}:fc`];
  const ranked = await torchgraft(['rank', weighed, join(out, 'model.pt'), ...small, ...one, '--json']);
  t.equal(JSON.parse(ranked.stdout).models.length, 2, ranked.stderr);
  const inspected = await torchgraft(['inspect', weighed, '--plan', '--image-size', '32', ...named]);
  t.match(inspected, { code: 0, stdout: /head +none found\. .*--head-layer/s });
});

t.test('--head-layer is an option of each command that needs a head', async (t) => {
  const defined = await Promise.all(
    commands.map(async ({ name, load }) => (await load()).define(new Command(name))),
  );
  const names = defined
    .filter(({ options }) => options.some(({ long }) => long === '--head-layer'))
    .map((command) => command.name());
  t.same(names.sort(), [
    'adapt-domain',
    'audit',
    'check',
    'debias',
    'inspect',
    'lr-find',
    'rank',
    'search',
    'train',
  ]);
  t.end();
});
