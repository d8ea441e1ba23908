/** How requests form batches, wait, leave and fail, with a model whose batches end when the test says so. */
import { getEventListeners } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { threadBudget } from '../src/thread-budget.js';
import { defects } from './defects.js';
import {
  cardOf,
  grey,
  handBatcher,
  handServing,
  holdDecoders,
  holdThreads,
  rawOf,
  red,
  request,
  turns,
  until,
} from './predictors.js';

const [photograph] = defects(6, 6).splits.val.map(({ path }) => path) as [string];
const raw = (count: number) => Array.from({ length: count }, (_, i) => request(rawOf(i % 3)));
const outcomes = (asked: { outcome: string }[]) => asked.map(({ outcome }) => outcome);
const requests = (asked: ReturnType<typeof raw>) => asked.map((one) => one.request);

t.test('a lone request leaves at once, and what arrives meanwhile is the next batch', async (t) => {
  const { batcher, batches } = handBatcher();
  const first = raw(1);
  batcher.enqueue(requests(first));
  await until(() => batches.length === 1);
  const later = raw(20);
  for (const one of later) batcher.enqueue([one.request]);
  await turns(10);
  t.equal(batches.length, 1, 'one batch at a time');
  t.equal(batcher.queueLength, 20);
  t.equal(batcher.running, 1);
  batches[0]?.end();
  await until(() => batches.length === 2);
  t.equal(batches[1]?.count, 20);
  t.same(outcomes(first), ['ant']);
  batches[1]?.end();
  await batcher.answered();
  t.same(
    outcomes(later),
    later.map((_, i) => grey.classes[i % 3]),
    'each has the answer of its own pixels',
  );
  t.same(batcher.statistics.batchSizes(), { 1: 1, 20: 1 });
});

t.test('requests of one turn form one batch, of maxBatch at most', async (t) => {
  const { batcher, batches } = handBatcher({ maxBatch: 12 });
  const asked = raw(30);
  for (const one of asked) batcher.enqueue([one.request]);
  for (const [index, count] of [12, 12, 6].entries()) {
    await until(() => batches.length === index + 1);
    await turns(10);
    t.equal(batches[index]?.count, count);
    batches[index]?.end();
  }
  await batcher.answered();
  t.notOk(outcomes(asked).includes('open'));
});

t.test(
  'what is being decoded is waited for as long as a second batch would cost, and maxDelayMs',
  async (t) => {
    for (const [what, maxDelayMs, fixedCostMs, count] of [
      ['both are long', 60_000, 60_000, 2],
      ['a batch costs nothing', 60_000, 0, 1],
      ['it may not wait', 0, 60_000, 1],
      ['it may wait too short', 5, 60_000, 1],
    ] as const) {
      const release = await holdDecoders(t);
      const { batcher, batches } = handBatcher({ maxDelayMs }, { fixedCostMs });
      batcher.enqueue([request(photograph).request, request(rawOf(1)).request]);
      if (count === 2) {
        await turns(20);
        t.equal(batches.length, 0, `${what}: the raw one waits`);
        release();
      }
      await until(() => batches.length === 1);
      t.equal(batches[0]?.count, count, what);
      release();
      batches[0]?.end();
      if (count === 1) {
        await until(() => batches.length === 2);
        batches[1]?.end();
      }
      await batcher.answered();
    }
  },
);

t.test('an image that fails, or is withdrawn, is waited for no longer', async (t) => {
  const release = await holdDecoders(t);
  const { batcher, batches } = handBatcher({ maxDelayMs: 60_000 }, { fixedCostMs: 60_000 });
  const stop = new AbortController();
  batcher.enqueue([
    request('nowhere.jpg').request,
    request(photograph, stop.signal).request,
    request(rawOf(1)).request,
  ]);
  await turns(20);
  t.equal(batches.length, 0);
  stop.abort();
  release();
  await until(() => batches.length === 1);
  t.equal(batches[0]?.count, 1);
  batches[0]?.end();
  await batcher.answered();
});

t.test('past maxQueue requests are refused by code, and taken again when there is room', async (t) => {
  const release = await holdThreads(t);
  const { batcher, batches } = handBatcher({ maxQueue: 3 });
  const taken = raw(3);
  batcher.enqueue(requests(taken));
  const refused = { code: 'QUEUE_FULL', message: /3 requests wait, and one more .*`maxQueue` \(3\).*503/ };
  t.throws(() => batcher.enqueue(requests(raw(1))), refused);
  await turns(10);
  t.throws(() => batcher.enqueue(requests(raw(1))), refused, 'decoded ones wait too');
  release();
  await until(() => batches.length === 1);
  const next = raw(2);
  batcher.enqueue(requests(next));
  t.throws(() => batcher.enqueue(requests(raw(2))), { code: 'QUEUE_FULL', message: /2 more/ }, 'all or none');
  t.equal(batcher.queueLength, 2, 'the running batch does not count');
  batches[0]?.end();
  await until(() => batches.length === 2);
  batches[1]?.end();
  await batcher.answered();
  t.same(outcomes([...taken, ...next]), ['ant', 'bee', 'cat', 'ant', 'bee']);
  t.match(batcher.statistics.counts, { requests: 9, served: 5, rejected: 4, aborted: 0, failed: 0 });
});

t.test(
  'withdrawn in line, in a decoder, or decoded, a request ends at once and frees its place',
  async (t) => {
    const releaseThreads = await holdThreads(t);
    const releaseDecoders = await holdDecoders(t);
    const { batcher, batches } = handBatcher({ maxBatch: 3, maxQueue: 5 });
    const signals = Array.from({ length: 5 }, () => new AbortController());
    const images = [rawOf(0), photograph, rawOf(2), rawOf(3), rawOf(4)];
    const asked = images.map((image, i) => request(image, signals[i]?.signal));
    batcher.enqueue(requests(asked));
    await turns(10);
    // 0 and 2 are decoded, 1 is held by a decoder, 3 and 4 are in line.
    for (const [index, expected] of [
      [0, ['ABORTED', 'open', 'open', 'open', 'open']],
      [1, ['ABORTED', 'ABORTED', 'open', 'open', 'open']],
      [4, ['ABORTED', 'ABORTED', 'open', 'open', 'ABORTED']],
    ] as const) {
      const before = batcher.queueLength;
      signals[index]?.abort('enough');
      t.equal(batcher.queueLength, before - 1, 'its place is free within the call');
      await turns(1);
      t.same(outcomes(asked), expected);
    }
    const late = request(rawOf(5));
    batcher.enqueue([late.request]);
    releaseDecoders();
    releaseThreads();
    await until(() => batches.length === 1);
    batches[0]?.end();
    const answered = batcher.answered();
    for (let i = 1; late.outcome === 'open'; await turns(1)) {
      if (batches[i]) batches[i++]?.end();
    }
    await answered;
    t.same(outcomes([...asked, late]), ['ABORTED', 'ABORTED', 'cat', 'dog', 'ABORTED', 'fox']);
    t.match(batcher.statistics.counts, { requests: 6, served: 3, aborted: 3 });
    const reason = await asked[0]?.request.answer.catch((error) => error.cause);
    t.equal(reason, 'enough');
  },
);

t.test('withdrawn from the running batch, a request ends at once and the batch goes on', async (t) => {
  const { batcher, batches } = handBatcher();
  const stop = new AbortController();
  const asked = [request(rawOf(0), stop.signal), request(rawOf(1))];
  batcher.enqueue(requests(asked));
  await until(() => batches.length === 1);
  t.equal(batcher.running, 2);
  stop.abort();
  await turns(1);
  t.same(outcomes(asked), ['ABORTED', 'open']);
  t.equal(batcher.running, 1);
  batches[0]?.end();
  await batcher.answered();
  t.same(outcomes(asked), ['ABORTED', 'bee']);
  t.equal(batches.length, 1);
});

t.test(
  'a signal that has fired already refuses; a shared one has one listener, and none afterwards',
  async (t) => {
    const { batcher, batches } = handBatcher();
    t.throws(() => batcher.enqueue([request(rawOf(0), AbortSignal.abort()).request]), { code: 'ABORTED' });
    t.match(batcher.statistics.counts, { requests: 1, aborted: 1 });
    const { signal } = new AbortController();
    const asked = Array.from({ length: 20 }, () => request(rawOf(0), signal));
    batcher.enqueue(requests(asked));
    t.equal(getEventListeners(signal, 'abort').length, 1);
    await until(() => batches.length === 1);
    batches[0]?.end();
    await batcher.answered();
    t.equal(getEventListeners(signal, 'abort').length, 0);
  },
);

t.test('a bad image fails alone, by its path; its neighbours are answered in one batch', async (t) => {
  const bad = join(t.testdir(), 'bad.jpg');
  writeFileSync(bad, readFileSync(photograph).subarray(0, 900));
  const { batcher, batches } = handBatcher({ maxDelayMs: 60_000 }, { fixedCostMs: 60_000 });
  const asked = [rawOf(0), bad, rawOf(1), 'nowhere.jpg', new Uint8Array(9), rawOf(2)].map((image) =>
    request(image),
  );
  batcher.enqueue(requests(asked));
  await until(() => batches.length === 1);
  batches[0]?.end();
  await batcher.answered();
  t.same(outcomes(asked), ['ant', 'IMAGE_UNREADABLE', 'bee', 'FILE_NOT_FOUND', 'IMAGE_UNREADABLE', 'cat']);
  await t.rejects(asked[1]?.request.answer as Promise<unknown>, { message: /bad\.jpg/ });
  t.same(batcher.statistics.batchSizes(), { 3: 1 });
  t.match(batcher.statistics.counts, { requests: 6, served: 3, failed: 3 });
});

t.test('raw pixels that the caller took away meanwhile are no image of somebody else', async (t) => {
  const { batcher } = handBatcher();
  const image = rawOf(0);
  const asked = request(image);
  batcher.enqueue([asked.request]);
  structuredClone(image.data, { transfer: [image.data.buffer] });
  await batcher.answered();
  t.equal(asked.outcome, 'INVALID_VALUE');
});

t.test('a batch that fails fails its requests, and the next is computed', async (t) => {
  const { batcher, batches } = handBatcher();
  const asked = raw(2);
  batcher.enqueue(requests(asked));
  await until(() => batches.length === 1);
  const next = raw(1);
  batcher.enqueue(requests(next));
  batches[0]?.fail(new Error('out of memory'));
  await until(() => batches.length === 2);
  batches[1]?.end();
  await batcher.answered();
  t.same(outcomes([...asked, ...next]), ['out of memory', 'out of memory', 'ant']);
  t.match(batcher.statistics.counts, { served: 1, failed: 2 });
});

t.test('another model takes over what waits, decoded anew where it sees images otherwise', async (t) => {
  const release = await holdThreads(t);
  const { batcher, batches } = handBatcher({ maxBatch: 3 });
  const asked = [request(rawOf(0, 24)), request(photograph), request(rawOf(1, 24)), request(rawOf(2, 24))];
  batcher.enqueue(requests(asked));
  await turns(10);
  const before = batcher.serving;
  const next = handServing({ card: cardOf(red) });
  t.equal(batcher.replace(next.serving), before);
  t.equal(batcher.queueLength, 4);
  release();
  for (let i = 0; asked.some(({ outcome }) => outcome === 'open'); await turns(1)) {
    if (next.batches[i]) next.batches[i++]?.end();
  }
  await batcher.answered();
  t.equal(batches.length, 0, 'none went to the old model');
  t.ok(outcomes(asked).every((name) => red.classes.includes(name)));
});

t.test('closed, it refuses; what waits is rejected, what runs is answered', async (t) => {
  const { batcher, batches } = handBatcher();
  const running = raw(2);
  batcher.enqueue(requests(running));
  await until(() => batches.length === 1);
  const waiting = [...raw(2), request(photograph)];
  batcher.enqueue(requests(waiting));
  await turns(3);
  batcher.close();
  batcher.rejectWaiting();
  await turns(1);
  t.same(outcomes(waiting), ['DISPOSED', 'DISPOSED', 'DISPOSED']);
  t.same(outcomes(running), ['open', 'open']);
  t.throws(() => batcher.enqueue(requests(raw(1))), { code: 'DISPOSED', message: /createPredictor/ });
  batches[0]?.end();
  await batcher.answered();
  t.same(outcomes(running), ['ant', 'bee']);
  t.equal(batches.length, 1);
  t.match(batcher.statistics.counts, { requests: 6, served: 2, rejected: 4 });
});

t.test('everything it took of the thread budget is given back', async (t) => {
  await until(() => threadBudget.use().decoding === 0);
  t.match(threadBudget.use(), { computing: 0, waitingTeams: 0, waitingDecoders: 0 });
});
