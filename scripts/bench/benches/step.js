// One train step, ours and PyTorch's in both memory layouts, in long-lived processes that take turns.
import { createHash } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readProcessors } from '../machine.js';
import { count, counts, text, texts } from '../options.js';
import { makeRunFolder, modelFile, peersFolder, programFile } from '../places.js';
import { findPython } from '../python.js';
import { normalisationOf } from '../recipe.js';
import { show, showSpread, spread, sum } from '../statistics.js';
import { ratioOf, takeTurns } from '../turns.js';
import { withWorkers } from '../worker.js';

const classes = 2;
const size = 224;
/** Largest relative difference of the losses before the first step. */
const tolerance = { float32: 1e-4, bfloat16: 3e-2 };

const titles = { ours: 'torchgraft', default: 'PyTorch', channelsLast: 'PyTorch, channels-last' };
const peers = ['default', 'channelsLast'];

export const step = {
  name: 'step',
  about: 'one train step, everything learns, no data loading',
  options: {
    model: text('mobilenet_v2_100'),
    batch: counts(1, 8, 32),
    precision: texts('float32', 'bfloat16'),
    threads: count(2),
    rounds: count(5),
    steps: count(3),
    warmup: count(3),
  },
  async run(options) {
    const cases = [];
    for (const precision of options.precision) {
      if (!(precision in tolerance)) throw new Error(`step: there is no peer in ${precision}.`);
      for (const batch of options.batch) cases.push(await measureCase(precision, batch, options));
    }
    return {
      versions: cases[0].versions,
      tables: [tableOf(cases)],
      checks: cases.flatMap(({ checks }) => checks),
      notes: [
        'ratio PyTorch / torchgraft, above 1 means torchgraft is faster; processor time is user and system seconds together',
        ...cases.map(
          ({ name, othersShare }) =>
            `${name}: other programs took ${(othersShare.median * 100).toFixed(0)} % of the processors meanwhile ` +
            `(at most ${(othersShare.max * 100).toFixed(0)} %)`,
        ),
      ],
      cases,
    };
  },
};

/** AdamW 1e-4, no augmentation. */
async function measureCase(precision, batch, { model, threads, rounds, steps, warmup }) {
  const folder = makeRunFolder();
  const config = {
    model: modelFile(model),
    start: join(folder, 'start.pt'),
    images: join(folder, 'images.bin'),
    labels: Array.from({ length: batch }, (_, index) => index % classes),
    classes,
    size,
    threads,
    precision,
    learningRate: 1e-4,
    weightDecay: 0.01,
    normalisation: normalisationOf(model),
    peers: peersFolder(),
  };
  writeFileSync(config.images, randomBytes(batch * size * size * 3));
  const name = `${precision}, batch ${batch}`;
  const python = [findPython(), programFile('pytorch_step.py')];
  const commands = {
    // First: it saves the head that the others load.
    ours: [[process.execPath, programFile('torchgraft-step.js')], config],
    default: [python, { ...config, channelsLast: false }],
    channelsLast: [python, { ...config, channelsLast: true }],
  };
  try {
    return await withWorkers(commands, async (workers) => {
      const { losses, checks } = await compareLosses(workers, { precision, warmup, name });
      const sides = Object.entries(workers).map(([key, { worker }]) => ({
        key,
        title: titles[key],
        turn: () => takeSteps(worker, steps),
      }));
      const turns = await takeTurns(sides, {
        rounds,
        warmup: 0,
        label: `step, ${name}`,
        show: ({ seconds }) => `${show(sum(seconds) / steps)} s a step`,
      });
      const versions = Object.fromEntries(
        Object.entries(workers).map(([key, { about }]) => [key, about.versions]),
      );
      return { name, precision, batch, versions, losses, checks, ...summarise(turns), turns };
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The same bytes every time. */
function randomBytes(length) {
  return createHash('shake256', { outputLength: length }).update('torchgraft bench').digest();
}

/** All must be at the same work: equal losses before the first step. Then warms all up, and compares those losses too. */
async function compareLosses(workers, { precision, warmup, name }) {
  const { ours, default: peer } = workers;
  if (ours.about.trainable !== peer.about.trainable) {
    throw new Error(
      `We train ${ours.about.trainable} parameters, the peer ${peer.about.trainable}: not the same work.`,
    );
  }
  const askAll = async (request, read) => {
    const answers = {};
    for (const [key, { worker }] of Object.entries(workers)) answers[key] = read(await worker.ask(request));
    return answers;
  };
  // With the dropout of the first step: what it would give in float32.
  const float32 = (await peer.worker.ask({ do: 'float32Loss' })).loss;
  const before = await askAll({ do: 'evaluate' }, ({ loss }) => loss);
  const training = await askAll({ do: 'steps', count: warmup }, ({ losses }) => losses);
  const apart = (key) => difference(before.ours, before[key]);
  const gaps = training.ours.map((loss, index) => difference(loss, training.default[index]));
  const checks = peers.map((key) => ({
    ok: apart(key) <= tolerance[precision],
    text:
      `${name}: loss before training ${before.ours.toFixed(6)} and ${before[key].toFixed(6)} (${titles[key]}), relative ` +
      `difference ${apart(key).toExponential(1)}; in ${warmup} warm-up steps at most ${Math.max(...gaps).toExponential(1)}`,
  }));
  if (precision !== 'float32') {
    const gap = difference(training.ours[0], float32);
    checks.push({
      ok: gap > 2e-5,
      text: `${name}: our first loss is ${gap.toExponential(1)} off float32's, as ${precision} must be`,
    });
  }
  return { losses: { float32, before, training }, checks };
}

const difference = (a, b) => Math.abs(a - b) / Math.max(Math.abs(a), Math.abs(b));

async function takeSteps(worker, steps) {
  const before = readProcessors();
  const answer = await worker.ask({ do: 'steps', count: steps });
  const after = readProcessors();
  const others = after.busy - before.busy - answer.userSeconds - answer.systemSeconds;
  return { ...answer, othersShare: Math.max(0, others / (after.total - before.total)) };
}

function summarise(turns) {
  const ratios = peers.map((key) => ({
    peer: key,
    seconds: ratioOf(turns, 'ours', key, ({ seconds }) => sum(seconds)),
    processorSeconds: ratioOf(turns, 'ours', key, (turn) => turn.userSeconds + turn.systemSeconds),
  }));
  const all = Object.values(turns).flat();
  return { ratios, othersShare: spread(all.map(({ othersShare }) => othersShare)) };
}

function tableOf(cases) {
  const columns = [
    '',
    'seconds a step',
    'images/s',
    'user s',
    'system s',
    'page faults',
    'peak memory, MiB',
    'ratio, time',
    'ratio, processor time',
  ];
  const rows = cases.flatMap(({ name, batch, turns, ratios }) =>
    Object.entries(turns).map(([key, list]) => {
      const seconds = spread(list.flatMap((turn) => turn.seconds));
      const perStep = (cost) => spread(list.map((turn) => turn[cost] / turn.seconds.length)).median;
      const ratio = ratios.find(({ peer }) => peer === key);
      return [
        `${name}: ${titles[key]}`,
        showSpread(seconds),
        show(batch / seconds.median),
        show(perStep('userSeconds')),
        show(perStep('systemSeconds')),
        perStep('minorFaults').toFixed(0),
        Math.max(...list.map(({ peakRssMb }) => peakRssMb)).toFixed(0),
        ratio ? showSpread(ratio.seconds) : '',
        ratio ? showSpread(ratio.processorSeconds) : '',
      ];
    }),
  );
  return { columns, rows };
}
