import type { ImageDataset, Sample } from '../data/dataset.js';
import type { Model } from '../model.js';
import { type ExtractOptions, extractFeatures, type FeatureSplit, type Features } from '../probe/features.js';
import { scoresOf } from '../probe/linear.js';
import type { LinearMap } from '../probe/linear-file.js';
import { bestScale, softmaxRows } from '../probe/probabilities.js';
import { matrixOf, probeResult } from '../probe/result.js';
import { type Evidence, type Judged, selfCertain, type TargetFigures } from './decide.js';
import type { DomainMethod } from './options.js';
import {
  agreementsOfEach,
  densities,
  entropies,
  informationOfEach,
  meanEntropy,
  mutualInformation,
  predictedShares,
  softNeighbourhoodDensity,
  totalVariation,
} from './validators.js';

/** Held-out images by which density is measured, at most: it takes their square. */
const mostNeighbours = 1000;

/** A classifier for the target. */
export interface Adapted {
  method: DomainMethod;
  /** On the features of `target`. */
  map: LinearMap;
  /** The target as this method's network sees it. */
  target: Features;
  /** The source's validation images as its classifier sees them, [n, d], and the classifier there. */
  source: { val: FeatureSplit; map: LinearMap };
  /** The network, where it is another; whoever holds this disposes it. */
  copy?: Model;
  seconds: number;
}

/** The most that scores are multiplied by: where all of the source's validation images are right there is no best scale. */
const mostScale = 10;

/**
 * The figures of the methods: on the source with its labels, on held-out target images without. The probabilities there are
 * calibrated on the source first (one temperature; Guo et al. 2017): a classifier that was only trained for longer is
 * surer of everything, which says nothing about the target.
 */
export async function judgeMethods(adapted: readonly Adapted[], source: Features): Promise<Judged[]> {
  const classes = source.classes.length;
  const said: Predicted[] = [];
  for (const each of adapted) said.push(await predictBoth(each, source));
  const probabilitiesOfAll = said.map(({ probabilities }) => probabilities);
  const agreements = agreementsOfEach(probabilitiesOfAll, classes, votersOf(said, classes));
  const shares = sharesOf(source);
  return said.map(({ probabilities, source: scores, method }, at) => {
    const agreement = agreements[at] as Float64Array;
    return {
      figures: { method, source: scores, target: figuresOf(probabilities, classes, shares, agreement) },
      evidence: { ...evidenceOf(probabilities, classes), agreement },
    };
  });
}

/**
 * Those whose predictions depend on the image: one that has collapsed says one class of all, and a few of them would outvote the
 * others. Collapsed has half the mutual information of the best that does not train on its own certainty, or less.
 */
export function votersOf(
  said: readonly Pick<Predicted, 'method' | 'probabilities'>[],
  classes: number,
): Float32Array[] {
  const information = said.map(({ probabilities }) => mutualInformation(probabilities, classes));
  const most = Math.max(
    ...information.filter((_, at) => !selfCertain.includes(said[at]?.method as DomainMethod)),
  );
  return said.flatMap(({ probabilities }, at) =>
    (information[at] as number) > most / 2 ? [probabilities] : [],
  );
}

/** What a method says: of the source's validation images, and of held-out target images, [n, classes]. */
interface Predicted {
  method: DomainMethod;
  source: { accuracy: number; macroF1: number };
  probabilities: Float32Array;
}

async function predictBoth(
  { method, map, target, source: { val, map: sourceMap } }: Adapted,
  source: Features,
): Promise<Predicted> {
  const classes = source.classes.length;
  const scores = await scoresOf(sourceMap, matrixOf(val));
  const { accuracy, macro } = probeResult('', { ...source, val }, softmaxRows(scores, classes)).metrics;
  const best = bestScale(scores, val.labels, classes);
  const scale = Math.min(mostScale, Math.max(1 / mostScale, best));
  const probabilities = softmaxRows(await scoresOf(map, matrixOf(target.val)), classes, scale);
  return { method, source: { accuracy, macroF1: macro.f1 }, probabilities };
}

/** Of the training images, by class. */
function sharesOf({ classes, train: { labels } }: Features): number[] {
  const counts = new Array<number>(classes.length).fill(0);
  for (const label of labels) counts[label] = (counts[label] ?? 0) + 1;
  return counts.map((count) => count / labels.length);
}

function evidenceOf(probabilities: Float32Array, classes: number): Omit<Evidence, 'agreement'> {
  return {
    information: informationOfEach(probabilities, classes),
    entropy: entropies(probabilities, classes),
    density: densities(probabilities.subarray(0, mostNeighbours * classes), classes),
  };
}

/** Accuracy and macro F1 of each method on labelled target images, in the order given. For reports: nothing is chosen by it. */
export async function scoreLabelled(
  adapted: readonly Adapted[],
  model: Model,
  { source, samples, extracting }: { source: ImageDataset; samples: Sample[]; extracting: ExtractOptions },
): Promise<{ accuracy: number; macroF1: number }[]> {
  const data = { ...source, splits: { train: samples, val: [] } };
  const plain = await extractFeatures(model, data, extracting);
  const scores: { accuracy: number; macroF1: number }[] = [];
  for (const { map, copy } of adapted) {
    const features = copy ? await extractFeatures(copy, data, extracting) : plain;
    const { accuracy, macro } = await scoreSplit(map, features, features.train);
    scores.push({ accuracy, macroF1: macro.f1 });
  }
  return scores;
}

/** Softmax of a map's scores, [n, classes]. */
export async function probabilitiesOf(
  map: LinearMap,
  split: FeatureSplit,
  classes: number,
): Promise<Float32Array> {
  return softmaxRows(await scoresOf(map, matrixOf(split)), classes);
}

async function scoreSplit(map: LinearMap, features: Features, split: FeatureSplit) {
  const probabilities = await probabilitiesOf(map, split, features.classes.length);
  return probeResult('', { ...features, val: split }, probabilities).metrics;
}

function figuresOf(
  probabilities: Float32Array,
  classes: number,
  sourceShares: number[],
  agreement: Float64Array,
): TargetFigures {
  const shares = predictedShares(probabilities, classes);
  return {
    entropy: meanEntropy(probabilities, classes),
    density: softNeighbourhoodDensity(probabilities.subarray(0, mostNeighbours * classes), classes),
    information: mutualInformation(probabilities, classes),
    agreement: agreement.reduce((sum, one) => sum + one, 0) / agreement.length,
    shares,
    shareDistance: totalVariation(shares, sourceShares),
  };
}
