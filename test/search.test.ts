/** Search: its draws, its halving, and that a search stopped at any moment comes to the same. */
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  featureCacheFiles,
  loadClassifier,
  loadModel,
  renderSearchChart,
  type SearchOptions,
  type SearchResult,
  search,
  searchTable,
} from '../src/index.js';
import { Halving, rungEpochs } from '../src/search/halving.js';
import { defaultSpace, drawTrial, readSpace, type SearchSpace } from '../src/search/space.js';
import { bitsOf, defects, quick, residual } from './defects.js';

const small = defects(20, 12);
const { epochs: _, batchSize: __, strategy: ___, ...plain } = quick;
const shared = { ...plain, batchSize: 8, epochs: 9 };
const space = {
  learningRate: { low: 1e-4, high: 1e-1, log: true },
  strategy: ['head', 'full'],
  weightDecay: { low: 1e-4, high: 1e-1, log: true },
} satisfies SearchSpace;
const settings = { space, fineTune: shared, trials: 7, device: 'cpu', threads: 1 } satisfies Omit<
  SearchOptions,
  'folder'
>;

t.test('a trial is a function of seed and number, within its space', async (t) => {
  const dimensions = readSpace(
    { ...defaultSpace, epochs: { low: 2, high: 5 }, clipNorm: { low: 1, high: 3 } },
    'search',
  );
  const draw = (seed: number) =>
    Array.from({ length: 400 }, (_, trial) => drawTrial(dimensions, seed, trial));
  const trials = draw(3);
  t.same(draw(3), trials);
  t.notSame(draw(4), trials);
  t.same([...new Set(trials.map(({ epochs }) => epochs))].sort(), [2, 3, 4, 5], 'whole numbers, both ends');
  t.same([...new Set(trials.map(({ strategy }) => strategy))].sort(), ['full', 'head', 'last:2']);
  const rates = trials.map(({ learningRate }) => learningRate as number);
  t.ok(rates.every((rate) => rate >= 1e-5 && rate <= 3e-2));
  const middle = Math.sqrt(1e-5 * 3e-2);
  const below = rates.filter((rate) => rate < middle).length;
  t.ok(below > 160 && below < 240, `half of them below the geometric mean: ${below} of 400`);
  const norms = trials.map(({ clipNorm }) => clipNorm as number);
  const low = norms.filter((norm) => norm < 2).length;
  t.ok(low > 160 && low < 240, `half of them below the arithmetic mean: ${low} of 400`);
  t.ok(norms.some((norm) => !Number.isInteger(norm)));
});

t.test('a space is checked before anything is trained', async (t) => {
  const cases: [unknown, string, RegExp][] = [
    [{ learningrate: [1] }, 'INVALID_TYPE', /learningRate/],
    [{ seed: [1, 2] }, 'INVALID_TYPE', /all trials share/],
    [{ learningRate: { low: 1, high: 0.1 } }, 'INVALID_VALUE', /less than/],
    [{ learningRate: { low: 0, high: 0.1, log: true } }, 'INVALID_VALUE', /above 0/],
    [{ learningRate: { low: 1e-3, hi: 0.1 } }, 'INVALID_TYPE', /space\.learningRate/],
    [{ learningRate: 0.1 }, 'INVALID_TYPE', /a list/],
    [{ strategy: [] }, 'INVALID_VALUE', /at least one/],
    [{ strategy: ['haed'] }, 'INVALID_VALUE', /haed/],
    [{ schedule: ['cosin'] }, 'INVALID_VALUE', /cosine/],
    [{ epochs: { low: 0, high: 4 } }, 'INVALID_VALUE', /space\.epochs/],
    [{}, 'INVALID_VALUE', /empty/],
    [7, 'INVALID_TYPE', /object/],
  ];
  for (const [given, code, message] of cases) {
    t.throws(() => readSpace(given as SearchSpace, 'search'), { code, message }, JSON.stringify(given));
  }
});

t.test('rungs', async (t) => {
  t.same(rungEpochs(1, 27, 3), [1, 3, 9, 27]);
  t.same(rungEpochs(1, 10, 3), [1, 3, 10]);
  t.same(rungEpochs(2, 5, 3), [5]);
  t.same(rungEpochs(1, 1, 3), [1]);
});

/** Runs a scheduler on trials whose values are known; the jobs in their order. */
function schedule(halving: Halving, trials: number, valueOf: (trial: number, rung: number) => number | null) {
  const jobs: { trial: number; rung: number }[] = [];
  for (let job = halving.next(trials); job; job = halving.next(trials)) {
    jobs.push(job);
    halving.record({ ...job, value: valueOf(job.trial, job.rung) });
  }
  return jobs;
}

t.test('asynchronous successive halving', async (t) => {
  // Each trial is better than all before it, and so goes on at once, from the third one on.
  const rising = schedule(new Halving(4, 3, 'max'), 27, (trial) => trial);
  const sizes = (jobs: { rung: number }[]) =>
    [0, 1, 2, 3].map((rung) => jobs.filter((job) => job.rung === rung).length);
  t.same(sizes(rising), [27, 25, 23, 21]);
  t.same(
    rising.slice(0, 5),
    [0, 1, 2].map((trial) => ({ trial, rung: 0 })).concat({ trial: 2, rung: 1 }, { trial: 3, rung: 0 }),
  );
  t.same(rising.at(-1), { trial: 26, rung: 3 }, 'the best of all comes to the end');

  const mixed = schedule(new Halving(4, 3, 'max'), 81, (trial) => Math.sin(trial * 7.3));
  const [all, some, fewer, least] = sizes(mixed) as [number, number, number, number];
  t.equal(all, 81);
  t.ok(some >= 27 && some < 45 && fewer >= 9 && fewer < 20 && least >= 3 && least < 10, `${sizes(mixed)}`);

  // Of 9 trials in falling order, the first 3 go on to rung 1, the first alone to rung 2.
  const falling = schedule(new Halving(3, 3, 'max'), 9, (trial) => -trial);
  const onward = falling.filter(({ rung }) => rung > 0);
  t.same(onward, [
    { trial: 0, rung: 1 },
    { trial: 1, rung: 1 },
    { trial: 2, rung: 1 },
    { trial: 0, rung: 2 },
  ]);

  const random = schedule(new Halving(1, 3, 'max'), 5, () => 1);
  t.same(
    random,
    [0, 1, 2, 3, 4].map((trial) => ({ trial, rung: 0 })),
    'one rung is random search',
  );

  const failing = schedule(new Halving(3, 3, 'max'), 9, (trial) => (trial === 8 ? 1 : null));
  t.same(
    failing.filter(({ rung }) => rung > 0),
    [
      { trial: 8, rung: 1 },
      { trial: 8, rung: 2 },
    ],
    'failed ones never go on, and one at least is trained to its end',
  );
  t.same(schedule(new Halving(3, 3, 'max'), 4, () => null).length, 4, 'all failed');

  const few = schedule(new Halving(3, 3, 'min'), 2, (trial) => trial);
  t.same(few.slice(2), [
    { trial: 0, rung: 1 },
    { trial: 0, rung: 2 },
  ]);
});

t.test('of trials with equal values the one with the lower validation loss goes on', async (t) => {
  const halving = new Halving(2, 3, 'max');
  for (const [trial, loss] of [0.5, 0.06, null].entries()) halving.record({ trial, rung: 0, value: 1, loss });
  t.same(halving.next(3), { trial: 1, rung: 1 });
  const older = new Halving(2, 3, 'max');
  for (const trial of [0, 1, 2]) older.record({ trial, rung: 0, value: 1 });
  t.same(older.next(3), { trial: 0, rung: 1 }, 'the first drawn, where losses are not known');
});

t.test('checkpoints that are let go are of trials that never go on', async (t) => {
  for (const seed of [1, 2, 3]) {
    const halving = new Halving(4, 3, 'max');
    const values = Array.from({ length: 40 }, (_, i) => Math.sin((i + 1) * seed * 7.3));
    const results = new Map<number, { trial: number; rung: number; value: number }>();
    const gone = new Set<number>();
    for (let job = halving.next(40); job; job = halving.next(40)) {
      t.notOk(gone.has(job.trial), `trial ${job.trial} has its checkpoint`);
      const result = { ...job, value: values[job.trial] as number };
      halving.record(result);
      results.set(job.trial, result);
      for (const one of results.values()) if (!halving.mayGoOn(one, 40)) gone.add(one.trial);
    }
    t.ok(gone.size >= 25, `${gone.size} of 40 are let go`);
  }
});

/** A search without its times. */
function timeless({ trials, best, seconds, model, ...rest }: SearchResult) {
  const still = ({ seconds: _, ...trial }: (typeof trials)[number]) => trial;
  return { ...rest, trials: trials.map(still), best: still(best) };
}

async function bitsOfFile(file: string) {
  await using model = await loadModel(file, { device: 'cpu', threads: 1 });
  return await bitsOf(model);
}

const journalOf = (folder: string) =>
  readFileSync(join(folder, 'search.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => {
      const { seconds, ...entry } = JSON.parse(line);
      return entry;
    });

const root = t.testdir({});
const wholeFolder = join(root, 'whole');
const whole = search(residual, small, { ...settings, folder: wholeFolder });

t.test('the best trial is kept, and trials share features', async (t) => {
  const { best, trials, model, metric, ended, rungs } = await whole;
  t.equal(trials.length, 7);
  t.same(trials.map(({ trial }) => trial).sort(), [0, 1, 2, 3, 4, 5, 6]);
  t.same([metric, ended, rungs], ['valMacroF1', 'trials', [1, 3, 9]]);
  t.same(best, trials[0]);
  for (const [i, { value }] of trials.slice(1).entries())
    t.ok((value ?? -1) <= (trials[i]?.value ?? -1), 'best first');
  const reached = Math.max(...trials.map(({ rung }) => rung));
  t.equal(reached, 2, 'one trial at least had all its epochs');
  t.equal(trials.find(({ rung }) => rung === 2)?.epochs, 9);
  t.ok(
    trials.some(({ epochs }) => epochs === 1),
    'and others one',
  );

  await using classifier = await loadClassifier(model, { device: 'cpu', threads: 1 });
  const { metrics } = await classifier.evaluate(small);
  t.equal(metrics.macro.f1, best.value, 'model.pt has the weights of that value');
  await using saved = await loadModel(model, { device: 'cpu' });
  t.match(saved.card?.provenance.search, { trial: best.trial, config: best.config });
  t.notOk(existsSync(join(wholeFolder, 'trials')), 'checkpoints are gone');

  const heads = trials.filter(({ config }) => config.strategy === 'head');
  t.ok(heads.length > 1);
  const files = await featureCacheFiles();
  t.same(
    files.map(({ rows }) => rows),
    [32],
    'one file with each image once, however many trials there were',
  );
});

t.test('aborted at any batch and resumed, again and again, it comes to the same', async (t) => {
  const folder = join(root, 'aborted');
  let stops = 0;
  for (let result: SearchResult | undefined; !result; ) {
    const controller = new AbortController();
    let batches = 0;
    // The work between two stops grows, so that it comes to an end.
    const after = 2 + stops * 3;
    const onBatch = () => ++batches === after && controller.abort();
    try {
      result = await search(residual, small, {
        ...settings,
        folder,
        resume: true,
        signal: controller.signal,
        onBatch,
      });
      t.same(timeless(result), timeless(await whole));
    } catch (error) {
      if ((error as { code?: string }).code !== 'ABORTED') throw error;
      stops++;
    }
  }
  t.ok(stops >= 5, `stopped ${stops} times`);
  t.same(journalOf(folder), journalOf(wholeFolder), 'the same journal');
  t.same(
    await bitsOfFile(join(folder, 'model.pt')),
    await bitsOfFile((await whole).model),
    'the same weights',
  );
});

t.test(
  'a journal whose last line is half written, or ends before what the checkpoint and model.pt say',
  async (t) => {
    const folder = join(root, 'torn');
    const controller = new AbortController();
    const onTrial = ({ trial }: { trial: number }) => trial === 4 && controller.abort();
    const given = { ...settings, folder };
    await t.rejects(search(residual, small, { ...given, signal: controller.signal, onTrial }), {
      code: 'ABORTED',
    });
    const path = join(folder, 'search.jsonl');
    const lines = readFileSync(path, 'utf8').trim().split('\n');
    const last = lines.pop() as string;
    writeFileSync(path, `${lines.join('\n')}\n${last.slice(0, last.length / 2)}`);
    t.same(timeless(await search(residual, small, { ...given, resume: true })), timeless(await whole));
    t.same(journalOf(folder), journalOf(wholeFolder));
  },
);

t.test('more trials on resuming are as a larger search; fewer as a smaller one', async (t) => {
  const folder = join(root, 'more');
  const given = { ...settings, folder, resume: true };
  const few = await search(residual, small, { ...given, trials: 3 });
  t.equal(few.trials.length, 3);
  const more = await search(residual, small, given);
  t.same(timeless(more), timeless(await whole));
  t.same(await bitsOfFile(more.model), await bitsOfFile((await whole).model));
  const again = await search(residual, small, { ...given, trials: 3 });
  t.same(timeless(again), timeless(few));
  await using model = await loadModel(again.model, { device: 'cpu' });
  t.match(model.card?.provenance.search, { trial: few.best.trial }, 'model.pt is of the trials that count');
  rmSync(again.model);
  await search(residual, small, given);
  t.same(await bitsOfFile(again.model), await bitsOfFile((await whole).model), 'made anew');
});

t.test('random search gives each trial its epochs; the minutes are a budget', async (t) => {
  const folder = join(root, 'random');
  const given = {
    ...{ ...settings, folder, method: 'random' as const, resume: true },
    space: { epochs: [1, 2], learningRate: { low: 1e-3, high: 1e-2 } },
    fineTune: { ...plain, batchSize: 8 },
  };
  const spent = await search(residual, small, { ...given, minutes: 1e-9 });
  t.same([spent.trials.length, spent.ended], [1, 'minutes']);
  const { trials, rungs } = await search(residual, small, given);
  t.same(rungs, [2]);
  for (const { config, epochs } of trials) t.equal(epochs, config.epochs);
  t.equal(new Set(trials.map(({ epochs }) => epochs)).size, 2);
});

t.test('a trial that fails counts as worst, and ends alone', async (t) => {
  const folder = join(root, 'failing');
  const told: string[] = [];
  const result = await search(residual, small, {
    ...{ ...settings, folder, trials: 12 },
    fineTune: { ...shared, epochs: 2, optimizer: 'sgd', strategy: 'full' },
    space: { learningRate: [1e-3, 1e30], head: [{ hidden: [] }, { layer: 'nowhere' }] },
    onTrial: ({ trial, failure }) => told.push(`${trial} ${failure?.code ?? ''}`),
  });
  const failed = result.trials.filter(({ failure }) => failure);
  t.ok(failed.length > 0 && failed.length < 12, `${failed.length} failed`);
  t.ok(failed.some(({ failure }) => failure?.code === 'LOSS_NOT_FINITE'));
  t.same(result.trials.slice(-failed.length), failed, 'last');
  t.ok(failed.every(({ value, epochs }) => value === null && epochs === 0));
  t.ok(told.includes(`${failed[0]?.trial} ${failed[0]?.failure?.code}`));
  t.match(searchTable(result), /failed.*LOSS_NOT_FINITE/);

  await t.rejects(
    search(residual, small, {
      ...{ ...settings, folder: join(root, 'all-failing'), trials: 2 },
      fineTune: { ...shared, optimizer: 'sgd', strategy: 'full' },
      space: { learningRate: [9e29, 1e30] },
    }),
    { code: 'LOSS_NOT_FINITE', message: /all 2 trials failed/ },
  );
});

t.test('table and chart', async (t) => {
  const result = await whole;
  const table = searchTable(result);
  t.equal(table.split('\n').length, 2 + 7);
  t.match(table, /trial +valMacroF1 +best epoch +learningRate +strategy +weightDecay/);
  const chart = await renderSearchChart(result);
  t.match(chart, /^<svg .*<\/svg>$/s);
  for (const name of ['learningRate', 'strategy', 'weightDecay', 'valMacroF1', 'head', 'full'])
    t.match(chart, name);
});

t.test('what it refuses', async (t) => {
  const folder = join(root, 'whole');
  const begin = (more: object) =>
    search(residual, small, { ...settings, folder: join(root, 'none'), ...more });
  await whole;
  await t.rejects(begin({ folder }), { code: 'INVALID_VALUE', message: /resume/ });
  await t.rejects(begin({ folder, resume: true, seed: 1 }), { code: 'CHECKPOINT_INVALID', message: /seed/ });
  await t.rejects(begin({ folder, resume: true, fineTune: { ...shared, seed: 3 } }), {
    code: 'CHECKPOINT_INVALID',
    message: /fineTune/,
  });
  await t.rejects(begin({ trial: 3 }), { code: 'INVALID_TYPE', message: /trials/ });
  await t.rejects(begin({ fineTune: { ...shared, strategy: 'head' } }), {
    code: 'INVALID_VALUE',
    message: /both/,
  });
  await t.rejects(begin({ fineTune: { checkpoint: 'x' } }), { code: 'INVALID_VALUE', message: /checkpoint/ });
  await t.rejects(begin({ fineTune: { epoch: 3 } }), { code: 'INVALID_TYPE', message: /epochs/ });
  await t.rejects(begin({ fineTune: { earlyStopping: { metric: 'valF2' } } }), { code: 'INVALID_VALUE' });
  await t.rejects(begin({ signal: AbortSignal.abort() }), { code: 'ABORTED' });
  await t.rejects(search(7 as never, small, { folder }), { code: 'INVALID_TYPE' });
  await t.rejects(search(residual, {} as never, { folder }), { code: 'INVALID_TYPE' });
  await t.rejects(search('nowhere.pt', small, { folder }), { code: 'FILE_NOT_FOUND' });
  const damaged = join(root, 'damaged');
  await search(residual, small, {
    ...settings,
    folder: damaged,
    trials: 1,
    method: 'random',
    fineTune: { ...shared, epochs: 1 },
  });
  appendFileSync(join(damaged, 'search.jsonl'), '{"trial":1}\n');
  await t.rejects(
    begin({ folder: damaged, resume: true, method: 'random', fineTune: { ...shared, epochs: 1 } }),
    { code: 'CHECKPOINT_INVALID', message: /line 3/ },
  );
});
