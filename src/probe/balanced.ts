import { randomIntegers, shuffle } from '../data/random.js';

/** Rows of each group, in the order of the groups. */
export function rowsByGroup(groups: Int32Array, count: number): Int32Array[] {
  const rows = groups.map((_, row) => row);
  return Array.from({ length: count }, (_, group) => rows.filter((row) => groups[row] === group));
}

/** As many rows of each group as the smallest has, drawn without replacement: a function of seed and draw. */
export function drawBalanced(groups: readonly Int32Array[], seed: number, draw: number): Int32Array {
  const least = Math.min(...groups.map(({ length }) => length));
  const next = randomIntegers(seed, draw);
  const drawn = groups.flatMap((rows) => [...shuffle(rows.slice(), next).slice(0, least)]);
  return Int32Array.from(drawn).sort();
}

/** Each group's rows in two random halves; of an odd number the first has one more. */
export function halve(groups: readonly Int32Array[], seed: number): [Int32Array[], Int32Array[]] {
  const next = randomIntegers(seed, 0xffffffff);
  const shuffled = groups.map((rows) => shuffle(rows.slice(), next));
  const middle = (rows: Int32Array) => Math.ceil(rows.length / 2);
  return [
    shuffled.map((rows) => rows.slice(0, middle(rows)).sort()),
    shuffled.map((rows) => rows.slice(middle(rows)).sort()),
  ];
}
