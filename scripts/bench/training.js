// Whole training runs, each a process of its own: `torchgraft train`, the peer's script, and the peer layer by layer.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { requireLibtorch } from '../../lib/libtorch/find.js';
import { folderBytes, makeRunFolder, peersFolder, programFile, root } from './places.js';
import { runProgram } from './program.js';
import { findPython } from './python.js';
import { learningRateOf, normalisationOf } from './recipe.js';
import { sum } from './statistics.js';

const toArguments = (flags) =>
  Object.entries(flags).flatMap(([name, value]) =>
    value === undefined || value === false
      ? []
      : value === true
        ? [`--${name}`]
        : [`--${name}`, String(value)],
  );

/**
 * One run of ours.
 *
 * @param job `name` and `model` of the network, `data`, `strategy`, `epochs`, `batch`, `threads`; `seed` (0) and
 *   `learningRate` (the peer's); `flags`, more of `torchgraft train` by name
 * @param cache folder that stands for the user cache, so that features are there only when an earlier run left them
 */
export async function trainOurs(job, cache) {
  const { name, model, data, strategy, epochs, batch, threads, seed = 0, flags = {} } = job;
  const out = makeRunFolder();
  const args = toArguments({
    ...{ model, data, out, strategy, epochs, threads, seed, device: 'cpu', schedule: 'constant' },
    normalise: normalisationOf(name),
    'batch-size': batch,
    'learning-rate': job.learningRate ?? learningRateOf(strategy),
    ...flags,
  });
  const main = join(root, 'lib', 'cli', 'main.js');
  const env = { ...process.env, TORCHGRAFT_CACHE: cache, TORCHGRAFT_LIBTORCH: requireLibtorch().directory };
  try {
    // The peer writes no report.
    const run = await runProgram(
      [process.execPath, main, 'train', ...args, '--no-report', '--no-baselines', '--json'],
      env,
    );
    const report = JSON.parse(readFileSync(join(out, 'run.json'), 'utf8'));
    return {
      ...readEvents(run),
      ...readReport(report),
      featureMb: folderBytes(join(cache, 'features')) / 1e6,
    };
  } finally {
    rmSync(out, { recursive: true });
  }
}

function readEvents({ load, seconds, lines, lineSeconds }) {
  const events = lines.map((line, index) => ({ ...JSON.parse(line), at: lineSeconds[index] }));
  const start = events.find(({ event }) => event === 'start');
  const { counts } = start;
  const history = events.filter(({ event }) => event === 'epoch');
  const done = events.find(({ event }) => event === 'done');
  const images = sum(Object.values(counts.train));
  return {
    load,
    wallSeconds: seconds,
    // From the loaded model to the last epoch: what the peer's clock measures.
    seconds: history.at(-1).at - start.at,
    totalSeconds: done.totalSeconds,
    trainSeconds: history.map(({ imagesPerSecond }) => images / imagesPerSecond),
    epochSeconds: history.map((epoch) => epoch.seconds),
    accuracies: history.map(({ valAccuracy }) => valAccuracy),
    bestAccuracy: Math.max(...history.map(({ valAccuracy }) => valAccuracy)),
    bestMacroF1: Math.max(...history.map(({ valMacroF1 }) => valMacroF1)),
    peakRssMb: done.peakRssMb,
    images,
    validationImages: sum(Object.values(counts.val)),
    classes: Object.keys(counts.train).length,
  };
}

function readReport({ trainable, plan, precision, environment }) {
  return { trainable, plan, precision, version: `torchgraft ${environment.torchgraft}` };
}

/** One run of the peer's own script; `mode` is head, full or cached. */
export async function trainPeer({ mode, tuned = false, learningRate, ...job }) {
  const { model, data, epochs, batch, threads, workers, seed = 0 } = job;
  const lr = learningRate ?? learningRateOf(mode === 'full' ? 'full' : 'head');
  const args = toArguments({ model, data, mode, epochs, batch, threads, workers, seed, lr, tuned });
  return readPeer(
    await runProgram([findPython(), join(peersFolder(), 'pytorch_finetune.py'), ...args]),
    epochs,
  );
}

/**
 * One run of eager PyTorch with the layers of a strategy: what the peer's script has no mode for.
 *
 * @param job as of `trainOurs`; `channelsLast`, `precision` (float32 or bfloat16) and `noGrad`, the frozen part under
 *   torch.no_grad, are off unless given
 */
export async function trainLayers({ strategy, channelsLast, precision, noGrad, ...job }) {
  const { model, data, epochs, batch, threads, workers, seed = 0 } = job;
  const args = toArguments({
    ...{ peers: peersFolder(), model, data, strategy, epochs, batch, threads, workers, seed, precision },
    lr: learningRateOf(strategy),
    'channels-last': channelsLast,
    'no-grad': noGrad,
  });
  return readPeer(await runProgram([findPython(), programFile('pytorch_layers.py'), ...args]), epochs);
}

function readPeer({ load, seconds, lines }, epochs) {
  const result = JSON.parse(lines.at(-1));
  return {
    load,
    wallSeconds: seconds,
    seconds: result.total_seconds,
    epochs,
    trainSeconds: result.train_seconds_per_epoch,
    accuracies: result.val_accuracy,
    bestAccuracy: result.best,
    peakRssMb: result.peak_rss_mb,
    images: result.images,
    classes: result.classes,
    trainable: result.trainable,
    version: result.peer.replace('pytorch', 'PyTorch'),
  };
}

/**
 * A peer's run of fewer epochs, as if it had done them all. Its own clock starts when the model is ready, so that
 * time grows with the epochs; start-up and import do not.
 */
export function scaleTo(epochs, run) {
  if (run.epochs >= epochs) return run;
  const seconds = (run.seconds / run.epochs) * epochs;
  return { ...run, seconds, wallSeconds: run.wallSeconds - run.seconds + seconds, scaledFrom: run.epochs };
}
