/** Threads shared by teams and decoders: never more than there are, first come first served, nobody starves. */
import { availableParallelism } from 'node:os';
import t from 'tap';
import { ThreadBudget, threadBudget } from '../src/thread-budget.js';

/** Work that runs until it is told to end. */
function open() {
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  return { work: () => ended, end };
}

/** All promises that can go on have gone on. */
const settled = () => new Promise<void>((done) => setImmediate(done));

t.test('teams together never take more than the budget', async (t) => {
  const budget = new ThreadBudget(4);
  const sizes = [1, 3, 2, 4, 1, 2, 2, 4, 1, 1, 3];
  let running = 0;
  let most = 0;
  const done = await Promise.all(
    sizes.map((threads, index) =>
      budget.compute(threads, async () => {
        running += threads;
        most = Math.max(most, running);
        t.ok(budget.use().computing >= running, 'counted before it runs');
        await settled();
        running -= threads;
        return index;
      }),
    ),
  );
  t.same(
    done,
    sizes.map((_, index) => index),
    'each gives what its work gives',
  );
  t.ok(most <= 4 && most > 2, `${most} threads at most`);
  t.match(budget.use(), { threads: 4, computing: 0, waitingTeams: 0, mostComputing: most });
});

t.test('a wide team is not overtaken by narrow ones that came later', async (t) => {
  const budget = new ThreadBudget(2);
  const order: string[] = [];
  const first = open();
  const wide = open();
  const running = [
    budget.compute(1, first.work),
    budget.compute(2, () => {
      order.push('wide');
      return wide.work();
    }),
    budget.compute(1, async () => order.push('narrow')),
    budget.compute(1, async () => order.push('narrower')),
  ];
  await settled();
  t.same(order, []);
  t.match(budget.use(), { computing: 1, waitingTeams: 3 }, 'a thread is free, and kept for the wide one');
  first.end();
  await settled();
  t.same(order, ['wide']);
  wide.end();
  await Promise.all(running);
  t.same(order, ['wide', 'narrow', 'narrower']);
});

t.test('a team wider than the budget gets all of it', async (t) => {
  const budget = new ThreadBudget(2);
  t.equal(await budget.compute(64, async () => budget.use().computing), 2);
});

t.test('work that fails, or throws before it begins, gives its threads back', async (t) => {
  const budget = new ThreadBudget(2);
  await t.rejects(
    budget.compute(2, async () => {
      throw new Error('later');
    }),
    /later/,
  );
  const throws = () => {
    throw new Error('at once');
  };
  await t.rejects(budget.compute(2, throws), /at once/);
  await t.rejects(budget.decode(throws), /at once/);
  t.match(budget.use(), { computing: 0, decoding: 0 });
  t.equal(await budget.compute(2, async () => 'next'), 'next');
});

t.test(
  'decoders run beside a team, in order, as many as there are threads, and neither waits for the other',
  async (t) => {
    const budget = new ThreadBudget(2);
    const decodes = [open(), open(), open(), open()];
    const begun: number[] = [];
    const decoding = decodes.map(({ work }, index) =>
      budget.decode(() => {
        begun.push(index);
        return work();
      }),
    );
    const team = open();
    const computing = budget.compute(2, team.work);
    await settled();
    t.same(begun, [0, 1]);
    t.match(budget.use(), { computing: 2, decoding: 2, waitingTeams: 0, waitingDecoders: 2 });
    decodes[1]?.end();
    await settled();
    t.same(begun, [0, 1, 2], 'the next begins while the team computes');
    team.end();
    await computing;
    for (const { end } of decodes) end();
    await Promise.all(decoding);
    t.same(begun, [0, 1, 2, 3]);
    t.match(budget.use(), {
      computing: 0,
      decoding: 0,
      waitingDecoders: 0,
      mostDecoding: 2,
      mostComputing: 2,
    });
  },
);

t.test('the budget of the process is all processors it may use', async (t) => {
  t.equal(threadBudget.threads, availableParallelism());
  t.match(threadBudget.use(), { computing: 0, decoding: 0, waitingTeams: 0, waitingDecoders: 0 });
});
