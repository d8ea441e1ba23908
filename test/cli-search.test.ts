/** `torchgraft lr-find` and `torchgraft search`, as processes: what they print and write, and a search that is killed. */
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { loadModel } from '../src/index.js';
import { bitsOf, defects, residual } from './defects.js';

const cli = fileURLToPath(new URL('../lib/cli/main.js', import.meta.url));
const folder = t.testdir({});

/** A few of the embedded photographs, as a list. */
const list = join(folder, 'images.csv');
const { classes, splits } = defects(20, 12);
const rows = (['train', 'val'] as const).flatMap((split) =>
  splits[split].map(({ path, label }) => `${path},${classes[label]},${split}`),
);
writeFileSync(list, `path,label,split\n${rows.join('\n')}\n`);

const common = [
  '--model',
  residual,
  '--data',
  list,
  '--image-size',
  '32',
  '--threads',
  '1',
  '--batch-size',
  '8',
];

/** Runs the command line; `onLine` sees each line of standard output and may kill the process. */
function torchgraft(args: string[], onLine?: (line: string, kill: (signal: NodeJS.Signals) => void) => void) {
  const child = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = { code: null as number | null, stdout: '', stderr: '' };
  let seen = 0;
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    ended.stdout += text;
    const lines = ended.stdout.split('\n').slice(0, -1);
    for (const line of lines.slice(seen)) onLine?.(line, (signal) => child.kill(signal));
    seen = lines.length;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    ended.stderr += text;
  });
  return new Promise<typeof ended>((done) => {
    child.on('close', (code) => done({ ...ended, code }));
  });
}

t.test('lr-find prints the suggestions and a plot, and leaves two files', async (t) => {
  const out = join(folder, 'sweep');
  const args = [
    'lr-find',
    ...common,
    '--strategy',
    'last:2',
    '--steps',
    '30',
    '--highest',
    '1',
    '--out',
    out,
  ];
  const { code, stdout, stderr } = await torchgraft(args);
  t.equal(code, 0, stderr);
  const found = JSON.parse(readFileSync(join(out, 'lr-find.json'), 'utf8'));
  t.ok(found.curve.length <= 30 && found.curve.length >= 3);
  t.equal(found.curve[0].learningRate, 1e-7);
  t.match(stdout, /^ *\d\S* \|.*\*/m, 'a plot');
  t.match(stdout, new RegExp(`valley +${found.suggestion.valley.toExponential(1)}`));
  t.match(stdout, `--learning-rate ${found.options.learningRate.toExponential(1)} --lr fc.weight=`);
  t.match(readFileSync(join(out, 'lr-find.svg'), 'utf8'), /^<svg .*steepest.*<\/svg>$/s);

  const json = await torchgraft([...args, '--overwrite', '--json']);
  t.same(JSON.parse(json.stdout), found, 'the same again, as one JSON object');
});

t.test('wrong usage', async (t) => {
  const cases: [string[], RegExp][] = [
    [['lr-find', '--model', residual], /--data <dir>/],
    [['lr-find', ...common, '--highest', '1e-9'], /INVALID_VALUE.*lowest/],
    [['lr-find', ...common, '--optimizer', 'lbfgs'], /INVALID_VALUE.*line search/],
    [['search', ...common], /--out <dir>/],
    [['search', ...common, '--out', join(folder, 'x'), '--method', 'grid'], /asha, random/],
    [['search', ...common, '--out', join(folder, 'x'), '--space', list], /INVALID_VALUE.*not JSON/],
  ];
  for (const [args, message] of cases) {
    const { code, stderr } = await torchgraft(args);
    t.equal(code, 2, args.join(' '));
    t.match(stderr, message);
  }
  const { code, stderr } = await torchgraft([
    'search',
    ...common,
    '--out',
    join(folder, 'x'),
    '--space',
    'nowhere.json',
  ]);
  t.equal(code, 1);
  t.match(stderr, /FILE_NOT_FOUND.*nowhere\.json/);
});

const spaceFile = join(folder, 'space.json');
writeFileSync(
  spaceFile,
  JSON.stringify({ learningRate: { low: 1e-4, high: 1e-1, log: true }, strategy: ['head', 'full'] }),
);
const searching = (out: string) => [
  ...['search', ...common, '--space', spaceFile, '--trials', '6', '--epochs', '9', '--augment', 'none'],
  // No clock shall choose the precision.
  ...['--precision', 'float32'],
  ...['--out', out, '--resume', '--json'],
];

interface Event {
  event: string;
  trial: number;
  value: number;
  seconds: number;
}

/** A process's events, without times and paths. */
function eventsOf(stdout: string) {
  return stdout
    .trim()
    .split('\n')
    .map((line) =>
      JSON.parse(line, (key, value) => (key === 'seconds' || key === 'model' ? undefined : value)),
    );
}

t.test('a search that is killed, again and again, comes to the same trials and the same model', async (t) => {
  const [whole, killed] = [join(folder, 'whole'), join(folder, 'killed')];
  const first = await torchgraft(searching(whole));
  t.equal(first.code, 0, first.stderr);
  t.same(readdirSync(whole).sort(), ['model.pt', 'search.json', 'search.jsonl', 'search.svg']);
  const jobs = eventsOf(first.stdout).filter(({ event }: Event) => event === 'trial').length;
  t.ok(jobs > 6, `${jobs} rungs`);

  let kills = 0;
  let last = '';
  for (let done = false; !done; ) {
    const after = 1 + 2 * kills;
    let events = 0;
    const { code, stdout, stderr } = await torchgraft(searching(killed), (line, kill) => {
      // Some while after a rung: in a training, in a checkpoint, in the journal, whatever comes.
      if (line.includes('"event":"trial"') && ++events === after)
        setTimeout(() => kill('SIGKILL'), (kills * 37) % 150);
    });
    done = code !== null;
    if (done) t.equal(code, 0, stderr);
    else kills++;
    last = stdout;
  }
  t.ok(kills >= 2, `killed ${kills} times`);
  t.same(eventsOf(last), eventsOf(first.stdout), 'events, trials, order, the winner');
  const bits = await Promise.all(
    [whole, killed].map(async (out) => {
      await using model = await loadModel(join(out, 'model.pt'), { device: 'cpu', threads: 1 });
      return await bitsOf(model);
    }),
  );
  t.same(bits[1], bits[0], 'the same weights');
});

t.test('Ctrl-C ends a search with 130, and --resume goes on; a table for people', async (t) => {
  const out = join(folder, 'interrupted');
  const stopped = await torchgraft(
    searching(out),
    (line, kill) => line.includes('"trial":1') && kill('SIGINT'),
  );
  t.equal(stopped.code, 130, stopped.stderr);
  t.match(stopped.stderr, /run the same command with --resume/);
  t.ok(existsSync(join(out, 'trials')));
  const rest = searching(out).filter((argument) => argument !== '--json');
  const refused = await torchgraft(rest.filter((argument) => argument !== '--resume'));
  t.match(refused, { code: 1, stderr: /FILE_UNWRITABLE.*--resume/s });
  const { code, stdout } = await torchgraft(rest);
  t.equal(code, 0);
  t.match(stdout, /trial +valMacroF1 +best epoch +learningRate +strategy/);
  t.match(stdout, /^best +trial \d/m);
  t.notOk(existsSync(join(out, 'trials')));
  const { best, dimensions } = JSON.parse(readFileSync(join(out, 'search.json'), 'utf8'));
  t.equal(
    dimensions.length,
    2,
    'epochs, batch size and augmentation were given, weight decay was not searched',
  );
  t.match(stdout, new RegExp(`best +trial ${best.trial}:`));
  t.match(readFileSync(join(out, 'search.svg'), 'utf8'), /^<svg .*learningRate.*<\/svg>$/s);
});
