/** Readers that go, disks that are full, terminals of any width: what happens to the lines and to the work. */
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { visible, visibleJson } from '../src/report/visible.js';
import { wrap } from '../src/report/wrap.js';
import { lines, torchgraft } from './command-line.js';
import { backbone, copyDefects } from './defects.js';

const cli = fileURLToPath(new URL('../lib/cli/main.js', import.meta.url));
const hasBash = (() => {
  try {
    execFileSync('bash', ['--version']);
    return true;
  } catch {
    return false;
  }
})();
const needsBash = hasBash ? {} : { skip: 'bash is not installed' };

/** Runs a script in which "$@" is the command line. */
function bash(script: string, args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((done) => {
    execFile('bash', ['-c', script, 'bash', process.execPath, cli, ...args], (error, stdout, stderr) => {
      done({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });
}

// The reader has ended before anything is written, so that no write can be in time for it.
const closedPipe = 'exec 3> >(exec true); wait $!;';
const out = `${closedPipe} "$@" >&3`;
const both = `${closedPipe} "$@" >&3 2>&3`;

const folder = t.testdir({});
const data = join(folder, 'data');
copyDefects(data, 4);
const train = (run: string, ...more: string[]) => [
  ...['train', '--model', backbone, '--data', data, '--out', join(folder, run), '--image-size', '96'],
  ...[
    '--strategy',
    'head',
    '--epochs',
    '2',
    '--precision',
    'float32',
    '--no-baselines',
    '--no-report',
    ...more,
  ],
];
const first = join(folder, 'run');
await torchgraft(train('run'));
const image = join(data, 'val', 'dent', 'dent-00.jpg');

t.test('a command that only tells ends in silence when nobody reads it', needsBash, async (t) => {
  for (const args of [
    ['--help'],
    ['--version'],
    ['train', '--help'],
    ['predict', first, image, image],
    ['predict', first, image, '--json'],
    ['eval', first, '--data', data],
    ['inspect', first],
    ['doctor'],
    ['cache', '--json'],
  ]) {
    for (const script of [out, both]) {
      t.same(await bash(script, args), { code: 0, stdout: '', stderr: '' }, `${args.join(' ')}: ${script}`);
    }
  }
});

t.test('a training goes on and saves when nobody reads it', needsBash, async (t) => {
  const whole = JSON.parse(readFileSync(join(first, 'run.json'), 'utf8'));
  for (const [run, script, more] of [
    ['both', both, ['--json']],
    ['out', out, ['--json']],
    ['err', `${closedPipe} "$@" 2>&3`, ['--json']],
  ] as const) {
    const ended = await bash(script, train(run, ...more));
    t.equal(ended.code, 0, `${run}: ${ended.stderr}`);
    const record = JSON.parse(readFileSync(join(folder, run, 'run.json'), 'utf8'));
    t.same(
      record.epochs.map(({ trainLoss }: { trainLoss: number }) => trainLoss),
      whole.epochs.map(({ trainLoss }: { trainLoss: number }) => trainLoss),
      `${run}: all epochs, as when somebody reads`,
    );
    t.ok(existsSync(join(folder, run, 'model.pt')), run);
    if (run === 'err') t.equal(lines(ended.stdout).at(-1).event, 'done', 'the other stream is whole');
  }
});

t.test('an error keeps its exit code when nobody reads it', needsBash, async (t) => {
  t.equal((await bash(both, ['predict', join(folder, 'nothing'), image])).code, 1);
  t.equal((await bash(both, ['trian'])).code, 2);
});

const needsFull = existsSync('/dev/full') ? needsBash : { skip: 'there is no /dev/full here' };
t.test('a full disk behind standard output is an error, and costs no training', needsFull, async (t) => {
  const full = '"$@" > /dev/full';
  for (const args of [['inspect', first], ['predict', first, image, '--json'], ['--help']]) {
    const { code, stderr } = await bash(full, args);
    t.equal(code, 1, args.join(' '));
    t.match(stderr, /^error: Standard output cannot be written: .*no space left on device.*\n$/);
  }
  const { code, stderr } = await bash(full, train('full', '--json'));
  t.equal(code, 1);
  t.match(stderr, /Standard output cannot be written/);
  t.equal(stderr.match(/cannot be written/g)?.length, 1, 'said once');
  t.match(stderr, /^saved /m);
  t.ok(existsSync(join(folder, 'full', 'model.pt')));
  t.equal((await bash('"$@" 2> /dev/full', ['inspect', first])).code, 0, 'standard error is not the output');
});

t.test('a file that takes a part of the output only is an error', needsBash, async (t) => {
  const file = join(folder, 'part.json');
  // Blocks of 1,024 bytes; the signal is ignored as nohup and others do, so that the write tells.
  const script = `trap '' XFSZ; ulimit -f 1; "$@" > ${JSON.stringify(file)}`;
  const { code, stderr } = await bash(script, ['inspect', first, '--json']);
  t.equal(code, 1, stderr);
  t.match(stderr, /Standard output cannot be written: .*too large/);
  t.ok(readFileSync(file).length > 0);
});

t.test('names cannot forge lines, move the cursor or turn the text round', async (t) => {
  const name = 'a\u202egpj.exe\u001b[2Jb\nerror: c\u0085\u2066';
  t.equal(visible(name), 'a\\u202egpj.exe\\u001b[2Jb\\u000aerror: c\\u0085\\u2066');
  t.equal(visible('é 蚂蚁 🧑‍🔬 عربي'), 'é 蚂蚁 🧑‍🔬 عربي');
  t.equal(JSON.parse(visibleJson({ name })).name, name, 'JSON says the same');
  t.notMatch(visibleJson({ name }), /[\u202e\u2066\u0085\u001b\n]/);
  t.end();
});

t.test('lines wrap at words, below the text behind their label', (t) => {
  const note = 'note   The model was traced in eval mode, so its dropout does nothing while it trains.';
  t.equal(
    wrap(note, 50),
    ['note   The model was traced in eval mode, so its', '       dropout does nothing while it trains.'].join(
      '\n',
    ),
  );
  t.equal(wrap('a sentence of some words', 10), 'a sentence\nof some\nwords');
  t.equal(wrap('/a/path/that/is/longer/than/the/line/is', 10), '/a/path/that/is/longer/than/the/line/is');
  const table =
    'class     n  more than fits the width\n-----  ----  ------------------------\nants     12  x';
  t.equal(wrap(`a sentence of words\n\n${table}`, 12), `a sentence\nof words\n\n${table}`, 'tables stay');
  t.equal(wrap(note, undefined), note, 'without a terminal nothing is wrapped');
  t.equal(wrap('蚂蚁 蚂蚁 蚂蚁', 9), '蚂蚁 蚂蚁\n蚂蚁', 'by the width that characters take');
  t.end();
});
