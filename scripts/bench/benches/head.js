// Whole head-only runs: ours with nothing cached and again with the features there, PyTorch as the tutorial has it, with
// an expert's settings, and with features cached by hand.
import { rmSync } from 'node:fs';
import { makeRunFolder } from '../places.js';
import { trainLayers, trainOurs, trainPeer } from '../training.js';
import { atDefaults, benchTraining, makeJob, trainingOptions } from './training-bench.js';

export const head = {
  name: 'head',
  about: 'whole runs, only the new head learns',
  options: trainingOptions({ epochs: 10, rounds: 3 }),
  async run(options) {
    const job = { ...makeJob(options), strategy: 'head' };
    const tuned = { ...job, tuned: true };
    const ours = makeOurs(job);
    const sides = [
      ...ours.sides,
      atDefaults((run) => trainPeer({ ...job, mode: 'head', ...run }), options),
      {
        key: 'float32',
        title: 'PyTorch float32, channels-last, frozen part without gradients',
        train: (run) => trainLayers({ ...job, channelsLast: true, noGrad: true, ...run }),
      },
      {
        key: 'cachedFloat32',
        title: 'PyTorch float32, features cached by hand',
        train: (run) => trainPeer({ ...job, mode: 'cached', ...run }),
      },
      {
        key: 'tuned',
        title: 'PyTorch tuned',
        bfloat16: true,
        train: (run) => trainPeer({ ...tuned, mode: 'head', ...run }),
      },
      {
        key: 'cached',
        title: 'PyTorch tuned, features cached by hand',
        bfloat16: true,
        train: (run) => trainPeer({ ...tuned, mode: 'cached', ...run }),
      },
    ];
    const pairs = [
      ['ours', 'default'],
      ['ours', 'float32'],
      ['ours', 'cachedFloat32'],
      ['again', 'cachedFloat32'],
      ['ours', 'tuned'],
      ['ours', 'cached'],
      ['again', 'cached'],
    ];
    try {
      const result = await benchTraining('head', sides, pairs, options);
      const features = result.turns.ours.map(({ featureMb }) => featureMb.toFixed(1));
      const note =
        `torchgraft's cache of features was empty before each of its runs and held ${features.join(', ')} MB after; ` +
        'torchgraft again used it, with another seed and twice the learning rate';
      return { ...result, notes: [...result.notes, note] };
    } finally {
      ours.clear();
    }
  },
};

/** A run with nothing cached, and one on the features it left: another seed and learning rate, as in a search. */
function makeOurs(job) {
  let cache;
  const clear = () => {
    if (cache) rmSync(cache, { recursive: true });
    cache = undefined;
  };
  const first = (run) => {
    clear();
    cache = makeRunFolder();
    return trainOurs({ ...job, ...run }, cache);
  };
  const second = ({ seed, epochs }) =>
    trainOurs({ ...job, epochs, seed: seed + 100, learningRate: 2e-3 }, cache);
  return {
    clear,
    sides: [
      { key: 'ours', title: 'torchgraft', train: first },
      { key: 'again', title: 'torchgraft again', train: second },
    ],
  };
}
