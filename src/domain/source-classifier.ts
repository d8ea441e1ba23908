import type { Model } from '../model.js';
import { callNative } from '../native-call.js';
import type { Features } from '../probe/features.js';
import { readHead } from '../probe/head.js';
import { headDeviation, headProof, headTolerance } from '../probe/head-proof.js';
import type { LinearMap } from '../probe/linear-file.js';
import { quickProbe } from '../probe/quick.js';
import { unstandardise } from '../probe/standardise.js';

/** The classifier of the source that adaptation begins from, linear in the features. */
export interface SourceClassifier {
  map: LinearMap;
  /** It is the model's own head: nothing needs to be written where it stays. */
  isOwnHead: boolean;
  /** What a person should know of it; '' for nothing. */
  notice: string;
}

/**
 * The model's own head where the model was trained for these classes and its scores are linear in the features (proven on
 * validation images), else a logistic regression on the source's training images.
 */
export async function sourceClassifier(
  model: Model,
  features: Features,
  options: { seed: number; signal?: AbortSignal | undefined },
): Promise<SourceClassifier> {
  const known = model.card?.classes.join('\n') === features.classes.join('\n');
  if (known) {
    const map = await ownHead(model, features.train.shape[1]);
    const deviation = await headDeviation(model, await headProof(model, features), map);
    if (deviation <= headTolerance) return { map, isOwnHead: true, notice: '' };
  }
  const { linear, name } = await quickProbe(features, options);
  const why = known
    ? 'Something that is not linear follows the head of this model'
    : 'This model has no head for these classes';
  return {
    map: linear as LinearMap,
    isOwnHead: false,
    notice: `${why}: the source's classifier is ${name}.`,
  };
}

/** Weights of the head, with the standardisation before it folded into them. */
async function ownHead(model: Model, columns: number): Promise<LinearMap> {
  const { map } = await readHead(model, 'adaptDomain');
  const { buffers } = await model.summary();
  const [mean, std] = ['mean', 'std'].map(
    (part) => buffers.find(({ name }) => new RegExp(`(^|\\.)standardiser_*\\.${part}$`).test(name))?.name,
  );
  if (!mean || !std) return map;
  const [first, second] = await callNative(() => model.native.values([mean, std]));
  if (first?.data.length !== columns) return map;
  return unstandardise(map, {
    mean: Float64Array.from(first.data as Float32Array),
    std: Float64Array.from(second?.data as Float32Array),
  });
}
