// Decoding alone: our BatchLoader beside torchvision's transforms on PIL images, as many threads as processes.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { count, counts, text } from '../options.js';
import { makePhotographs } from '../photographs.js';
import { imagesFolder, makeRunFolder, programFile } from '../places.js';
import { findPython } from '../python.js';
import { show, showSpread, spread } from '../statistics.js';
import { ratioOf, takeTurns } from '../turns.js';
import { withWorkers } from '../worker.js';

const sizes = [
  { width: 500, height: 375, share: 1 },
  // As long a pass of fewer images.
  { width: 3000, height: 2000, share: 1 / 8 },
];

/** Mean difference of the pixels in grey levels, above which the two do not make the same picture. */
const tolerance = 4;

/** What is compared: our view, and the peer's that does the same or more. */
const views = [
  { name: 'validation', ours: 'plain', peer: 'plain' },
  { name: 'validation, peer to bytes only', ours: 'plain', peer: 'bytes' },
  { name: 'training', ours: 'augmented', peer: 'augmented' },
];

export const loader = {
  name: 'loader',
  about: 'images/s from JPEGs to 224 px',
  options: {
    images: text('hymenoptera'),
    count: count(240, 8),
    batch: count(32),
    threads: counts(1, 2),
    rounds: count(5),
    warmup: count(1, 0),
  },
  async run({ images, count: most, batch, threads, rounds, warmup }) {
    const sets = {};
    for (const { width, height, share } of sizes) {
      const wanted = Math.max(1, Math.round(most * share));
      sets[`${width} x ${height}`] = await makePhotographs({
        images: imagesFolder(images),
        width,
        height,
        count: wanted,
      });
    }
    const paths = Object.fromEntries(Object.entries(sets).map(([name, set]) => [name, set.paths]));
    const config = { sets: paths, batch, threads };
    const commands = {
      ours: [[process.execPath, programFile('torchgraft-loader.js')], config],
      peer: [[findPython(), programFile('pytorch_loader.py')], config],
    };
    return withWorkers(commands, async ({ ours, peer }) => {
      const checks = [];
      const cases = [];
      for (const set of Object.keys(sets)) {
        checks.push(await comparePixels(set, ours.worker, peer.worker));
        for (const view of views) {
          for (const number of threads) {
            cases.push(
              await measureCase({ set, view, threads: number, rounds, warmup }, ours.worker, peer.worker),
            );
          }
        }
      }
      const described = Object.entries(sets).map(
        ([name, set]) => `${set.paths.length} of ${name}, ${set.kilobytes.toFixed(0)} kB each`,
      );
      return {
        versions: { ours: ours.about.version, peer: peer.about.version },
        tables: [tableOf(cases)],
        checks,
        notes: [
          `photographs: ${described.join('; ')}; all are in memory after the warm-up`,
          'per core: images a second of processor time, user and system, of all threads and processes of a side',
          'the peer gives normalised float tensors, ours bytes, which are normalised (training images also cropped and flipped) ' +
            'in the train step; "to bytes only" spares the peer that',
        ],
        cases,
      };
    });
  },
};

async function comparePixels(set, ours, peer) {
  const folder = makeRunFolder();
  const ask = async (worker, file) => {
    await worker.ask({ do: 'pixels', set, file });
    return readFileSync(file);
  };
  try {
    const a = await ask(ours, join(folder, 'ours'));
    const b = await ask(peer, join(folder, 'peer'));
    let total = 0;
    for (let index = 0; index < a.length; index++) total += Math.abs(a[index] - b[index]);
    const gap = a.length === b.length && a.length > 0 ? total / a.length : Number.NaN;
    return {
      ok: gap <= tolerance,
      text: `${set}: pixels differ by ${gap.toFixed(2)} grey levels on average`,
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function measureCase({ set, view, threads, rounds, warmup }, ours, peer) {
  const pass = (worker, name) => () => worker.ask({ do: 'pass', set, view: name, threads });
  const sides = [
    { key: 'ours', title: 'torchgraft', turn: pass(ours, view.ours) },
    { key: 'peer', title: 'torchvision', turn: pass(peer, view.peer) },
  ];
  const turns = await takeTurns(sides, {
    rounds,
    warmup,
    label: `loader, ${set}, ${view.name}, ${threads}`,
    show: ({ images, seconds }) => `${show(images / seconds)} images/s`,
  });
  return {
    set,
    view: view.name,
    threads,
    ratio: ratioOf(turns, 'ours', 'peer', ({ seconds }) => seconds),
    ratioPerCore: ratioOf(turns, 'ours', 'peer', ({ processorSeconds }) => processorSeconds),
    turns,
  };
}

function tableOf(cases) {
  const columns = [
    'JPEGs, view',
    'threads',
    'torchgraft, images/s',
    'torchvision, images/s',
    'ratio',
    'torchgraft, per core',
    'torchvision, per core',
    'ratio per core',
  ];
  const rows = cases.map(({ set, view, threads, turns, ratio, ratioPerCore }) => {
    const rate = (key, cost) => showSpread(spread(turns[key].map((turn) => turn.images / turn[cost])));
    return [
      `${set}, ${view}`,
      `${threads}`,
      rate('ours', 'seconds'),
      rate('peer', 'seconds'),
      showSpread(ratio),
      rate('ours', 'processorSeconds'),
      rate('peer', 'processorSeconds'),
      showSpread(ratioPerCore),
    ];
  });
  return { columns, rows };
}
