// What is said of whole training runs: a table of sides, a table of ratios, and whether they did the same work.
import { show, showSpread, spread, sum } from './statistics.js';
import { ratioOf } from './turns.js';

const costs = {
  'in process': (run) => run.seconds,
  'start to exit': (run) => run.wallSeconds,
  'training, an epoch': (run) => sum(run.trainSeconds) / run.trainSeconds.length,
  'peak memory': (run) => run.peakRssMb,
};

export const showRun = ({ wallSeconds, bestAccuracy }) =>
  `${show(wallSeconds)} s, best ${bestAccuracy.toFixed(3)}`;

/**
 * @param turns what `takeTurns` gave
 * @param sides `{ key, title }` in the order of the rows
 * @param pairs `[ours, peer]` keys whose ratios are shown
 */
export function reportRuns(turns, sides, pairs, epochs) {
  const titles = Object.fromEntries(sides.map(({ key, title }) => [key, title]));
  const ratios = pairs.map(([ours, peer]) => ({
    ours,
    peer,
    ...Object.fromEntries(
      Object.entries(costs).map(([name, cost]) => [name, ratioOf(turns, ours, peer, cost)]),
    ),
  }));
  return {
    ratios,
    tables: [
      {
        columns: [
          '',
          'in process, s',
          'start to exit, s',
          'training, s an epoch',
          'best val accuracy',
          'peak memory, MiB',
        ],
        rows: sides.map(({ key, title }) => rowOf(title, turns[key])),
      },
      {
        columns: ['ratio, above 1 is better for the second', ...Object.keys(costs)],
        rows: ratios.map(({ ours, peer, ...values }) => [
          `${titles[peer]} / ${titles[ours]}`,
          ...Object.keys(costs).map((name) => showSpread(values[name])),
        ]),
      },
    ],
    notes: [
      'in process: from the loaded model to the end of the last epoch and its validation; ours holds the new head, an ' +
        'evaluation before training and checkpoints too',
      ...totalNotes(turns, sides),
      ...choiceNotes(turns, sides),
      ...scaleNotes(turns, sides, epochs),
    ],
  };
}

function rowOf(title, runs) {
  const of = (cost) => spread(runs.map(cost));
  const epochs = runs[0].scaledFrom;
  const fixed = (digits) => (value) => value.toFixed(digits);
  return [
    title,
    showSpread(of(costs['in process'])),
    showSpread(of(costs['start to exit'])),
    showSpread(spread(runs.flatMap(({ trainSeconds }) => trainSeconds))),
    showSpread(
      of(({ bestAccuracy }) => bestAccuracy),
      fixed(4),
    ) + (epochs ? `, of ${epochs} epochs` : ''),
    showSpread(of(costs['peak memory']), fixed(0)),
  ];
}

/** Ours from listing the data to the saved model. */
function totalNotes(turns, sides) {
  return sides
    .filter(({ key }) => turns[key][0].totalSeconds)
    .map(({ key, title }) => {
      const total = spread(turns[key].map(({ totalSeconds }) => totalSeconds));
      return `${title}, from listing the data to the saved model: ${showSpread(total)} s`;
    });
}

/** What ours chose by itself, as run.json has it. */
function choiceNotes(turns, sides) {
  return sides
    .map(({ key, title }) => ({ title, ...turns[key][0] }))
    .filter(({ precision }) => precision !== undefined)
    .map(({ title, precision }) => `${title}, precision in run.json: ${JSON.stringify(precision)}`);
}

function scaleNotes(turns, sides, epochs) {
  return sides
    .filter(({ key }) => turns[key][0].scaledFrom)
    .map(
      ({ key, title }) =>
        `${title} ran ${turns[key][0].scaledFrom} epochs; its times are those epochs x ${epochs} / ` +
        `${turns[key][0].scaledFrom}, with its start-up once`,
    );
}

/**
 * Whether two sides did the same work.
 *
 * @throws when they saw other images or classes, or other parameters learned
 */
export function compareRuns(turns, pairs, titles) {
  return pairs.map(([ours, peer]) => {
    requireSameWork(turns[ours][0], turns[peer][0], titles[peer]);
    const best = (key) => spread(turns[key].map(({ bestAccuracy }) => bestAccuracy)).median;
    const names = `best accuracy: ${titles[ours]} ${best(ours).toFixed(4)}, ${titles[peer]} ${best(peer).toFixed(4)}`;
    if (turns[peer][0].scaledFrom) return { ok: true, text: `${names} (of fewer epochs, not compared)` };
    const limit = noiseOf(best(peer), turns[ours][0].validationImages);
    const gap = best(ours) - best(peer);
    return {
      ok: Math.abs(gap) <= limit,
      text: `${names}: ${gap.toFixed(4)} apart, noise of ${turns[ours][0].validationImages} images ${limit.toFixed(4)}`,
    };
  });
}

function requireSameWork(ours, peer, title) {
  if (ours.images !== peer.images || ours.classes !== peer.classes) {
    throw new Error(
      `We saw ${ours.images} images of ${ours.classes} classes, ${title} ${peer.images} of ${peer.classes}: not the same work.`,
    );
  }
  if (!peer.trainable) return;
  const [a, b] = [ours.trainable, peer.trainable].map((names) => [...names].sort().join(' '));
  if (a !== b) throw new Error(`We train ${a}, ${title} trains ${b}: not the same work.`);
}

/** Two standard deviations of the difference of two shares measured on `count` images each. */
function noiseOf(share, count) {
  const inside = Math.min(1 - 1 / count, Math.max(1 / count, share));
  return 2 * Math.sqrt((2 * inside * (1 - inside)) / count);
}
