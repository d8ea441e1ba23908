// From the start of a process to its first prediction: a Node script with torchgraft, a Python script with PyTorch.
import { imageFolder } from '../../../lib/data/folder.js';
import { normalisation } from '../../../lib/data/preprocessing.js';
import { packageVersion } from '../../../lib/package.js';
import { cardedModel } from '../carded.js';
import { count, text } from '../options.js';
import { imagesFolder, modelFile, programFile } from '../places.js';
import { runProgram } from '../program.js';
import { findPython } from '../python.js';
import { normalisationOf } from '../recipe.js';
import { show, showSpread, spread } from '../statistics.js';
import { ratioOf, takeTurns } from '../turns.js';

/** Largest difference of the best class's probability: the two resize alike, not equally. */
const tolerance = 0.05;

const costs = {
  'start to first prediction, s': ({ lineSeconds }) => lineSeconds[0],
  'start to exit, s': ({ seconds }) => seconds,
  'peak memory, MiB': ({ peakRssMb }) => peakRssMb,
};

export const start = {
  name: 'start',
  about: 'process start to first prediction',
  options: {
    model: text('mobilenet_v2_100'),
    images: text('hymenoptera'),
    threads: count(2),
    rounds: count(10),
    warmup: count(1, 0),
  },
  async run({ model, images, threads, rounds, warmup }) {
    const { splits } = await imageFolder(imagesFolder(images));
    const [{ path }] = splits.val;
    const { mean, std } = normalisation(normalisationOf(model));
    const ours = [
      process.execPath,
      programFile('torchgraft-start.js'),
      cardedModel(model),
      path,
      `${threads}`,
    ];
    const program = [findPython(), programFile('pytorch_start.py')];
    const peer = [...program, modelFile(model), path, `${threads}`, mean.join(), std.join()];
    const sides = [
      { key: 'ours', title: 'torchgraft', turn: () => predictOnce(ours) },
      { key: 'peer', title: 'Python, torch.jit.load', turn: () => predictOnce(peer) },
    ];
    const turns = await takeTurns(sides, {
      rounds,
      warmup,
      label: 'start',
      show: ({ lineSeconds }) => `${show(lineSeconds[0])} s`,
    });
    const ratios = Object.fromEntries(
      Object.entries(costs).map(([name, cost]) => [name, ratioOf(turns, 'ours', 'peer', cost)]),
    );
    const row = (title, showCost) => [title, ...Object.entries(costs).map(showCost)];
    const rows = sides.map(({ key, title }) =>
      row(title, ([, cost]) => showSpread(spread(turns[key].map(cost)))),
    );
    rows.push(row('ratio', ([name]) => showSpread(ratios[name])));
    return {
      versions: { ours: `torchgraft ${packageVersion()}`, peer: `PyTorch ${turns.peer[0].version}` },
      ratios,
      tables: [{ columns: ['', ...Object.keys(costs)], rows }],
      checks: [comparePredictions(turns.ours[0], turns.peer[0])],
      notes: [
        'ratio Python / torchgraft, above 1 is better for torchgraft; files are in memory after the warm-up',
      ],
      turns,
    };
  },
};

async function predictOnce(command) {
  const { lines, ...run } = await runProgram(command);
  return { ...run, ...JSON.parse(lines[0]) };
}

function comparePredictions(ours, peer) {
  return {
    ok: ours.index === peer.index && Math.abs(ours.probability - peer.probability) <= tolerance,
    text:
      `best class ${ours.index} with ${ours.probability.toFixed(4)}, the peer's ${peer.index} with ` +
      `${peer.probability.toFixed(4)}`,
  };
}
