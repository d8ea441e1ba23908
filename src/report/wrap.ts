import { displayWidth } from './table.js';

/** The rule below a table's titles, or the axis of a plot. */
const rule = /^(?:-{2,}(?: +-+)*| *\+-+)/;

/**
 * Lines that fit the width, broken at words. What follows a break stands below the text behind the line's label, as in
 * `note   The model …`. Tables and plots stay as they are: broken rows could not be read.
 *
 * @param width characters; undefined leaves the text as it is
 */
export function wrap(text: string, width: number | undefined): string {
  if (width === undefined) return text;
  const folded = text.split('\n\n').map((paragraph) => {
    const lines = paragraph.split('\n');
    const drawn = firstDrawn(lines);
    return [...lines.slice(0, drawn).flatMap((line) => fold(line, width)), ...lines.slice(drawn)].join('\n');
  });
  return folded.join('\n\n');
}

/** Where a table or a plot begins; behind the last line where there is none. */
function firstDrawn(lines: readonly string[]): number {
  const at = lines.findIndex((line) => rule.test(line));
  if (at === -1) return lines.length;
  // A table has one line of titles above its rule, a plot everything.
  return lines[at]?.startsWith('-') ? Math.max(0, at - 1) : 0;
}

function fold(line: string, width: number): string[] {
  if (displayWidth(line) <= width) return [line];
  const label = /^(?:\S+ {2,}| +)/.exec(line)?.[0].length ?? 0;
  const indent = ' '.repeat(label < width / 3 ? label : 0);
  const folded: string[] = [];
  let current = '';
  for (const [, space = '', word = ''] of line.matchAll(/( *)([^ ]+)/g)) {
    if (current.trim() !== '' && displayWidth(current + space + word) > width) {
      folded.push(current);
      current = indent + word;
    } else {
      current += space + word;
    }
  }
  return [...folded, current];
}
