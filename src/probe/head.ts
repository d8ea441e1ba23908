import { invalidType, invalidValue, TorchgraftError } from '../errors.js';
import type { Model } from '../model.js';
import type { HeadDescription } from '../native.js';
import { callNative } from '../native-call.js';
import { versions } from '../versions.js';
import type { Features } from './features.js';
import { type HeadProof, headDeviation, headProof, headTolerance } from './head-proof.js';
import { scoresOf } from './linear.js';
import type { LinearMap } from './linear-file.js';
import { softmaxRows } from './probabilities.js';
import { matrixOf, type ProbeResult } from './result.js';

/**
 * Writes a linear probe into the model's head, which gets as many outputs as there are classes; `save` then writes an
 * ordinary classifier with classes and preprocessing, and `fineTune` goes on from it. Proven on up to 16 validation
 * images; where the model's probabilities are not the probe's, it is as it was.
 *
 * @param probe of nearestMeanProbe (euclidean), ridgeProbe or logisticProbe
 * @throws INVALID_VALUE for a probe that is not linear, NO_HEAD for a head that cannot hold it (no bias, a larger kernel),
 * MODEL_FAILED where the features are another model's, or the head is followed by more than a ReLU and an average, SHAPE_MISMATCH, BUSY, DISPOSED
 */
export async function writeHead(model: Model, features: Features, probe: ProbeResult): Promise<void> {
  if (typeof model?.replaceHead !== 'function')
    throw invalidType('writeHead: expected a Model from loadModel.');
  const { linear } = probe;
  if (!linear) {
    throw invalidValue(
      `writeHead: ${probe.name} is not linear. Take nearestMeanProbe (euclidean), ridgeProbe or logisticProbe.`,
    );
  }
  await model.withHead(features.layer, () => write(model, features, probe, linear));
}

async function write(model: Model, features: Features, probe: ProbeResult, linear: LinearMap): Promise<void> {
  const { size } = features.preprocessing;
  await checkProbe(features, probe, linear);
  const before = { ...(await readHead(model, 'writeHead')), trainable: model.trainable };
  const proof = await headProof(model, features);
  if (proof.isOfAnother) {
    throw new TorchgraftError(
      'MODEL_FAILED',
      `writeHead: these are features of another model than ${model.origin.name}. Extract those of this one.`,
    );
  }
  const { module, outFeatures } = before.head;
  const given = { layer: module, imageSize: size };
  await model.replaceHead({ ...given, classes: probe.classes.length });
  try {
    await setProven(model, before.head, proof, probe, linear);
  } catch (error) {
    await model.replaceHead({ ...given, classes: outFeatures });
    await setHead(model, before.head, before.map);
    await model.setTrainable(before.trainable);
    throw error;
  }
  model.card = {
    format: 1,
    classes: [...probe.classes],
    preprocessing: features.preprocessing,
    provenance: {
      source: model.origin,
      ...(model.card ? { before: model.card.provenance } : {}),
      data: features.data,
      probe: probe.name,
      versions: versions(),
      date: new Date().toISOString(),
    },
    metrics: { validation: probe.metrics },
  };
}

/** @throws MODEL_FAILED where the probe's probabilities are not those of its linear map on these features */
async function checkProbe(
  { val }: Features,
  { name, classes, probabilities }: ProbeResult,
  linear: LinearMap,
): Promise<void> {
  const fits =
    linear.weight.length === linear.bias.length * val.shape[1] &&
    probabilities.length === val.paths.length * classes.length;
  const own = fits ? softmaxRows(await scoresOf(linear, matrixOf(val)), classes.length) : new Float32Array(0);
  if (fits && own.every((value, at) => Math.abs(value - (probabilities[at] as number)) <= headTolerance))
    return;
  throw new TorchgraftError(
    'MODEL_FAILED',
    `writeHead: ${name} is a probe of other features than these. Give it the features that it was fitted on.`,
  );
}

/**
 * The one Linear, or convolution of one pixel, that classifies, with its weights.
 *
 * @param where opens the message
 * @throws NO_HEAD where there is none, or one that a linear map with bias cannot be written into
 */
export async function readHead(
  model: Model,
  where: string,
): Promise<{ head: HeadDescription; map: LinearMap }> {
  const { heads, headProblem } = await model.summary();
  const [head, other] = heads.filter(({ role }) => role === 'main');
  const refuse = (why: string) => new TorchgraftError('NO_HEAD', `${where}: ${model.origin.name} ${why}`);
  if (!head) throw refuse(`has no head. ${headProblem}`);
  if (other) {
    throw refuse(
      `has several heads, \`${head.module}\` and \`${other.module}\`, whose outputs are put together; a probe is one. Use fineTune.`,
    );
  }
  if (heads.length > 1) throw refuse('has auxiliary heads, which a probe does not know. Use fineTune.');
  if (!head.hasBias) throw refuse(`has a head without bias, \`${head.module}\`. Use fineTune.`);
  const [weight, bias] = await callNative(() => model.native.values(namesOf(head)));
  const map = { weight: weight?.data as Float32Array, bias: bias?.data as Float32Array };
  if (weight?.dtype !== 'float32') throw refuse('has a head that is not float32.');
  if (map.weight.length !== head.outFeatures * head.inFeatures) {
    throw refuse(`has a convolution of more than one pixel as head, \`${head.module}\`. Use fineTune.`);
  }
  return { head, map };
}

function namesOf({ module }: HeadDescription): string[] {
  return ['weight', 'bias'].map((name) => (module === '' ? name : `${module}.${name}`));
}

async function setHead(model: Model, head: HeadDescription, { weight, bias }: LinearMap): Promise<void> {
  const kernel = head.kind === 'conv2d' ? [1, 1] : [];
  await callNative(() =>
    model.native.setValues(namesOf(head), [
      { data: weight, shape: [bias.length, weight.length / bias.length, ...kernel], dtype: 'float32' },
      { data: bias, shape: [bias.length], dtype: 'float32' },
    ]),
  );
}

/**
 * An activation behind the head, as SqueezeNet's ReLU, changes nothing where all scores are far above 0, and adding the same
 * to all classes changes no probability.
 */
const lifts = [0, 1024];

async function setProven(
  model: Model,
  head: HeadDescription,
  proof: HeadProof,
  { name }: ProbeResult,
  linear: LinearMap,
): Promise<void> {
  let deviation = 0;
  for (const lift of lifts) {
    await setHead(model, head, { ...linear, bias: linear.bias.map((value) => value + lift) });
    deviation = await headDeviation(model, proof, linear);
    if (deviation <= headTolerance) return;
  }
  throw new TorchgraftError(
    'MODEL_FAILED',
    `writeHead: with ${name} as its head, ${model.origin.name} gives probabilities that differ from the probe's by up to ` +
      `${deviation.toFixed(3)}. Something that is not linear follows its head: use fineTune with strategy \`head\`.`,
  );
}
