import { type GreyImage, type Window, whole } from './grey-image.js';
import { detailOf, likeness, sides } from './likeness.js';

/** How far a window is moved first, in shares of the image's side. */
const moves = [-0.05, 0, 0.05];
/** Likeness after that from which its edges are moved too. A copy has more, and few others have. */
const likely = 0.5;
/** How far its edges are moved, again and again while that helps. */
const edgeSteps = [0.03, 0.015];
const mostRounds = 4;
/** A part of an image that is smaller than this is no window of it. */
const smallest = 0.25;

/** A window of each of two images, the second mirrored or not. */
export interface Placement {
  first: Window;
  second: Window;
  mirrored: boolean;
}

/**
 * The likeness of two images where a window of the one fits the other best, by moving the window and then its edges: a hash
 * only says about where a copy was cropped. 0 where the moves promise nothing.
 */
export function bestLikeness(first: GreyImage, second: GreyImage, begin: Placement): number {
  const { mirrored } = begin;
  const movesFirst = begin.second === whole;
  const moving = (window: Window, side: number) =>
    movesFirst ? detailOf(first, window, false, side) : detailOf(second, window, mirrored, side);
  const still = (side: number) =>
    movesFirst ? detailOf(second, begin.second, mirrored, side) : detailOf(first, begin.first, false, side);
  const coarse = still(sides.coarse);
  const climb = new Climb(movesFirst ? begin.first : begin.second, (window) =>
    likeness(coarse, moving(window, sides.coarse)),
  );
  climb.move();
  if (climb.best < likely) return 0;
  climb.moveEdges();
  return likeness(still(sides.fine), moving(climb.window, sides.fine));
}

/** Looks for the window with the largest value. */
class Climb {
  readonly #value: (window: Window) => number;
  window: Window;
  best: number;

  constructor(begin: Window, value: (window: Window) => number) {
    this.#value = value;
    this.window = begin;
    this.best = value(begin);
  }

  move(): void {
    const begin = this.window;
    for (const x of moves)
      for (const y of moves) if (x !== 0 || y !== 0) this.#attempt(within(begin, [x, y, x, y]));
  }

  moveEdges(): void {
    for (const step of edgeSteps) {
      let round = 0;
      while (this.#moveEach(step) && round < mostRounds) round += 1;
    }
  }

  #moveEach(step: number): boolean {
    let helped = false;
    for (const by of [-step, step]) {
      helped = this.#attempt(within(this.window, [by, 0, 0, 0])) || helped;
      helped = this.#attempt(within(this.window, [0, by, 0, 0])) || helped;
      helped = this.#attempt(within(this.window, [0, 0, by, 0])) || helped;
      helped = this.#attempt(within(this.window, [0, 0, 0, by])) || helped;
    }
    return helped;
  }

  #attempt(window: Window): boolean {
    const [left, top, right, bottom] = window;
    if (right - left < smallest || bottom - top < smallest) return false;
    if (window.every((value, at) => value === this.window[at])) return false;
    const found = this.#value(window);
    if (found <= this.best + 1e-3) return false;
    [this.best, this.window] = [found, window];
    return true;
  }
}

function within([left, top, right, bottom]: Window, [a, b, c, d]: Window): Window {
  return [Math.max(0, left + a), Math.max(0, top + b), Math.min(1, right + c), Math.min(1, bottom + d)];
}
