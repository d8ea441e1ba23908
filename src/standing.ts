/** What an epoch, or a trial, is judged by. Null where it is undefined. */
export interface Standing {
  /** Of the chosen metric. */
  value: number | null;
  /** The validation loss, which breaks ties. */
  loss?: number | null | undefined;
}

/**
 * Order of two standings, below 0 where the first is better: by the metric, of equal ones by the lower validation loss. What
 * is not finite comes last. 0 where nothing tells them apart.
 */
export function compareStandings(a: Standing, b: Standing, mode: 'min' | 'max'): number {
  const sign = mode === 'min' ? 1 : -1;
  return compareFinite(a.value, b.value, sign) || compareFinite(a.loss, b.loss, 1);
}

function compareFinite(a: number | null | undefined, b: number | null | undefined, sign: 1 | -1): number {
  const [isKnown, isOtherKnown] = [Number.isFinite(a), Number.isFinite(b)];
  if (isKnown && isOtherKnown) return sign * Math.sign((a as number) - (b as number));
  return Number(isOtherKnown) - Number(isKnown);
}
