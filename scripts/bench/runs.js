// Whole runs, each a process of its own: `torchgraft train` and the peer's script, in turns.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readLoad } from './machine.js';
import { imagesFolder, modelFile, peersFolder, root } from './places.js';
import { findPython } from './python.js';
import { learningRateOf, normalisationOf } from './recipe.js';
import { showSpread, spread, sum } from './statistics.js';

/** `mode` is head or full. */
export async function benchRuns(mode, options) {
  const { model, images, batch, threads, epochs, workers, tuned, rounds = 3 } = options;
  const job = {
    mode,
    model: modelFile(model),
    data: imagesFolder(images),
    batch,
    threads,
    epochs,
    workers,
    tuned,
  };
  const python = findPython();
  const measured = [];
  for (let round = 1; round <= rounds; round++) {
    const ours = await runOurs(job, normalisationOf(model));
    const peer = await runPeer(job, python);
    measured.push({ ours, peer });
    console.error(
      `${mode}: round ${round}/${rounds}: torchgraft ${ours.wallSeconds.toFixed(1)} s, PyTorch ${peer.wallSeconds.toFixed(1)} s`,
    );
  }
  return {
    bench: mode,
    setting: {
      model,
      images,
      strategy: mode,
      batch,
      threads,
      epochs,
      precision: 'float32',
      workers,
      tuned,
      rounds,
    },
    versions: { peer: measured[0].peer.version },
    ...summarise(measured),
    rounds: measured,
  };
}

async function runOurs({ mode, model, data, batch, threads, epochs }, normalise) {
  const out = mkdtempSync(join(tmpdir(), 'torchgraft-bench-'));
  const flags = {
    ...{ model, data, out, epochs, threads, normalise, strategy: mode, device: 'cpu', schedule: 'constant' },
    'batch-size': batch,
    'learning-rate': learningRateOf[mode],
  };
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
  try {
    const run = await time([
      process.execPath,
      join(root, 'lib', 'cli', 'main.js'),
      'train',
      ...args,
      '--json',
    ]);
    const events = run.lines.map((line) => JSON.parse(line));
    const images = events.find(({ event }) => event === 'start').counts.train;
    const history = events.filter(({ event }) => event === 'epoch');
    const done = events.find(({ event }) => event === 'done');
    return {
      load: run.load,
      wallSeconds: run.seconds,
      trainSeconds: history.map(({ imagesPerSecond }) => sum(Object.values(images)) / imagesPerSecond),
      imagesPerSecond: spread(history.map(({ imagesPerSecond }) => imagesPerSecond)).median,
      bestValAccuracy: Math.max(...history.map(({ valAccuracy }) => valAccuracy)),
      peakRssMb: done.peakRssMb,
    };
  } finally {
    rmSync(out, { recursive: true });
  }
}

async function runPeer({ mode, model, data, batch, threads, epochs, workers, tuned }, python) {
  const flags = { model, data, mode, epochs, batch, threads, workers, lr: learningRateOf[mode] };
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const script = join(peersFolder(), 'pytorch_finetune.py');
  const run = await time([python, script, ...args, ...(tuned ? ['--tuned'] : [])]);
  const result = JSON.parse(run.lines.at(-1));
  return {
    load: run.load,
    version: result.peer,
    wallSeconds: run.seconds,
    trainSeconds: result.train_seconds_per_epoch,
    imagesPerSecond: spread(result.train_seconds_per_epoch.map((seconds) => result.images / seconds)).median,
    bestValAccuracy: result.best,
    peakRssMb: result.peak_rss_mb,
  };
}

/** Runs a program to its end: its lines of output, and seconds from start to exit. */
async function time([program, ...args]) {
  const load = readLoad();
  const start = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let complaints = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    complaints += text;
  });
  const ending = await new Promise((done) => {
    child.on('error', (error) => done(error.message));
    child.on('close', (code, signal) => done(signal ?? code));
  });
  const seconds = (performance.now() - start) / 1000;
  if (ending !== 0)
    throw new Error(`${program} ${args[0]} ended with ${ending}:\n${complaints.slice(-2000)}`);
  return { load, seconds, lines: output.trim().split('\n') };
}

function summarise(rounds) {
  const sideOf = (side) => {
    const runs = rounds.map((round) => round[side]);
    return {
      trainSecondsPerEpoch: spread(runs.flatMap(({ trainSeconds }) => trainSeconds)),
      imagesPerSecond: spread(runs.map(({ imagesPerSecond }) => imagesPerSecond)),
      wallSeconds: spread(runs.map(({ wallSeconds }) => wallSeconds)),
      bestValAccuracy: spread(runs.map(({ bestValAccuracy }) => bestValAccuracy)),
      peakRssMb: spread(runs.map(({ peakRssMb }) => peakRssMb)),
    };
  };
  const ratioOf = (cost) => spread(rounds.map(({ ours, peer }) => cost(peer) / cost(ours)));
  return {
    ours: sideOf('ours'),
    peer: sideOf('peer'),
    // Above 1: we are faster, or take less memory.
    ratio: {
      trainSeconds: ratioOf(({ trainSeconds }) => sum(trainSeconds)),
      wallSeconds: ratioOf(({ wallSeconds }) => wallSeconds),
      peakRss: ratioOf(({ peakRssMb }) => peakRssMb),
    },
    load: { before: rounds[0].ours.load, after: readLoad() },
  };
}

/** Lines and rows for people. */
export function describeRuns({ setting, versions, ours, peer, ratio }, packageVersion) {
  const { model, images, strategy, batch, threads, epochs, rounds, workers, tuned } = setting;
  const row = (title, show) => [title, show(ours), show(peer)];
  return {
    title:
      `Whole runs: ${model} on ${images}, ${strategy}, ${epochs} epochs, batch ${batch}, ${threads} threads, ` +
      `${rounds} runs each`,
    columns: [
      '',
      `torchgraft ${packageVersion}`,
      `${versions.peer}${tuned ? ' tuned' : ''}, ${workers} loader processes`,
    ],
    rows: [
      row('seconds an epoch, training', (side) => showSpread(side.trainSecondsPerEpoch)),
      row('images/s, training', (side) => showSpread(side.imagesPerSecond, 1)),
      row('seconds from start to exit', (side) => showSpread(side.wallSeconds, 1)),
      row('best val accuracy', (side) => showSpread(side.bestValAccuracy, 4)),
      row('peak memory, MiB', (side) => showSpread(side.peakRssMb, 0)),
    ],
    notes: [
      `ratio PyTorch / torchgraft, above 1 is better for torchgraft: training ${showSpread(ratio.trainSeconds)}, ` +
        `start to exit ${showSpread(ratio.wallSeconds)}, peak memory ${showSpread(ratio.peakRss)}`,
      'our time from start to exit includes an evaluation before training, checkpoints and the saved model; the peer has none of these',
    ],
  };
}
