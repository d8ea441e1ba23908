// Whole runs where the last layers learn.
import { text } from '../options.js';
import { trainLayers } from '../training.js';
import { atDefaults, benchTraining, makeJob, oursAnew, trainingOptions } from './training-bench.js';

export const last = {
  name: 'last',
  about: 'whole runs, the last layers learn',
  options: { ...trainingOptions({ epochs: 5, rounds: 3 }), strategy: text('last:2') },
  run(options) {
    const job = { ...makeJob(options), strategy: options.strategy };
    const tuned = { ...job, channelsLast: true, noGrad: true };
    const sides = [
      oursAnew('ours', 'torchgraft', job),
      atDefaults((run) => trainLayers({ ...job, ...run }), options),
      {
        key: 'tuned',
        title: 'PyTorch tuned, float32',
        train: (run) => trainLayers({ ...tuned, ...run }),
      },
      {
        key: 'tunedBfloat16',
        title: 'PyTorch tuned, bfloat16',
        bfloat16: true,
        train: (run) => trainLayers({ ...tuned, precision: 'bfloat16', ...run }),
      },
    ];
    const pairs = ['default', 'tuned', 'tunedBfloat16'].map((peer) => ['ours', peer]);
    return benchTraining('last', sides, pairs, options);
  },
};
