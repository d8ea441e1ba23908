import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import t from 'tap';
import { checkSchedule, learningRateFactor, parseSchedule, type ScheduleOptions } from '../src/schedule.js';

interface Reference {
  steps: { options: ScheduleOptions; totalSteps: number; stepsPerEpoch: number; factors: number[] }[];
  plateaus: { options: ScheduleOptions; history: number[]; factors: number[] }[];
}

const fixture = gunzipSync(readFileSync(new URL('./fixtures/schedules.json.gz', import.meta.url)));
const reference = JSON.parse(fixture.toString()) as Reference;

t.test("factors equal those of PyTorch's schedulers at every step", (t) => {
  t.ok(reference.steps.length >= 15);
  for (const { options, totalSteps, stepsPerEpoch, factors } of reference.steps) {
    const schedule = checkSchedule(options, 'test');
    t.equal(factors.length, totalSteps);
    const errors = factors.map((factor, step) =>
      Math.abs(learningRateFactor(schedule, { step, totalSteps, stepsPerEpoch }) - factor),
    );
    t.ok(Math.max(...errors) < 1e-12, `${JSON.stringify(options)}: ${Math.max(...errors)}`);
  }
  t.end();
});

t.test('plateau equals ReduceLROnPlateau on 20 random histories', (t) => {
  t.equal(reference.plateaus.length, 20);
  t.ok(reference.plateaus.some(({ factors }) => new Set(factors).size > 3));
  for (const { options, history, factors } of reference.plateaus) {
    const schedule = checkSchedule(options, 'test');
    const ours = factors.map((_, epoch) =>
      learningRateFactor(schedule, {
        step: epoch + 1,
        totalSteps: 100,
        stepsPerEpoch: 1,
        history: history.slice(0, epoch + 1),
      }),
    );
    const errors = factors.map((factor, epoch) => Math.abs(factor - (ours[epoch] ?? Number.NaN)));
    t.ok(Math.max(...errors) < 1e-12, JSON.stringify(options));
  }
  t.end();
});

t.test('plateau counts NaN as no improvement, and is 1 before the first epoch', (t) => {
  const schedule = parseSchedule('plateau:1:0.5', 'test');
  const at = (history: number[]) =>
    learningRateFactor(schedule, { step: 0, totalSteps: 10, stepsPerEpoch: 1, history });
  t.equal(at([]), 1);
  t.equal(at([1, Number.NaN]), 1);
  t.equal(at([1, Number.NaN, Number.NaN]), 0.5);
  t.equal(at([Number.NaN, Number.NaN, 1]), 0.5);
  t.end();
});

t.test('warm-up rises in equal steps and multiplies step and plateau', (t) => {
  const factors = (options: ScheduleOptions) =>
    [0, 1, 2, 3, 4, 5].map((step) =>
      learningRateFactor(checkSchedule(options, 'test'), { step, totalSteps: 6, stepsPerEpoch: 3 }),
    );
  t.same(factors({ kind: 'constant', warmupEpochs: 1 }), [0.25, 0.5, 0.75, 1, 1, 1]);
  t.same(factors({ kind: 'constant', warmup: 0.5 }), [0.25, 0.5, 0.75, 1, 1, 1]);
  t.same(factors({ kind: 'step', every: 1, gamma: 0.5, warmupEpochs: 1 }), [0.25, 0.5, 0.75, 0.5, 0.5, 0.5]);
  t.same(factors({ kind: 'onecycle', warmupEpochs: 1 }), factors({ kind: 'onecycle', warmup: 0.5 }));
  t.ok(factors({ kind: 'cosine', warmupEpochs: 9 }).every((factor, index) => factor === (index + 1) / 7));
  t.end();
});

t.test('factors are finite and in 0..1 for short runs too', (t) => {
  for (const text of ['constant:1', 'cosine', 'cosine:1', 'onecycle', 'onecycle:0', 'onecycle:1', 'step:1']) {
    for (const totalSteps of [1, 2, 3, 10]) {
      const factors = Array.from({ length: totalSteps }, (_, step) =>
        learningRateFactor(parseSchedule(text, 'test'), { step, totalSteps, stepsPerEpoch: 1 }),
      );
      t.ok(
        factors.every((factor) => factor >= 0 && factor <= 1),
        `${text}, ${totalSteps} steps: ${factors}`,
      );
    }
  }
  t.end();
});

t.test('strings of the command line', (t) => {
  t.same(parseSchedule('constant', 'test'), { kind: 'constant', warmup: 0 });
  t.same(parseSchedule('cosine', 'test'), { kind: 'cosine', warmup: 0.05 });
  t.same(parseSchedule('cosine:0.2', 'test'), { kind: 'cosine', warmup: 0.2 });
  t.match(parseSchedule('onecycle', 'test'), { warmup: 0.3, divFactor: 25, finalDivFactor: 1e4 });
  t.match(parseSchedule('step:3:0.1', 'test'), { kind: 'step', every: 3, gamma: 0.1 });
  t.match(parseSchedule('step:3', 'test'), { every: 3, gamma: 0.1 });
  t.match(parseSchedule('plateau:2:0.5', 'test'), { patience: 2, factor: 0.5, metric: 'valLoss' });
  t.match(checkSchedule('plateau', 'test'), { patience: 10, factor: 0.1 });
  t.end();
});

t.test('a checked schedule can be stored and checked again', (t) => {
  const all: ScheduleOptions[] = [
    'constant',
    'onecycle',
    'step:2',
    'plateau',
    { kind: 'cosine', warmupEpochs: 2 },
  ];
  for (const options of all) {
    const schedule = checkSchedule(options, 'test');
    t.same(checkSchedule(JSON.parse(JSON.stringify(schedule)), 'test'), schedule);
  }
  t.end();
});

t.test('what is no schedule is refused by name', (t) => {
  const refused = (options: unknown) => () => checkSchedule(options as ScheduleOptions, 'fineTune');
  t.throws(refused('cosin'), {
    code: 'INVALID_VALUE',
    message: /fineTune: unknown schedule `cosin`.*`cosine`/,
  });
  t.throws(refused('toString'), { code: 'INVALID_VALUE', message: /Known: constant/ });
  t.throws(refused('step'), { code: 'INVALID_VALUE', message: /`step:every\[:gamma\]`/ });
  t.throws(refused('step:three'), { code: 'INVALID_VALUE', message: /with numbers/ });
  t.throws(refused('step:3:'), { code: 'INVALID_VALUE' });
  t.throws(refused('plateau:1:0.5:2'), { message: /`plateau\[:patience\[:factor\]\]`/ });
  t.throws(refused('step:0'), { code: 'INVALID_VALUE', message: /`every`/ });
  t.throws(refused('cosine:1.5'), { code: 'INVALID_VALUE', message: /`warmup`/ });
  t.throws(refused({ kind: 'step' }), { code: 'INVALID_TYPE', message: /`every`/ });
  t.throws(refused({ kind: 'cosine', warmUp: 1 }), {
    code: 'INVALID_TYPE',
    message: /Did you mean `warmup`/,
  });
  t.throws(refused({ kind: 'cosine', warmup: 0.1, warmupEpochs: 1 }), { message: /Give one of them/ });
  t.throws(refused(3), { code: 'INVALID_TYPE' });
  t.throws(refused(null), { code: 'INVALID_TYPE' });
  t.end();
});
