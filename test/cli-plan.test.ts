/** How a model is computed, on the command line: `inspect --plan`, and the flags of `train` that decide it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { lines, torchgraft } from './command-line.js';
import { defects, fixtureModel, residual } from './defects.js';

const folder = t.testdir({});
const images = { train: 12, val: 6 };
const manifest = join(folder, 'images.jsonl');
writeFileSync(
  manifest,
  Object.entries(defects(images.train, images.val).splits)
    .flatMap(([split, samples]) => samples.map((sample) => JSON.stringify({ ...sample, split })))
    .join('\n'),
);

const inspect = (...more: string[]) => torchgraft(['inspect', residual, '--plan', ...more]);

/** Trains the residual model; the event `plan`, what run.json holds, and the lines for people. */
async function trained(name: string, ...more: string[]) {
  const out = join(folder, name);
  const args = [
    'train',
    '--model',
    residual,
    '--data',
    manifest,
    '--out',
    out,
    '--image-size',
    '32',
    '--no-baselines',
  ];
  const { code, stdout, stderr } = await torchgraft([
    ...args,
    '--epochs',
    '2',
    '--strategy',
    'head',
    ...more,
    '--json',
  ]);
  t.equal(code, 0, stderr);
  const event = lines(stdout).find((line) => line.event === 'plan');
  const record = JSON.parse(readFileSync(join(out, 'run.json'), 'utf8'));
  t.same(record.plan, event.plan, 'run.json holds the plan that was told');
  t.equal(record.precision, event.plan.precision);
  t.equal(record.views, event.views);
  t.same(record.computationNotices, event.notices);
  return { event, record, stderr };
}

t.test('inspect --plan for people', async (t) => {
  const whole = /; outputs equal the unsplit model's within \d\.\de-\d, gradients within \d\.\de-\d$/m;
  const head = await inspect('--image-size', '32');
  t.equal(head.code, 0, head.stderr);
  t.match(head.stdout, /^ +conv1 +Conv2d/m, 'the table of layers comes first');
  t.match(
    head.stdout,
    /^cut +frozen up to block\.bn2 \(6 layers, 100\.00 % of the arithmetic\), learning from fc \(1\); crossing: float \[6\]$/m,
  );
  t.match(head.stdout, /^compute +float32 \(.+\), fused; /m);
  t.match(head.stdout, whole);
  const two = await inspect('--image-size', '32', '--strategy', 'last:2');
  t.match(
    two.stdout,
    /^cut +frozen up to block\.bn1 \(4 layers, 60 % of .*learning from block\.conv2 \(3\); crossing: float \[6, 32, 32\], /m,
  );
  t.match(two.stdout, whole);
  t.match((await inspect('--strategy', 'full')).stdout, /^cut +none: what learns begins at its input$/m);
  const plain = await torchgraft(['inspect', residual]);
  t.notMatch(plain.stdout, /^(cut|compute) /m, 'only when it is asked for');
});

t.test('inspect --plan --json', async (t) => {
  const { code, stdout, stderr } = await inspect('--json', '--image-size', '32', '--strategy', 'last:2');
  t.equal(code, 0, stderr);
  const [{ plan, heads, layers }] = lines(stdout);
  t.match(heads, [{ module: 'fc', outFeatures: 5 }], 'beside what inspect says anyway');
  const feature = { shape: [6, 32, 32], dtype: 'Float' };
  t.match(plan, {
    remembered: false,
    split: true,
    reason: '',
    variant: 'fused',
    precision: 'float32',
    crossings: [feature, feature],
    cacheable: true,
    key: /^[0-9a-f]{32}$/,
    trials: [{ variant: 'fused', precision: 'float32', accepted: true, failure: '' }],
  });
  t.same([...plan.prefixLayers, ...plan.suffixLayers], layers);
  // Convolutions of 3 x 3 on 32 x 32 pixels, two operations for each product: one from 3 channels to 6, then 6 to 6.
  const [first, next] = [2 * 9 * 3 * 6 * 32 ** 2, 2 * 9 * 6 * 6 * 32 ** 2] as const;
  t.equal(plan.prefixFlops, first + next);
  t.equal(plan.totalFlops, first + 2 * next + 2 * 6 * 5);
  t.ok(plan.trials[0].outputDifference < 1e-5);
  t.ok(plan.trials[0].gradientDifference < 1e-4);
  const [{ plan: large }] = lines((await inspect('--json')).stdout);
  t.equal(large.prefixFlops, 49 * (first + 2 * next), 'images of 224 px where nothing is said');
  t.notOk('plan' in lines((await torchgraft(['inspect', residual, '--json'])).stdout)[0]);
});

t.test('inspect --plan refuses what it cannot plan', async (t) => {
  const refusals: [number, RegExp, string, ...string[]][] = [
    [2, /INVALID_VALUE.*`strategy`: expected head, last:K/, residual, '--strategy', 'tail'],
    [2, /INVALID_VALUE.*the model has 4 layers/, residual, '--strategy', 'last:5'],
    [2, /whole number/, residual, '--image-size', '0'],
    [1, /MODEL_FROZEN.*no parameters/, fixtureModel('residual.frozen')],
    [1, /MODEL_FAILED.*\[4, 3, 224, 224\]/, fixtureModel('mlp.traced')],
  ];
  for (const [status, message, model, ...more] of refusals) {
    const { code, stdout, stderr } = await torchgraft(['inspect', model, '--plan', ...more]);
    t.equal(code, status, `${model} ${more}`);
    t.match(stderr, message);
    t.equal(stdout, '');
  }
});

t.test('train --precision --views --cache: what run.json and the event hold', async (t) => {
  const { event, record, stderr } = await trained(
    ...(['asked', '--precision', 'bfloat16', '--views', '2', '--cache', 'memory'] as const),
  );
  t.match(record.request, { precision: 'bfloat16', views: 2, cache: 'memory', split: true });
  t.match(event, { plan: { split: true, precision: 'bfloat16', remembered: false }, views: 2, notices: [] });
  const kept = { computed: 2 * images.train + images.val, found: 0, rowBytes: 24 };
  t.same(record.features, kept, 'in memory there is no file');
  t.match(stderr, /^kept +features of each image, 0\.0 kB each, in memory; views: 2$/m);
  t.match(stderr, /^compute +bfloat16 \(.+\)/m);
});

t.test('train at its defaults: found again, plan and features', async (t) => {
  const first = await trained('first');
  t.match(first.record.request, { precision: 'auto', cache: 'disk', split: true });
  t.notOk('views' in first.record.request, 'the model decides');
  t.match(first.event, { plan: { remembered: false }, views: 1, features: { file: String } });
  t.match(first.record.features, { computed: images.train + images.val, found: 0 });
  const second = await trained('second', '--learning-rate', '0.01');
  const { remembered, ...plan } = second.event.plan;
  t.equal(remembered, true);
  t.match(first.event.plan, plan);
  t.match(second.record.features, {
    ...first.record.features,
    computed: 0,
    found: images.train + images.val,
  });
  const deeper = await trained('deeper', '--strategy', 'last:2');
  t.equal(deeper.event.views, 2, 'four views, but no more than epochs');
});

t.test('train --no-split, --cache none, --views live: nothing is kept', async (t) => {
  const unsplit = await trained('unsplit', '--no-split', '--augment', 'none');
  t.match(unsplit.event.plan, { split: false, variant: 'unsplit', reason: /split: false/, cacheable: false });
  t.match(unsplit.record.request, { split: false });
  t.match(unsplit.stderr, /^cut +none: /m);
  const uncached = await trained('uncached', '--cache', 'none');
  t.match(uncached.event, { plan: { split: true }, views: 1 });
  for (const { event, record, stderr } of [unsplit, uncached]) {
    t.notOk('features' in event);
    t.notOk('features' in record);
    t.notMatch(stderr, /^kept /m);
  }
  const live = await trained('live', '--views', 'live', '--cache', 'memory');
  t.match(live.event, { plan: { split: true }, views: 'live' });
  t.match(live.record.features, { computed: images.val }, 'but what validation sees');
  t.match(live.stderr, /views: new in each epoch, validation kept$/m);
});

t.test('views that cannot be are said', async (t) => {
  const { event, stderr } = await trained('half', '--precision', 'float16', '--views', '2', '--no-split');
  t.match(event, { plan: { precision: 'float16', split: false }, views: 'live' });
  t.match(event.notices, [/^`views` has no effect/]);
  t.match(stderr, /^note +`views` has no effect/m);
});

t.test('wrong values exit with 2', async (t) => {
  const start = ['train', '--model', residual, '--data', manifest, '--out', join(folder, 'none')];
  for (const [flag, value, message] of [
    ['--precision', 'float8', /auto, float32, bfloat16, float16/],
    ['--views', '0', /whole number/],
    ['--views', 'dead', /whole number/],
    ['--cache', 'tape', /disk, memory, none/],
  ] as const) {
    const { code, stdout, stderr } = await torchgraft([...start, flag, value]);
    t.equal(code, 2, `${flag} ${value}`);
    t.match(stderr, message);
    t.equal(stdout, '');
  }
});
