import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const folder = new URL('../scripts/bench/', import.meta.url);
// By a computed name: scripts have no types.
const load = (name: string) => import(new URL(name, folder).href);

t.test('numbers are shown with three digits that count', async (t) => {
  const { show, showSpread, spread, quantile, deviation } = await load('statistics.js');
  t.strictSame([0, 1234.4, 123.4, 12.34, 1.234, 0.1234, 0.001234, -12.34].map(show), [
    '0',
    '1234',
    '123',
    '12.3',
    '1.23',
    '0.123',
    '0.00123',
    '-12.3',
  ]);
  t.strictSame(spread([4, 1, 3, 2]), { median: 2.5, min: 1, max: 4 });
  t.equal(showSpread(spread([1, 3, 2])), '2.00 (1.00 to 3.00)');
  t.equal(showSpread(spread([2, 2])), '2.00');
  const hundred = Array.from({ length: 100 }, (_, index) => 100 - index);
  t.strictSame([quantile(hundred, 0.5), quantile(hundred, 0.99), quantile(hundred, 1)], [50, 99, 100]);
  t.equal(deviation([1, 3]), Math.SQRT2);
});

t.test('sides take turns, warm-up turns do not count, ratios are of neighbours', async (t) => {
  const { takeTurns, ratioOf } = await load('turns.js');
  const order: string[] = [];
  const side = (key: string, cost: number) => ({
    key,
    title: key,
    turn: ({ round, isWarmUp }: { round: number; isWarmUp: boolean }) => {
      order.push(`${key}${round}${isWarmUp ? ' warm-up' : ''}`);
      return cost * round;
    },
  });
  const turns = await takeTurns([side('ours', 1), side('peer', 3)], {
    rounds: 2,
    warmup: 1,
    label: 'test',
    show: String,
  });
  t.strictSame(order, ['ours0 warm-up', 'peer0 warm-up', 'ours1', 'peer1', 'ours2', 'peer2']);
  t.strictSame(turns, { ours: [1, 2], peer: [3, 6] });
  t.strictSame(
    ratioOf(turns, 'ours', 'peer', (cost: number) => cost),
    { median: 3, min: 3, max: 3 },
  );
});

t.test('a run of fewer epochs is scaled, its start-up is not', async (t) => {
  const { scaleTo } = await load('training.js');
  const run = { epochs: 2, seconds: 10, wallSeconds: 13 };
  t.match(scaleTo(10, run), { seconds: 50, wallSeconds: 53, scaledFrom: 2 });
  t.equal(scaleTo(2, run), run);
});

t.test('runs of other images, parameters or accuracy are told apart', async (t) => {
  const { compareRuns } = await load('training-report.js');
  const run = { images: 245, classes: 2, validationImages: 153, bestAccuracy: 0.95, trainable: ['a', 'b'] };
  const compare = (peer: object) =>
    compareRuns({ ours: [run], peer: [{ ...run, ...peer }] }, [['ours', 'peer']], { ours: 'O', peer: 'P' });
  t.match(compare({ trainable: ['b', 'a'], bestAccuracy: 0.93 }), [{ ok: true }]);
  t.match(compare({ bestAccuracy: 0.85 }), [{ ok: false }]);
  t.throws(() => compare({ images: 244 }), /not the same work/);
  t.throws(() => compare({ trainable: ['a'] }), /not the same work/);
});

t.test('rows are taken around the end', async (t) => {
  const { takeRows } = await load('serving.js');
  const values = Float32Array.of(0, 0, 1, 1, 2, 2);
  t.strictSame(takeRows(values, 2, 1, 2), Float32Array.of(1, 1, 2, 2));
  t.strictSame(takeRows(values, 2, 5, 3), Float32Array.of(2, 2, 0, 0, 1, 1));
});

t.test('the command line', async (t) => {
  const main = fileURLToPath(new URL('main.js', folder));
  const run = (...args: string[]) => spawnSync(process.execPath, [main, ...args], { encoding: 'utf8' });
  const help = run('--help');
  t.equal(help.status, 0);
  for (const name of 'head last full step loader predict start memory scale accuracy domain'.split(' ')) {
    t.match(help.stdout, new RegExp(`^  ${name} +\\w`, 'm'), name);
  }
  for (const wrong of [['nothing'], ['start', '--epochs', '3'], ['start', '--rounds', '0'], ['--unknown']]) {
    t.equal(run(...wrong).status, 2, wrong.join(' '));
  }
});
