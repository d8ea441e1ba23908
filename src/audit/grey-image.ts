/** A part of an image, in shares of its width and height: `[left, top, right, bottom]`, 0 to 1. */
export type Window = readonly [left: number, top: number, right: number, bottom: number];

/** All of an image. */
export const whole: Window = [0, 0, 1, 1];

/** A grey image of whose windows means are taken, by a summed-area table (Crow 1984). */
export class GreyImage {
  /** Pixels on each side. */
  readonly #side: number;
  /** Sums of all pixels above and left, [side + 1, side + 1]. */
  readonly #sums: Float64Array;

  /** @param pixels [side, side] */
  constructor(pixels: ArrayLike<number>, side: number) {
    this.#side = side;
    const stride = side + 1;
    this.#sums = new Float64Array(stride * stride);
    for (let row = 0; row < side; row++) {
      let line = 0;
      for (let column = 0; column < side; column++) {
        line += pixels[row * side + column] as number;
        this.#sums[(row + 1) * stride + column + 1] =
          (this.#sums[row * stride + column + 1] as number) + line;
      }
    }
  }

  /** Means of equal parts of a window, exact also where they cut pixels, [rows, columns]; `mirrored` left to right. */
  means([left, top, right, bottom]: Window, columns: number, rows: number, mirrored = false): Float32Array {
    const means = new Float32Array(rows * columns);
    const edges = this.#edges(left, right, columns);
    const area = (((right - left) * (bottom - top)) / (rows * columns)) * this.#side ** 2;
    let above: Float64Array = this.#sumsAlong(top, edges, new Float64Array(columns + 1));
    let below: Float64Array = new Float64Array(columns + 1);
    for (let row = 0; row < rows; row++) {
      this.#sumsAlong(top + ((row + 1) * (bottom - top)) / rows, edges, below);
      for (let column = 0; column < columns; column++) {
        const sum =
          (below[column + 1] as number) -
          (below[column] as number) -
          (above[column + 1] as number) +
          (above[column] as number);
        means[row * columns + (mirrored ? columns - 1 - column : column)] = sum / area;
      }
      [above, below] = [below, above];
    }
    return means;
  }

  /** Where the parts begin and end, in pixels. */
  #edges(left: number, right: number, columns: number): Float64Array {
    const edges = new Float64Array(columns + 1);
    for (let edge = 0; edge <= columns; edge++)
      edges[edge] = this.#inside(left + (edge * (right - left)) / columns);
    return edges;
  }

  #inside(share: number): number {
    return Math.min(this.#side, Math.max(0, share * this.#side));
  }

  /** The table along a line, at the edges of the parts, linear between its entries, [columns + 1]. */
  #sumsAlong(y: number, edges: Float64Array, sums: Float64Array): Float64Array {
    const [side, stride, table] = [this.#side, this.#side + 1, this.#sums];
    const row = this.#inside(y);
    const upper = Math.min(side - 1, Math.floor(row));
    const down = row - upper;
    for (let edge = 0; edge < edges.length; edge++) {
      const x = edges[edge] as number;
      const from = Math.min(side - 1, Math.floor(x));
      const across = x - from;
      const at = upper * stride + from;
      const before = (table[at] as number) * (1 - down) + (table[at + stride] as number) * down;
      const after = (table[at + 1] as number) * (1 - down) + (table[at + stride + 1] as number) * down;
      sums[edge] = before * (1 - across) + after * across;
    }
    return sums;
  }
}
