/** A step of a sweep. */
export interface SweepPoint {
  /** Of the group that learns fastest. */
  learningRate: number;
  /** Mean over the step's images, before its weights change. */
  loss: number;
  /** Exponential average of the losses so far, corrected for its beginning. */
  smoothed: number;
}

/** Learning rates that a sweep suggests. */
export interface LearningRateSuggestion {
  /** In the middle third of the longest stretch on which the loss falls; where to begin. */
  valley: number;
  /** Where the loss falls fastest. */
  steepest: number;
  /** A tenth of the rate at which the loss was least. */
  minimum: number;
}

/** Fewest steps of which anything can be said. */
export const fewestPoints = 3;

/**
 * What a curve suggests, by fastai's rules (fastai 2, `fastai/callback/schedule.py`: `valley`, `steep`, `minimum`), with
 * its trimming: the first tenth of the sweep and the last five steps say little, and are left out.
 *
 * @param curve at least 3 points
 * @param steps of a sweep that is not stopped early
 */
export function suggestRates(curve: readonly SweepPoint[], steps: number): LearningRateSuggestion {
  const points = trimCurve(curve, steps);
  const losses = points.map(({ smoothed }) => smoothed);
  const rateAt = (index: number) => (points[index] as SweepPoint).learningRate;
  return {
    valley: rateAt(findValley(losses)),
    steepest: rateAt(findSteepest(points)),
    minimum: rateAt(losses.indexOf(Math.min(...losses))) / 10,
  };
}

/** The points that suggestions are made of; a short curve is taken whole. */
export function trimCurve(curve: readonly SweepPoint[], steps: number): readonly SweepPoint[] {
  const trimmed = curve.slice(Math.floor(steps / 10), -5);
  return trimmed.length >= fewestPoints ? trimmed : curve;
}

/**
 * ESRI's valley, fastai's default: the longest decreasing subsequence of the losses (of several, the one that ends first),
 * taken as a stretch of as many points up to its end, and in that the middle of the second of three sections.
 *
 * @returns an index into `losses`
 */
export function findValley(losses: readonly number[]): number {
  const lengths = losses.map(() => 1);
  let end = 0;
  for (let i = 1; i < losses.length; i++) {
    for (let j = 0; j < i; j++) {
      const isLower = (losses[i] as number) < (losses[j] as number);
      if (isLower) lengths[i] = Math.max(lengths[i] as number, (lengths[j] as number) + 1);
    }
    if ((lengths[i] as number) > (lengths[end] as number)) end = i;
  }
  const length = lengths[end] as number;
  // fastai begins the stretch one before its first point.
  const start = end === 0 ? 0 : end - length;
  const section = (end - start) / 3;
  return Math.max(0, start + Math.floor(section) + Math.floor(section / 2));
}

/** Where the loss falls fastest over the logarithm of the rate. */
function findSteepest(points: readonly SweepPoint[]): number {
  const slopes = points.slice(1).map((point, index) => {
    const before = points[index] as SweepPoint;
    return (point.smoothed - before.smoothed) / Math.log(point.learningRate / before.learningRate);
  });
  return slopes.indexOf(Math.min(...slopes));
}
