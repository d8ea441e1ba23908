import type { ModelCard } from '../card.js';
import { loadImages } from '../data/images.js';
import { isTorchgraftError } from '../errors.js';
import { explain, type GradCamMap } from '../grad-cam.js';
import { classify } from '../labelled-model.js';
import type { Model } from '../model.js';
import { type Outcomes, softmax } from '../outcomes.js';
import { argmax } from '../ranking.js';

import type { GradCamPicture, Mistake, OcclusionMap } from './content.js';
import { occlude } from './occlusion.js';
import { drawGlow, drawOcclusion, drawPicture } from './pictures.js';

interface Wrong extends Omit<Mistake, 'picture' | 'gradCam' | 'occlusion'> {
  /** Index of the predicted class. */
  answer: number;
}

/**
 * The most confident wrong answers with their pictures.
 *
 * @param limits `mistakes`: how many; `maps`: how many of the first get a map; `occlusionMaps`: how many at most where that takes
 *   occlusion, 50 forwards each
 */
export async function showMistakes(
  labelled: { model: Model; card: ModelCard },
  outcomes: Outcomes,
  limits: { mistakes: number; maps: number; occlusionMaps: number },
): Promise<Mistake[]> {
  const shown: Mistake[] = [];
  for (const [index, wrong] of findMistakes(outcomes).slice(0, limits.mistakes).entries()) {
    shown.push(
      await show(labelled, wrong, { maps: index < limits.maps, occlusion: index < limits.occlusionMaps }),
    );
  }
  return shown;
}

/** All wrong answers, the most confident first. */
export function findMistakes({ classes, labels, probabilities, paths }: Outcomes): Wrong[] {
  const wrong: Wrong[] = [];
  for (const [row, label] of labels.entries()) {
    const shares = probabilities.subarray(row * classes.length, (row + 1) * classes.length);
    const answer = argmax(shares);
    if (answer === label) continue;
    wrong.push({
      path: paths[row] as string,
      truth: classes[label] as string,
      predicted: classes[answer] as string,
      answer,
      confidence: shares[answer] as number,
      truthProbability: shares[label] as number,
    });
  }
  return wrong.sort((a, b) => b.confidence - a.confidence);
}

/** An image that can no longer be read has no picture; everything else is told nevertheless. */
async function show(
  labelled: { model: Model; card: ModelCard },
  { answer, ...mistake }: Wrong,
  is: { maps: boolean; occlusion: boolean },
): Promise<Mistake> {
  const { preprocessing } = labelled.card;
  const pixels = await loadImages([mistake.path], preprocessing).then(
    ({ data }) => data,
    () => undefined,
  );
  if (!pixels) return mistake;
  const picture = await drawPicture(pixels, preprocessing.size);
  if (!is.maps) return { ...mistake, picture };
  const gradCam = await drawGradCam(labelled, pixels, answer);
  if (gradCam) return { ...mistake, picture, gradCam };
  if (!is.occlusion) return { ...mistake, picture };
  return { ...mistake, picture, occlusion: await drawDrops(labelled, pixels, answer) };
}

/** What a network without a map of features before its head refuses Grad-CAM with. */
const withoutMap = ['NO_HEAD', 'MODEL_FAILED', 'MODEL_FROZEN'];

/** Undefined where the network has no map of features before its head, or one of a single place, which tells nothing. */
async function drawGradCam(
  labelled: { model: Model; card: ModelCard },
  pixels: Uint8Array,
  answer: number,
): Promise<GradCamPicture | undefined> {
  let map: GradCamMap;
  try {
    [map] = (await explain(labelled, pixels, 1, Int32Array.of(answer))) as [GradCamMap];
  } catch (error) {
    if (isTorchgraftError(error) && withoutMap.includes(error.code)) return undefined;
    throw error;
  }
  if (map.values.length < 2) return undefined;
  const picture = await drawGlow(pixels, labelled.card.preprocessing.size, map);
  return { picture, empty: map.values.every((value) => value === 0) };
}

async function drawDrops(
  labelled: { model: Model; card: ModelCard },
  pixels: Uint8Array,
  answer: number,
): Promise<OcclusionMap> {
  const { preprocessing, classes } = labelled.card;
  const { size } = preprocessing;
  const fill = preprocessing.mean.map((value) => Math.round(value * 255)) as [number, number, number];
  const map = await occlude(pixels, size, fill, async (images, count) => {
    const shares = softmax(await classify(labelled, images, count), classes.length);
    return Float32Array.from({ length: count }, (_, row) => shares[row * classes.length + answer] as number);
  });
  const largestDrop = map.drops.reduce((most, drop) => Math.max(most, drop), 0);
  return { picture: await drawOcclusion(pixels, size, map), largestDrop };
}
