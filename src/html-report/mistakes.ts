import type { ModelCard } from '../card.js';
import { loadImages } from '../data/images.js';
import { classify } from '../labelled-model.js';
import type { Model } from '../model.js';
import { type Outcomes, softmax } from '../outcomes.js';
import { argmax } from '../ranking.js';

import type { Mistake } from './content.js';
import { occlude } from './occlusion.js';
import { drawOcclusion, drawPicture } from './pictures.js';

interface Wrong extends Omit<Mistake, 'picture' | 'occlusion'> {
  /** Index of the predicted class. */
  answer: number;
}

/**
 * The most confident wrong answers with their pictures.
 *
 * @param limits `mistakes`: how many; `maps`: how many of the first get an occlusion map
 */
export async function showMistakes(
  labelled: { model: Model; card: ModelCard },
  outcomes: Outcomes,
  limits: { mistakes: number; maps: number },
): Promise<Mistake[]> {
  const shown: Mistake[] = [];
  for (const [index, wrong] of findMistakes(outcomes).slice(0, limits.mistakes).entries()) {
    shown.push(await show(labelled, wrong, index < limits.maps));
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
  isMapped: boolean,
): Promise<Mistake> {
  const { preprocessing, classes } = labelled.card;
  const { size } = preprocessing;
  const pixels = await loadImages([mistake.path], preprocessing).then(
    ({ data }) => data,
    () => undefined,
  );
  if (!pixels) return mistake;
  const picture = await drawPicture(pixels, size);
  if (!isMapped) return { ...mistake, picture };
  const fill = preprocessing.mean.map((value) => Math.round(value * 255)) as [number, number, number];
  const map = await occlude(pixels, size, fill, async (images, count) => {
    const shares = softmax(await classify(labelled, images, count), classes.length);
    return Float32Array.from({ length: count }, (_, row) => shares[row * classes.length + answer] as number);
  });
  const largestDrop = map.drops.reduce((most, drop) => Math.max(most, drop), 0);
  return { ...mistake, picture, occlusion: { picture: await drawOcclusion(pixels, size, map), largestDrop } };
}
