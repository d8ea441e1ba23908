/** More rows than this nobody reads. */
const mostRows = 50;
/** Of so many, these are shown. */
const worstRows = 20;

/** What of a long list is shown, and the words for it; all of a short one. */
export interface Shown<T> {
  rows: T[];
  /** For example `20 of 4,000 with the lowest F1`; undefined where all are shown. */
  note: string | undefined;
}

/**
 * The worst of very many, the worst first.
 *
 * @param goodness of a row; null, which is not known, counts as best
 * @param by its name in words: `with the lowest F1`
 */
export function worstOf<T>(all: readonly T[], goodness: (row: T) => number | null, by: string): Shown<T> {
  if (all.length <= mostRows) return { rows: [...all], note: undefined };
  const known = (row: T) => goodness(row) ?? Number.POSITIVE_INFINITY;
  const rows = [...all].sort((a, b) => Math.sign(known(a) - known(b)) || 0).slice(0, worstRows);
  return { rows, note: `${worstRows} of ${all.length.toLocaleString('en-US')} ${by}` };
}
