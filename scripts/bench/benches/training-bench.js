// What the benches of whole training runs have in common.
import { rmSync } from 'node:fs';
import { readBfloat16 } from '../machine.js';
import { count, flag, text } from '../options.js';
import { imagesFolder, makeRunFolder, modelFile } from '../places.js';
import { scaleTo, trainOurs } from '../training.js';
import { compareRuns, reportRuns, showRun } from '../training-report.js';
import { takeTurns } from '../turns.js';

/** Options with these defaults; the peer at its defaults is slow, so that it runs fewer epochs. */
export const trainingOptions = ({ epochs, rounds }) => ({
  model: text('mobilenet_v2_100'),
  images: text('hymenoptera'),
  epochs: count(epochs),
  'peer-epochs': count(2),
  batch: count(32),
  threads: count(2),
  workers: count(0, 0),
  rounds: count(rounds),
  warmup: count(1, 0),
  precision: text(undefined),
  views: text(undefined),
  'emulated-bfloat16': flag(),
});

/** The sides and pairs that say something here: a processor without bfloat16 emulates it ten times slower. */
export function withoutEmulation(sides, pairs, options) {
  if (options['emulated-bfloat16'] || readBfloat16().length > 0) return { sides, pairs, notes: [] };
  const left = sides.filter(({ bfloat16 }) => !bfloat16);
  const out = sides.filter(({ bfloat16 }) => bfloat16).map(({ title }) => title);
  const keys = new Set(left.map(({ key }) => key));
  const notes =
    out.length > 0
      ? [`not run, the processor would emulate bfloat16 (--emulated-bfloat16 runs them): ${out.join('; ')}`]
      : [];
  return { sides: left, pairs: pairs.filter((pair) => pair.every((key) => keys.has(key))), notes };
}

/** What all runs of a bench share, ours and the peers'. */
export function makeJob({ model, images, epochs, batch, threads, workers, precision, views }) {
  return {
    name: model,
    model: modelFile(model),
    data: imagesFolder(images),
    epochs,
    batch,
    threads,
    workers,
    flags: { precision, views },
  };
}

/** Ours with nothing cached before. */
export const oursAnew = (key, title, job) => ({
  key,
  title,
  async train({ seed, epochs }) {
    const cache = makeRunFolder();
    try {
      return await trainOurs({ ...job, seed, epochs }, cache);
    } finally {
      rmSync(cache, { recursive: true });
    }
  },
});

/** PyTorch at its defaults: so slow that it runs fewer epochs, and its times are scaled. */
export const atDefaults = (train, { 'peer-epochs': most }) => ({
  key: 'default',
  title: 'PyTorch',
  train: async ({ seed, epochs }) => scaleTo(epochs, await train({ seed, epochs: Math.min(most, epochs) })),
});

/**
 * Runs the sides in turns. A warm-up run is one epoch.
 *
 * @param sides `{ key, title, train({ seed, epochs }) }`; the seed is the round, the same for all
 * @param pairs `[ours, peer]` keys that must do the same work
 */
export async function runInTurns(label, sides, pairs, { rounds, warmup, epochs }) {
  const taking = sides.map(({ train, ...side }) => ({
    ...side,
    turn: ({ round, isWarmUp }) => train({ seed: Math.max(0, round), epochs: isWarmUp ? 1 : epochs }),
  }));
  const turns = await takeTurns(taking, { rounds, warmup, label, show: showRun });
  const titles = Object.fromEntries(sides.map(({ key, title }) => [key, title]));
  return {
    versions: Object.fromEntries(sides.map(({ key }) => [key, turns[key][0].version])),
    checks: compareRuns(turns, pairs, titles).map(({ ok, text }) => ({ ok, text: `${label}: ${text}` })),
    turns,
  };
}

/** A bench of runs: its turns, and the tables of them. */
export async function benchTraining(label, allSides, allPairs, options) {
  const { sides, pairs, notes } = withoutEmulation(allSides, allPairs, options);
  const result = await runInTurns(label, sides, pairs, options);
  const report = reportRuns(result.turns, sides, pairs, options.epochs);
  return { ...result, ...report, notes: [...(report.notes ?? []), ...notes] };
}
