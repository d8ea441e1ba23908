/** A curve to draw in a terminal; x rising. */
export interface TerminalPlot {
  points: readonly { x: number; y: number }[];
  /** What stands at an end of the axes, for example `1.0e-7`. */
  formatX: (x: number) => string;
  formatY: (y: number) => string;
  /** Drawn as a column each, with its letter below the axis; the first counts where two share a column. */
  marks: readonly { x: number; letter: string }[];
}

const plotWidth = 64;
const plotHeight = 12;

/** A small plot in plain characters, x and y linear between their extremes: 14 lines of at most 80 columns. */
export function terminalPlot({ points, formatX, formatY, marks }: TerminalPlot): string {
  const xs = points.map(({ x }) => x);
  const ys = points.map(({ y }) => y);
  const [left, right] = [Math.min(...xs), Math.max(...xs)];
  const [bottom, top] = [Math.min(...ys), Math.max(...ys)];
  const columnOf = (x: number) => scale(x, left, right, plotWidth);
  const cells = Array.from({ length: plotHeight }, () => Array<string>(plotWidth).fill(' '));
  const letters = Array<string>(plotWidth).fill(' ');
  for (const { x, letter } of [...marks].reverse()) {
    letters[columnOf(x)] = letter;
    for (const row of cells) row[columnOf(x)] = '|';
  }
  for (const { x, y } of points) {
    const row = cells[plotHeight - 1 - scale(y, bottom, top, plotHeight)] as string[];
    row[columnOf(x)] = '*';
  }
  const labels = [formatY(top), formatY(bottom)];
  const margin = Math.max(...labels.map(({ length }) => length));
  const lines = cells.map((row, index) => {
    const label = index === 0 ? labels[0] : index === plotHeight - 1 ? labels[1] : '';
    return `${(label as string).padStart(margin)} |${row.join('')}`;
  });
  const ends = formatX(left).padEnd(plotWidth - formatX(right).length) + formatX(right);
  const below = [
    `${''.padStart(margin)} +${letters.map((letter) => (letter === ' ' ? '-' : letter)).join('')}`,
  ];
  return [...lines, ...below, `${''.padStart(margin)}  ${ends}`].map((line) => line.trimEnd()).join('\n');
}

/** A value's cell, of `count` between `low` and `high`; values outside are at the ends. */
function scale(value: number, low: number, high: number, count: number): number {
  const share = high > low ? (value - low) / (high - low) : 0;
  return Math.min(count - 1, Math.max(0, Math.round(share * (count - 1))));
}
