import { type FoundSample, invalid } from './dataset.js';
import type { Row } from './manifest-rows.js';
import type { Task } from './task.js';

/**
 * One sentence where lines repeat an image of lines before.
 *
 * @param rows the lines of `found`
 * @throws DATA_INVALID for an image of two classes, naming both lines
 */
export function warnRepeated(
  file: string,
  found: readonly FoundSample[],
  rows: readonly Row[],
  task: Task,
): string[] {
  const firsts = new Map<string, number>();
  const repeated: [number, number][] = [];
  for (const [index, { path, className, split }] of found.entries()) {
    const first = firsts.get(path);
    if (first === undefined) {
      firsts.set(path, index);
      continue;
    }
    const { className: before, split: splitBefore } = found[first] as FoundSample;
    if (task === 'single-label' && before !== className) {
      throw invalid(
        `${file}: ${path} is \`${before}\` on line ${rows[first]?.line} and \`${className}\` on line ${rows[index]?.line}. Keep ` +
          `one; or, where images have several labels, name the column \`labels\` and write \`${before}|${className}\`.`,
      );
    }
    // In two splits it is leakage, which is told as such.
    if (split === splitBefore) repeated.push([first, index]);
  }
  const [one] = repeated;
  if (!one) return [];
  const [first, again] = one.map((index) => rows[index]?.line);
  const count = repeated.length === 1 ? '1 line repeats an image' : `${repeated.length} lines repeat images`;
  return [`${file}: ${count}, for example line ${again} that of line ${first}. Each line counts.`];
}
