/** Comparing figures with stored ones. */

/** The largest difference; infinite where the lengths differ, or only one of two figures is undefined. */
export function furthest(
  actual: readonly (number | null | undefined)[],
  expected: readonly (number | null)[],
): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  return expected.reduce((most: number, value, index) => {
    const other = actual[index];
    if (value === null || other === null || other === undefined || Number.isNaN(other)) {
      return value === other ? most : Number.POSITIVE_INFINITY;
    }
    return Math.max(most, Math.abs(value - other));
  }, 0);
}
