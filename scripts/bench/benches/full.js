// Whole runs where everything learns: PyTorch at its defaults, with an expert's settings, and at our float32 and layout.
import { trainLayers, trainPeer } from '../training.js';
import { atDefaults, benchTraining, makeJob, oursAnew, trainingOptions } from './training-bench.js';

export const full = {
  name: 'full',
  about: 'whole runs, everything learns',
  options: trainingOptions({ epochs: 2, rounds: 3 }),
  run(options) {
    const job = { ...makeJob(options), strategy: 'full' };
    const float32 = { ...job, flags: { ...job.flags, precision: 'float32' } };
    const sides = [
      oursAnew('ours', 'torchgraft', job),
      oursAnew('oursFloat32', 'torchgraft float32', float32),
      atDefaults((run) => trainPeer({ ...job, mode: 'full', ...run }), options),
      {
        key: 'tuned',
        title: 'PyTorch tuned: bfloat16, channels-last',
        bfloat16: true,
        train: (run) => trainPeer({ ...job, mode: 'full', tuned: true, ...run }),
      },
      {
        key: 'channelsLast',
        title: 'PyTorch float32, channels-last',
        train: (run) => trainLayers({ ...job, channelsLast: true, ...run }),
      },
    ];
    const pairs = [
      ['ours', 'default'],
      ['ours', 'tuned'],
      ['oursFloat32', 'default'],
      ['oursFloat32', 'channelsLast'],
    ];
    return benchTraining('full', sides, pairs, options);
  },
};
