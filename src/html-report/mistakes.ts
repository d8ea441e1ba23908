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
  const wrong = findMistakes(outcomes).slice(0, limits.mistakes);
  const pixels = await Promise.all(wrong.map(({ path }) => readPixels(path, labelled.card)));
  const mapped = wrong
    .map(({ answer }, index) => ({ index, answer, pixels: pixels[index] }))
    .filter((one): one is Mapped => one.pixels !== undefined && one.index < limits.maps);
  const gradCams = await drawGradCams(labelled, mapped);
  const shown: Mistake[] = [];
  for (const [index, { answer, ...mistake }] of wrong.entries()) {
    const own = pixels[index];
    // An image that can no longer be read has no picture; everything else is told nevertheless.
    if (!own) {
      shown.push(mistake);
      continue;
    }
    const picture = await drawPicture(own, labelled.card.preprocessing.size);
    const gradCam = gradCams.get(index);
    const isOccluded = !gradCam && index < limits.maps && index < limits.occlusionMaps;
    shown.push({
      ...{ ...mistake, picture },
      ...(gradCam ? { gradCam } : {}),
      ...(isOccluded ? { occlusion: await drawDrops(labelled, own, answer) } : {}),
    });
  }
  return shown;
}

/** Undefined for an image that cannot be read. */
async function readPixels(path: string, { preprocessing }: ModelCard): Promise<Uint8Array | undefined> {
  try {
    return (await loadImages([path], preprocessing)).data;
  } catch {
    return undefined;
  }
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

/** What a network without a map of features before its head refuses Grad-CAM with. */
const withoutMap = ['NO_HEAD', 'MODEL_FAILED', 'MODEL_FROZEN'];

/** An image that is to get a map. */
interface Mapped {
  index: number;
  answer: number;
  pixels: Uint8Array;
}

/** Images a forward: the network is readied for maps once for all of them. */
const mapsAtOnce = 8;

/** By index; none where the network has no map of features before its head, or one of a single place, which tells nothing. */
async function drawGradCams(
  labelled: { model: Model; card: ModelCard },
  images: readonly Mapped[],
): Promise<Map<number, GradCamPicture>> {
  const drawn = new Map<number, GradCamPicture>();
  const { size } = labelled.card.preprocessing;
  for (let from = 0; from < images.length; from += mapsAtOnce) {
    const some = images.slice(from, from + mapsAtOnce);
    for (const [at, map] of (await explainAll(labelled, some)).entries()) {
      if (map.values.length < 2) return drawn;
      const { index, pixels } = some[at] as Mapped;
      const picture = await drawGlow(pixels, size, map);
      drawn.set(index, { picture, empty: map.values.every((value) => value === 0) });
    }
  }
  return drawn;
}

async function explainAll(
  labelled: { model: Model; card: ModelCard },
  images: readonly Mapped[],
): Promise<GradCamMap[]> {
  const answers = Int32Array.from(images, ({ answer }) => answer);
  try {
    return await explain(labelled, concatenateBytes(images), images.length, answers);
  } catch (error) {
    if (isTorchgraftError(error) && withoutMap.includes(error.code)) return [];
    throw error;
  }
}

function concatenateBytes(images: readonly Mapped[]): Uint8Array {
  const bytes = images[0]?.pixels.length ?? 0;
  const all = new Uint8Array(images.length * bytes);
  for (const [at, { pixels }] of images.entries()) all.set(pixels, at * bytes);
  return all;
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
