// One train step, ours and PyTorch's, in two long-lived processes that take turns.
import { createHash } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { readLoad, readProcessors } from './machine.js';
import { modelFile, peersFolder } from './places.js';
import { findPython } from './python.js';
import { normalisationOf } from './recipe.js';
import { showSpread, spread, sum } from './statistics.js';
import { Worker } from './worker.js';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const classes = 2;
const size = 224;
/** Pause before a turn: the other's threads spin a little while after their last work. */
const pauseMs = 100;
/** Largest relative difference of the losses before the first step. */
const tolerance = 1e-4;

/** Full fine-tuning, AdamW 1e-4, float32, no augmentation. */
export async function benchStep({ model, batch, threads, channelsLast, rounds = 10, steps, warmup }) {
  const folder = mkdtempSync(join(tmpdir(), 'torchgraft-bench-'));
  const config = {
    model: modelFile(model),
    start: join(folder, 'start.pt'),
    images: join(folder, 'images.bin'),
    labels: Array.from({ length: batch }, (_, index) => index % classes),
    classes,
    size,
    threads,
    channelsLast,
    learningRate: 1e-4,
    weightDecay: 0.01,
    normalisation: normalisationOf(model),
    peers: peersFolder(),
  };
  writeFileSync(config.images, randomBytes(batch * size * size * 3));
  const loadBefore = readLoad();
  const workers = [];
  const start = async (command) => {
    const worker = new Worker(command, config);
    workers.push(worker);
    return { worker, about: await worker.answer() };
  };
  try {
    const ours = await start([process.execPath, here('torchgraft-step.js')]);
    const peer = await start([findPython(), here('pytorch_step.py')]);
    const losses = await compareLosses(ours, peer, warmup);
    const measured = await takeTurns(ours.worker, peer.worker, rounds, steps);
    return {
      bench: 'step',
      setting: {
        model,
        strategy: 'full',
        batch,
        threads,
        precision: 'float32',
        channelsLast,
        rounds,
        steps,
        warmup,
      },
      versions: { ours: ours.about.versions, peer: peer.about.versions },
      losses,
      ...summarise(measured, batch),
      load: { before: loadBefore, after: readLoad() },
      rounds: measured,
    };
  } finally {
    for (const worker of workers) await worker.end();
    rmSync(folder, { recursive: true });
  }
}

/** The same bytes every time. */
function randomBytes(count) {
  return createHash('shake256', { outputLength: count }).update('torchgraft bench').digest();
}

/** Both must be at the same work: equal losses before the first step. Then warms both up, and compares those losses too. */
async function compareLosses(ours, peer, warmup) {
  if (ours.about.trainable !== peer.about.trainable) {
    throw new Error(
      `We train ${ours.about.trainable} parameters, the peer ${peer.about.trainable}: not the same work.`,
    );
  }
  const evaluate = { do: 'evaluate' };
  const before = {
    ours: (await ours.worker.ask(evaluate)).loss,
    peer: (await peer.worker.ask(evaluate)).loss,
  };
  const gap = difference(before.ours, before.peer);
  if (!(gap <= tolerance)) {
    throw new Error(
      `Before training our loss is ${before.ours}, the peer's ${before.peer}: not the same model and batch.`,
    );
  }
  const request = { do: 'steps', count: warmup };
  const training = {
    ours: (await ours.worker.ask(request)).losses,
    peer: (await peer.worker.ask(request)).losses,
  };
  const gaps = training.ours.map((loss, index) => difference(loss, training.peer[index]));
  return { before, beforeDifference: gap, training, trainingDifferences: gaps };
}

const difference = (a, b) => Math.abs(a - b) / Math.max(Math.abs(a), Math.abs(b));

/** A, B, A, B, ...: what disturbs the machine for longer than a turn disturbs both. */
async function takeTurns(ours, peer, rounds, steps) {
  const turn = async (worker) => {
    await wait(pauseMs);
    const before = readProcessors();
    const answer = await worker.ask({ do: 'steps', count: steps });
    const after = readProcessors();
    const others = after.busy - before.busy - answer.userSeconds - answer.systemSeconds;
    return { ...answer, othersShare: Math.max(0, others / (after.total - before.total)) };
  };
  const measured = [];
  for (let round = 1; round <= rounds; round++) {
    const result = { ours: await turn(ours), peer: await turn(peer) };
    measured.push(result);
    const seconds = [result.ours, result.peer].map((side) => (sum(side.seconds) / steps).toFixed(3));
    console.error(
      `step: round ${round}/${rounds}: torchgraft ${seconds[0]} s, PyTorch ${seconds[1]} s a step`,
    );
  }
  return measured;
}

function summarise(rounds, batch) {
  const sideOf = (side) => {
    const turns = rounds.map((round) => round[side]);
    const perStep = (name) => spread(turns.map((turn) => turn[name] / turn.seconds.length));
    const seconds = spread(turns.flatMap((turn) => turn.seconds));
    return {
      secondsPerStep: seconds,
      imagesPerSecond: batch / seconds.median,
      userSecondsPerStep: perStep('userSeconds'),
      systemSecondsPerStep: perStep('systemSeconds'),
      minorFaultsPerStep: perStep('minorFaults'),
      peakRssMb: Math.max(...turns.map((turn) => turn.peakRssMb)),
    };
  };
  const ratioOf = (cost) => spread(rounds.map(({ ours, peer }) => cost(peer) / cost(ours)));
  return {
    ours: sideOf('ours'),
    peer: sideOf('peer'),
    // Above 1: we are faster. Each ratio is of the two neighbouring turns of one round.
    ratio: {
      seconds: ratioOf(({ seconds }) => sum(seconds)),
      processorSeconds: ratioOf(({ userSeconds, systemSeconds }) => userSeconds + systemSeconds),
    },
    othersShare: spread(rounds.flatMap(({ ours, peer }) => [ours.othersShare, peer.othersShare])),
  };
}

/** Lines and rows for people. */
export function describeStep({ setting, versions, losses, ours, peer, ratio, othersShare }) {
  const { model, batch, threads, channelsLast, rounds, steps } = setting;
  const row = (title, show) => [title, show(ours), show(peer)];
  const gap = (value) => value.toExponential(1);
  return {
    title: `One train step: ${model}, everything learns, batch ${batch}, float32, ${threads} threads, ${rounds} rounds of ${steps} steps`,
    columns: [
      '',
      `torchgraft ${versions.ours.torchgraft}`,
      `PyTorch ${versions.peer.torch}${channelsLast ? ', channels-last' : ''}`,
    ],
    rows: [
      row('seconds a step', (side) => showSpread(side.secondsPerStep, 3)),
      row('images/s', (side) => side.imagesPerSecond.toFixed(1)),
      row('user seconds a step', (side) => showSpread(side.userSecondsPerStep, 3)),
      row('system seconds a step', (side) => showSpread(side.systemSecondsPerStep, 3)),
      row('page faults a step', (side) => side.minorFaultsPerStep.median.toFixed(0)),
      row('peak memory, MiB', (side) => side.peakRssMb.toFixed(0)),
    ],
    notes: [
      `ratio PyTorch / torchgraft, above 1 means torchgraft is faster: time ${showSpread(ratio.seconds)}, ` +
        `processor time ${showSpread(ratio.processorSeconds)}`,
      `same work: loss before training ${losses.before.ours.toFixed(6)} and ${losses.before.peer.toFixed(6)} ` +
        `(relative difference ${gap(losses.beforeDifference)}), in the ${setting.warmup} warm-up steps at most ` +
        `${gap(Math.max(0, ...losses.trainingDifferences))} apart`,
      `other programs took ${(othersShare.median * 100).toFixed(0)} % of the processors meanwhile ` +
        `(at most ${(othersShare.max * 100).toFixed(0)} %)`,
    ],
  };
}
