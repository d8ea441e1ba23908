import { type ProbeMetric, pairedDifference, type Said } from './interval.js';

/**
 * The place of each of several classifiers on the same images: 1 more than how many are surely better than it by the metric,
 * that is whose 95 % interval of the paired difference lies above 0. So those that the images cannot tell apart share a place.
 *
 * @param labels true classes of the images, [n]
 */
export function placesOf(
  classifiers: readonly Said[],
  labels: Int32Array,
  { classes, metric, seed }: { classes: number; metric: ProbeMetric; seed: number },
): number[] {
  return classifiers.map((second) => {
    const better = classifiers.filter(
      (first) =>
        first !== second && pairedDifference({ first, second, labels, classes }, metric, seed).low > 0,
    );
    return 1 + better.length;
  });
}
