// Sides take turns, so that what disturbs the machine for longer than a turn disturbs all of them.
import { setTimeout as wait } from 'node:timers/promises';
import { spread } from './statistics.js';

/** Pause before a turn: the other's threads spin a little while after their last work. */
const pauseMs = 100;

/**
 * A, B, C, A, B, C, ...: `warmup` rounds that do not count, then `rounds` that do.
 *
 * @param sides `{ key, title, turn({ round, isWarmUp }) }`; warm-up rounds are numbered 0 and below
 * @param show what a turn gave, in a few words for the progress line
 * @returns what each side's turns gave, by its key
 */
export async function takeTurns(sides, { rounds, warmup, label, show }) {
  const turns = Object.fromEntries(sides.map(({ key }) => [key, []]));
  for (let round = 1 - warmup; round <= rounds; round++) {
    const isWarmUp = round < 1;
    const name = isWarmUp ? 'warm-up' : `round ${round}/${rounds}`;
    for (const { key, title, turn } of sides) {
      await wait(pauseMs);
      const result = await turn({ round, isWarmUp });
      if (!isWarmUp) turns[key].push(result);
      console.error(`${label}: ${name}: ${title} ${show(result)}`);
    }
  }
  return turns;
}

/** The peer's cost divided by ours, round by round: above 1, ours is the lesser. */
export function ratioOf(turns, ours, peer, cost) {
  return spread(turns[ours].map((turn, round) => cost(turns[peer][round]) / cost(turn)));
}
