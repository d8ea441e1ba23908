import { visible } from './visible.js';

export interface Column {
  title: string;
  /** Numbers stand to the right. Default left. */
  align?: 'left' | 'right';
}

/** A plain-text table: a line of titles, a rule, one line a row, columns two spaces apart, no trailing spaces. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const lines = [columns.map(({ title }) => title), ...rows].map((row) => row.map(visible));
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => displayWidth(line[index] ?? ''))));
  const rule = widths.map((width) => '-'.repeat(width));
  const [titles, ...body] = lines.map((line) =>
    columns.map(({ align }, index) => pad(line[index] ?? '', widths[index] ?? 0, align)),
  );
  return [titles ?? [], rule, ...body].map((cells) => cells.join('  ').trimEnd()).join('\n');
}

/** Columns that text takes on a terminal: 2 for East Asian wide characters and emoji, 0 for combining marks. */
export function displayWidth(text: string): number {
  return Array.from(segmenter.segment(text), ({ segment }) => (wide.test(segment) ? 2 : 1)).reduce(
    (total: number, width) => total + width,
    0,
  );
}

const segmenter = new Intl.Segmenter();
const wide =
  /^(?:\p{Emoji_Presentation}|\p{Emoji}\uFE0F|[\u1100-\u115F\u2E80-\u303E\u3041-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6\u{20000}-\u{3FFFD}])/u;

function pad(text: string, width: number, align: Column['align']): string {
  const space = ' '.repeat(width - displayWidth(text));
  return align === 'right' ? space + text : text + space;
}
