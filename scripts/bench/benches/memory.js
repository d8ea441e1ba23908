// Peak memory of whole runs, head-only and full: ours, PyTorch at its defaults and with an expert's settings.
import { showSpread, spread } from '../statistics.js';
import { trainPeer } from '../training.js';
import { ratioOf } from '../turns.js';
import { makeJob, oursAnew, runInTurns, trainingOptions, withoutEmulation } from './training-bench.js';

const { 'peer-epochs': _, ...options } = trainingOptions({ epochs: 2, rounds: 2 });

export const memory = {
  name: 'memory',
  about: 'peak memory of whole runs',
  // Peaks hardly depend on what ran before, so that nothing needs to warm up.
  options: { ...options, warmup: { ...options.warmup, otherwise: 0 } },
  async run(given) {
    const parts = [];
    for (const strategy of ['head', 'full']) parts.push(await measurePeaks(strategy, given));
    return {
      ratios: Object.fromEntries(parts.map(({ strategy, ratios }) => [strategy, ratios])),
      tables: parts.map(({ table }) => table),
      checks: parts.flatMap(({ checks }) => checks),
      notes: [
        "peak resident memory of the whole process as the kernel counts it at its end; the peer's loader processes, " +
          'where there are any, come on top',
      ],
      turns: Object.fromEntries(parts.map(({ strategy, turns }) => [strategy, turns])),
    };
  },
};

async function measurePeaks(strategy, given) {
  const job = { ...makeJob(given), strategy };
  const peer = (key, title, settings) => ({
    key,
    title,
    train: (run) => trainPeer({ ...job, mode: strategy, ...settings, ...run }),
  });
  const all = [
    oursAnew('ours', 'torchgraft', job),
    peer('default', 'PyTorch', {}),
    { ...peer('tuned', 'PyTorch tuned', { tuned: true }), bfloat16: true },
    ...(strategy === 'head' ? [peer('cached', 'PyTorch, features cached by hand', { mode: 'cached' })] : []),
  ];
  const { sides } = withoutEmulation(all, [], given);
  const others = sides.slice(1).map(({ key }) => key);
  const pairs = others.map((key) => ['ours', key]);
  const { turns, checks } = await runInTurns(`memory, ${strategy}`, sides, pairs, given);
  const peakOf = ({ peakRssMb }) => peakRssMb;
  const ratios = Object.fromEntries(others.map((key) => [key, ratioOf(turns, 'ours', key, peakOf)]));
  const rows = sides.map(({ key, title }) => [
    title,
    showSpread(spread(turns[key].map(peakOf))),
    ratios[key] ? showSpread(ratios[key]) : '',
  ]);
  const columns = ['', 'peak memory, MiB', 'ratio to torchgraft, above 1 is better for torchgraft'];
  return { strategy, ratios, turns, checks, table: { title: `strategy ${strategy}`, columns, rows } };
}
