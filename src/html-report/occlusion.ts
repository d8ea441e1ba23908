import type { Plan } from '../native.js';

/** Places on each side at which the patch stands. */
const gridSide = 7;
/** Side of the patch in cells of the grid: neighbours overlap, so that a thing on a border is covered whole once. */
const patchCells = 2;

/** Forwards for one map: every place, and the image itself. */
const forwards = gridSide ** 2 + 1;

/** How much each place of an image matters for a class. */
export interface Occlusion {
  /** Cells on each side. */
  side: number;
  /** Probability that the class loses when the patch covers the place, never below 0; row-major [side, side]. */
  drops: Float32Array;
}

/**
 * Occlusion sensitivity (Zeiler and Fergus 2014): a patch of the mean colour is moved over the image.
 *
 * @param pixels RGB [size, size, 3]
 * @param fill the patch's colour, 0 to 255: the mean that preprocessing makes 0
 * @param classify probabilities of one class for images [n, size, size, 3]
 */
export async function occlude(
  pixels: Uint8Array,
  size: number,
  fill: readonly [number, number, number],
  classify: (images: Uint8Array, count: number) => Promise<Float32Array>,
): Promise<Occlusion> {
  const images = new Uint8Array(pixels.length * forwards);
  for (let image = 0; image < forwards; image++) images.set(pixels, image * pixels.length);
  for (let place = 0; place < gridSide ** 2; place++) {
    const target = images.subarray((place + 1) * pixels.length, (place + 2) * pixels.length);
    cover(target, size, fill, Math.floor(place / gridSide), place % gridSide);
  }
  const [whole = 0, ...covered] = await classify(images, forwards);
  return {
    side: gridSide,
    drops: Float32Array.from(covered, (probability) => Math.max(0, whole - probability)),
  };
}

/** Paints the patch around the middle of a cell. */
function cover(
  image: Uint8Array,
  size: number,
  fill: readonly [number, number, number],
  row: number,
  column: number,
): void {
  const cell = size / gridSide;
  const span = (index: number) => {
    const middle = (index + 0.5) * cell;
    const half = (patchCells / 2) * cell;
    return [Math.max(0, Math.round(middle - half)), Math.min(size, Math.round(middle + half))] as const;
  };
  const [top, bottom] = span(row);
  const [left, right] = span(column);
  for (let y = top; y < bottom; y++) {
    for (let x = left; x < right; x++) image.set(fill, (y * size + x) * 3);
  }
}

/** Floating-point operations that the maps of a report may take: some seconds on two processors. */
const occlusionFlops = 1.5e11;

/** How many images get a map: as many as take some seconds, by the model's arithmetic, so that no clock decides. */
export function affordableMaps(plan: Pick<Plan, 'totalFlops'> | undefined, wanted: number): number {
  const flops = plan && plan.totalFlops > 0 ? plan.totalFlops : 1e9;
  return Math.min(wanted, Math.max(2, Math.floor(occlusionFlops / (flops * forwards))));
}
