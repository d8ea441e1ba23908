/** What can be said of predictions without labels. All take probabilities [n, classes], row-major. */

/** Temperature of soft neighbourhood density, as in its authors' code. */
const sndTemperature = 0.05;

/** Entropy of a distribution in nats; 0 log 0 is 0. */
function entropyOf(values: ArrayLike<number>, from = 0, to = values.length): number {
  let sum = 0;
  for (let i = from; i < to; i++) {
    const value = values[i] as number;
    if (value > 0) sum -= value * Math.log(value);
  }
  return sum;
}

/** Entropy of each row, nats. */
export function entropies(probabilities: Float32Array, classes: number): Float64Array {
  return Float64Array.from({ length: probabilities.length / classes }, (_, row) =>
    entropyOf(probabilities, row * classes, (row + 1) * classes),
  );
}

/** Mean entropy of the rows, nats: 0 where every prediction is certain, log(classes) where none says anything. */
export function meanEntropy(probabilities: Float32Array, classes: number): number {
  return meanOf(entropies(probabilities, classes));
}

function meanOf(values: Float64Array): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Mean probability of each class: the shares that are predicted. */
export function predictedShares(probabilities: Float32Array, classes: number): number[] {
  const shares = new Array<number>(classes).fill(0);
  for (const [at, value] of probabilities.entries()) {
    shares[at % classes] = (shares[at % classes] as number) + value;
  }
  return shares.map((sum) => (sum * classes) / probabilities.length);
}

/**
 * Mutual information of image and predicted class, nats: entropy of the shares less mean entropy (Krause et al.,
 * Discriminative Clustering by Regularized Information Maximization, 2010). Predictions that are certain are worth nothing
 * where all say the same.
 */
export function mutualInformation(probabilities: Float32Array, classes: number): number {
  return entropyOf(predictedShares(probabilities, classes)) - meanEntropy(probabilities, classes);
}

/**
 * What each image adds to the mutual information, nats: the Kullback-Leibler divergence of its prediction from the shares.
 * Its mean is the mutual information, and as the shares are the mean prediction, it is also its influence to first order.
 */
export function informationOfEach(probabilities: Float32Array, classes: number): Float64Array {
  const shares = predictedShares(probabilities, classes);
  return entropies(probabilities, classes).map((entropy, row) => {
    let cross = 0;
    for (let i = 0; i < classes; i++) {
      const value = probabilities[row * classes + i] as number;
      if (value > 0) cross -= value * Math.log(shares[i] as number);
    }
    return cross - entropy;
  });
}

/**
 * Soft neighbourhood density (Saito et al., Tune it the Right Way, 2021), nats: the mean entropy of each image's softmax
 * over its cosine similarities to all others, of the predictions, at temperature 0.05. The higher, the denser are the
 * clusters. It cannot tell a collapse: all predictions equal give the largest, log(n - 1). Takes n^2 time; 2 images or more.
 */
export function softNeighbourhoodDensity(probabilities: Float32Array, classes: number): number {
  return meanOf(densities(probabilities, classes));
}

/** The soft neighbourhood density of each image among all, nats. */
export function densities(probabilities: Float32Array, classes: number): Float64Array {
  const count = probabilities.length / classes;
  const unit = Float64Array.from(probabilities);
  for (let from = 0; from < unit.length; from += classes) {
    const length = Math.hypot(...unit.subarray(from, from + classes));
    for (let i = from; i < from + classes; i++) unit[i] = (unit[i] as number) / length;
  }
  const row = new Float64Array(count);
  const found = new Float64Array(count);
  for (let own = 0; own < count; own++) {
    let total = 0;
    for (let other = 0; other < count; other++) {
      let cosine = 0;
      for (let i = 0; i < classes; i++) {
        cosine += (unit[own * classes + i] as number) * (unit[other * classes + i] as number);
      }
      // The largest cosine is 1, so that no exponent is above 0; the image itself is none of its neighbours.
      row[other] = other === own ? 0 : Math.exp((cosine - 1) / sndTemperature);
      total += row[other] as number;
    }
    for (let other = 0; other < count; other++) row[other] = (row[other] as number) / total;
    found[own] = entropyOf(row);
  }
  return found;
}

/**
 * By method and image, 1 where the method's most probable class is that of the ensemble, the mean of the voters'
 * probabilities, else 0. An ensemble errs less than most of its members (Lakshminarayanan et al., Deep Ensembles, 2017), and
 * its answers take the place of labels; how sure a method is of itself counts for little.
 */
export function agreementsOfEach(
  all: readonly Float32Array[],
  classes: number,
  voters: readonly Float32Array[] = all,
): Float64Array[] {
  const [first] = voters;
  if (!first) return [];
  const together = Float64Array.from(first, (_, at) =>
    voters.reduce((sum, own) => sum + (own[at] as number), 0),
  );
  const answers = bestOfRows(together, classes);
  return all.map((own) => {
    const said = bestOfRows(own, classes);
    return Float64Array.from(answers, (answer, row) => (said[row] === answer ? 1 : 0));
  });
}

function bestOfRows(values: Float32Array | Float64Array, classes: number): Int32Array {
  return Int32Array.from({ length: values.length / classes }, (_, row) => {
    const own = values.subarray(row * classes, (row + 1) * classes);
    return own.indexOf(Math.max(...own));
  });
}

/** Total variation of two distributions: 0 where they are equal, 1 where they have nothing in common. */
export function totalVariation(first: readonly number[], second: readonly number[]): number {
  return first.reduce((sum, value, i) => sum + Math.abs(value - (second[i] as number)), 0) / 2;
}
