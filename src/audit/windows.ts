import { type Window, whole } from './grey-image.js';

/** Sides of the crops that are looked for, in shares of the image's. */
const scales = [0.95, 0.9, 0.85];

/** Crops of an image: each size from the centre, and the smaller ones from the corners too. */
export const crops: readonly Window[] = scales.flatMap((scale): Window[] => {
  const rest = 1 - scale;
  const places: [number, number][] = [[rest / 2, rest / 2]];
  // A corner of the largest is next to its centre.
  if (scale < 0.95) places.push([0, 0], [rest, 0], [0, rest], [rest, rest]);
  return places.map(([left, top]) => [left, top, left + scale, top + scale]);
});

/** Grey levels that one colour may vary by, after JPEG's rounding. */
const even = 10;
/** Most of an image that is taken for a border, on each side. */
const widest = 0.3;

/**
 * The window inside a border of one colour, as padding leaves it; undefined where there is none.
 *
 * @param pixels grey, [side, side]
 */
export function insideBorder(pixels: ArrayLike<number>, side: number): Window | undefined {
  const most = Math.floor(widest * side);
  const depth = (at: (line: number, along: number) => number) => {
    const colour = at(0, 0);
    let line = 0;
    while (line < most && isEven((along) => at(line, along), side, colour)) line += 1;
    // Where the border ends within a line of pixels, that line is of both.
    return line === 0 ? 0 : line + 1;
  };
  const pixel = (row: number, column: number) => pixels[row * side + column] as number;
  const left = depth((line, along) => pixel(along, line));
  const right = depth((line, along) => pixel(along, side - 1 - line));
  const top = depth((line, along) => pixel(line, along));
  const bottom = depth((line, along) => pixel(side - 1 - line, along));
  if (left + right + top + bottom === 0) return undefined;
  return [left / side, top / side, 1 - right / side, 1 - bottom / side];
}

function isEven(at: (along: number) => number, length: number, colour: number): boolean {
  for (let along = 0; along < length; along++) if (Math.abs(at(along) - colour) > even) return false;
  return true;
}

/** Windows of an image that stand for the whole of it: all of it, and what is inside its border. */
export function plainWindows(inside: Window | undefined): Window[] {
  return inside ? [whole, inside] : [whole];
}
