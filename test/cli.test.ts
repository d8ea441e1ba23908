import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { lines, torchgraft } from './command-line.js';
import { backbone, defectsFolder } from './defects.js';

const train = (out: string, ...more: string[]) => [
  ...['train', '--model', backbone, '--data', defectsFolder, '--out', out],
  ...[
    '--image-size',
    '96',
    '--augment',
    'none',
    ...(more.includes('--strategy') ? more : ['--strategy', 'head', ...more]),
  ],
];

const folder = t.testdir({});
const run = join(folder, 'run');

t.test('train --json: one object a line, and the run folder', async (t) => {
  const levers = [
    '--lr',
    'fc.bias=0.002',
    '--freeze',
    'layer1.*',
    '--schedule',
    'cosine:0.1',
    '--weight-decay',
    '0.02',
    '--precision',
    'float32',
  ];
  const { code, stdout, stderr } = await torchgraft(train(run, '--epochs', '2', ...levers, '--json'));
  t.equal(code, 0, stderr);
  // Whether a label is doubted is another test's matter.
  const events = lines(stdout).filter(({ event }) => event !== 'decision');
  t.same(
    events.map(({ event }) => event),
    ['start', 'plan', 'baseline', 'epoch', 'epoch', 'done'],
  );
  const epoch = {
    event: 'epoch',
    trainLoss: Number,
    valLoss: Number,
    valAccuracy: Number,
    valMacroF1: Number,
    imagesPerSecond: Number,
    seconds: Number,
    waitShare: Number,
  };
  t.match(events[1], {
    plan: { split: true, precision: 'float32', cacheable: true, suffixLayers: ['fc'] },
    views: 1,
    features: { rowBytes: 512, file: String },
    notices: [],
  });
  t.match(events[3], { ...epoch, epoch: 1 });
  t.match(events[4], { ...epoch, epoch: 2 });
  t.match(events[5], {
    bestEpoch: Number,
    bestValAccuracy: Number,
    features: { computed: 0, found: 480 },
    totalSeconds: Number,
    peakRssMb: Number,
    model: join(run, 'model.pt'),
  });
  t.ok(events[5].bestValAccuracy > events[2].valAccuracy, 'it learned');
  t.match(stderr, /epoch {2}1 .* images\/s/, 'lines for people go to standard error');
  t.match(stderr, /^kept {3}features: 0 computed, 480 found$/m);
  t.notMatch(stderr, /\r/, 'plain lines in a pipe');
  t.same(readdirSync(run).sort(), ['checkpoint.pt', 'model.pt', 'report.html', 'run.json']);
  const record = JSON.parse(readFileSync(join(run, 'run.json'), 'utf8'));
  t.match(record, {
    request: { epochs: 2, augment: 'none' },
    options: {
      learningRates: { 'fc.bias': 0.002 },
      freeze: ['layer1.*'],
      schedule: { kind: 'cosine', warmup: 0.1 },
      weightDecay: 0.02,
    },
    environment: { libtorch: String, node: String },
    plan: { split: true, prefixLayers: Array, key: String, trials: [{ accepted: true }] },
    precision: 'float32',
    views: 1,
    features: { computed: 0, found: 480 },
    epochs: [{ epoch: 1 }, { epoch: 2 }],
    totalSeconds: Number,
    peakRssMb: Number,
  });
});

t.test('eval, predict, inspect and doctor --json: one object', async (t) => {
  const evaluated = await torchgraft(['eval', run, '--data', defectsFolder, '--json']);
  t.equal(evaluated.code, 0, evaluated.stderr);
  const [{ metrics, intervals, predictions }] = lines(evaluated.stdout);
  t.equal(metrics.count, 240);
  t.equal(predictions.length, 240);
  t.match(metrics, { rocAuc: Number, prAuc: Number, calibration: { ece: Number, bins: Array } });
  for (const [name, value] of [
    ['accuracy', metrics.accuracy],
    ['macroF1', metrics.macro.f1],
  ]) {
    const interval = intervals[name];
    t.equal(interval.value, value, name);
    t.ok(interval.low < value && value < interval.high && interval.high - interval.low < 0.2, name);
    t.equal(interval.method, name === 'accuracy' ? 'wilson' : 'bootstrap and wilson');
  }
  t.match(predictions[0], { path: String, truth: 'crack', predicted: String, probability: Number });
  const { epochs, bestEpoch } = JSON.parse(readFileSync(join(run, 'run.json'), 'utf8'));
  t.equal(metrics.accuracy, epochs[bestEpoch - 1].validation.accuracy, 'what training said of it');

  const image = join(defectsFolder, 'val', 'dent', 'dent-00.jpg');
  const predicted = await torchgraft(['predict', run, image, image, '--top', '2', '--json']);
  t.equal(predicted.code, 0, predicted.stderr);
  const [{ predictions: two, metrics: speed }] = lines(predicted.stdout);
  t.equal(two.length, 2);
  t.match(two[0], { image, top: [{ class: String, probability: Number }, { class: String }] });
  t.equal(speed.count, 2);

  const inspected = await torchgraft(['inspect', run, '--json']);
  const [{ origin, card, heads }] = lines(inspected.stdout);
  t.equal(origin, 'scripted');
  t.equal(card.classes[0], 'crack');
  t.match(heads, [{ module: 'fc', outFeatures: 6 }]);
  t.match((await torchgraft(['inspect', backbone])).stdout, /fc .*Linear/);

  const doctor = await torchgraft(['doctor', '--json']);
  t.equal(doctor.code, 0);
  t.match(lines(doctor.stdout), [{ versions: { node: process.versions.node }, problems: [] }]);
});

t.test('exit codes: 2 for wrong usage, 1 for what fails', async (t) => {
  const wrong: [string[], RegExp][] = [
    [['train', '--modle', 'x'], /Did you mean --model/],
    [['trian'], /Did you mean train/],
    [['train', '--model', backbone, '--data', defectsFolder], /--out/],
    [train(run, '--epochs', 'many'), /whole number/],
    [train(run, '--strategy', 'tail'), /head, full or last:K/],
    [train(run, '--optimizer', 'adagrad'), /adamw/],
    [train(join(folder, 'x'), '--early-stop', 'valAcuracy:2'), /valAccuracy/],
    [train(join(folder, 'x'), '--freeze', 'layr1.*'), /layer1/],
    [train(join(folder, 'x'), '--mean', '1,2'), /three numbers/],
    [['predict', run], /missing required argument/],
  ];
  for (const [args, message] of wrong) {
    const { code, stderr, stdout } = await torchgraft(args);
    t.equal(code, 2, args.join(' '));
    t.match(stderr, message);
    t.equal(stdout, '');
  }
  for (const args of [
    ['predict', run, join(folder, 'none.jpg')],
    ['eval', join(folder, 'nothing'), '--data', defectsFolder],
    ['predict', backbone, join(defectsFolder, 'val', 'ok', 'ok-00.jpg')],
  ]) {
    const { code, stderr } = await torchgraft(args);
    t.equal(code, 1, args.join(' '));
    t.match(stderr, /^error \[[A-Z_]+\]: /);
  }
});

t.test('help everywhere', async (t) => {
  for (const name of ['train', 'eval', 'predict', 'report', 'inspect', 'doctor', 'setup', 'quickstart']) {
    const { code, stdout } = await torchgraft([name, '--help']);
    t.equal(code, 0);
    t.match(stdout, new RegExp(`Usage: torchgraft ${name}`));
    t.ok(
      stdout.split('\n').every((line) => line.length <= 80),
      `${name}: 80 columns where there is no terminal`,
    );
  }
});

t.test('the help of what trains is grouped by topic, and no option is left over', async (t) => {
  const topics = [
    'What learns',
    'How it learns',
    'Images',
    'Keeping what the model knew',
    'How it is computed',
  ];
  for (const [name, ...own] of [
    ['train', 'Input and output', 'Slices and groups', 'More trainings'],
    ['search', 'The search'],
    ['lr-find', 'The sweep'],
  ] as const) {
    const { stdout } = await torchgraft([name, '--help']);
    const groups = [...stdout.matchAll(/^(\w.*):\n((?: +.*\n)+)/gm)].map(([, title, body]) => ({
      title,
      body,
    }));
    for (const topic of [...topics, ...own]) {
      t.match(groups.find(({ title }) => title === topic)?.body, /^ {2}--/m, `${name}: ${topic}`);
    }
    t.match(groups.at(-1), { title: 'Options', body: /^ {2}-h, --help +display help for command\n$/ }, name);
    t.notMatch(stdout, /\[\]|\{\}/, 'no empty defaults');
  }
});

t.test('what is misspelt is told with the nearest that there is', async (t) => {
  for (const [args, guess] of [
    [['trian'], 'train'],
    [['wiseft'], 'wise-ft'],
    [['predct', 'x'], 'predict'],
    [['train', '--learning-rte', '1'], '--learning-rate'],
    [['cache', 'claer'], 'clear'],
  ] as const) {
    const { code, stderr, stdout } = await torchgraft([...args]);
    t.equal(code, 2, args.join(' '));
    t.match(stderr, guess);
    t.equal(stdout, '');
  }
});

t.test('--scratch and licences stand in the table, run.json, the model and the report', async (t) => {
  const out = join(folder, 'scratch');
  const flags = ['--strategy', 'head', '--epochs', '1', '--scratch', '--model-licence', 'MIT'];
  const { code, stdout, stderr } = await torchgraft(train(out, ...flags, '--json'));
  t.equal(code, 0, stderr);
  t.match(stderr, /^from scratch +\d/m);
  const told = lines(stdout).find(({ event }) => event === 'scratch');
  const { scratch } = JSON.parse(readFileSync(join(out, 'run.json'), 'utf8'));
  t.match(scratch, { epochs: 1, learningRate: 1e-3, best: { validation: { accuracy: told.valAccuracy } } });
  const { card } = lines((await torchgraft(['inspect', out, '--json'])).stdout)[0];
  t.same(card.provenance.licences, { model: 'MIT' });
  const report = readFileSync(join(out, 'report.html'), 'utf8');
  t.match(report, 'From scratch');
  t.match(report, 'model: MIT');
});

t.test('Ctrl-C writes a checkpoint and exits with 130; --resume goes on', async (t) => {
  const out = join(folder, 'interrupted');
  // No clock shall choose the precision.
  const args = train(out, '--precision', 'float32', '--epochs', '3', '--batch-size', '8', '--json');
  let isSent = false;
  const stopped = await torchgraft(args, (text, kill) => {
    if (!isSent && /^epoch {2}1 /m.test(text)) {
      isSent = true;
      kill('SIGINT');
    }
  });
  t.equal(stopped.code, 130, stopped.stderr);
  t.match(
    stopped.stderr,
    /^Finishing this batch, then saving a checkpoint in .*\. Press Ctrl-C again to stop at once\.$/m,
  );
  t.match(stopped.stderr, /^Stopped\. To go on, run the same command with --resume\.\n$/m);
  t.notMatch(stopped.stderr, /error|ABORTED/);
  t.ok(statSync(join(out, 'checkpoint.pt')).size > 0);
  t.notOk(existsSync(join(out, 'model.pt')));

  const other = await torchgraft([...args, '--resume', '--epochs', '2']);
  t.equal(other.code, 1, 'another recipe is refused');
  t.match(other.stderr, /CHECKPOINT_INVALID.*`epochs`/);

  const resumed = await torchgraft([...args, '--resume']);
  t.equal(resumed.code, 0, resumed.stderr);
  const whole = await torchgraft(train(join(folder, 'whole'), ...args.slice(-7)));
  const last = (text: string) =>
    lines(text)
      .filter(({ event }) => event === 'epoch')
      .at(-1);
  const { seconds, imagesPerSecond, waitShare, ...expected } = last(whole.stdout);
  t.match(last(resumed.stdout), expected, 'the same figures as the run that was not interrupted');

  const longer = await torchgraft([...args, '--resume', '--epochs', '4']);
  t.equal(longer.code, 0, longer.stderr);
  t.equal(last(longer.stdout).epoch, 4);
  t.match(longer.stderr, /^note {3}resumed after 3 epochs with 4 in place of 3/m);
});
