/** 64-bit hashes, two numbers of 32 bits each, [2 n]. */
export type Hashes = Uint32Array;

const parts = 4;
const partValues = 2 ** 16;

/**
 * Finds hashes within a Hamming distance, exactly and without comparing all with all: of four parts of 16 bits, one differs
 * in at most a quarter of the bits, so that only hashes with a part so near are compared (multi-index hashing; Norouzi et
 * al., Fast Search in Hamming Space with Multi-Index Hashing, 2012).
 */
export class HashIndex {
  readonly #hashes: Hashes;
  /** For each part, where the hashes of each value begin in `order`: [65,537]. */
  readonly #starts: Uint32Array[] = [];
  readonly #order: Uint32Array[] = [];
  /** The last query that a hash was compared with. */
  readonly #seen: Int32Array;
  #queries = 0;

  constructor(hashes: Hashes) {
    this.#hashes = hashes;
    const count = hashes.length / 2;
    this.#seen = new Int32Array(count).fill(-1);
    for (let part = 0; part < parts; part++) {
      const starts = new Uint32Array(partValues + 1);
      for (let i = 0; i < count; i++) starts[partOf(hashes, i, part) + 1]! += 1;
      for (let value = 0; value < partValues; value++) starts[value + 1]! += starts[value] as number;
      const next = starts.slice();
      const order = new Uint32Array(count);
      for (let i = 0; i < count; i++) order[next[partOf(hashes, i, part)]!++] = i;
      this.#starts.push(starts);
      this.#order.push(order);
    }
  }

  /** Calls `found` with each hash at most `most` bits from `query`, two numbers of 32 bits, once. */
  search(query: Hashes, most: number, found: (index: number, distance: number) => void): void {
    const [low, high] = query as unknown as [number, number];
    const number = this.#queries++;
    for (let part = 0; part < parts; part++) {
      const own = partOf(query, 0, part);
      const [starts, order] = [this.#starts[part] as Uint32Array, this.#order[part] as Uint32Array];
      for (const mask of masksWithin(Math.floor(most / parts))) {
        const end = starts[(own ^ mask) + 1] as number;
        for (let place = starts[own ^ mask] as number; place < end; place++) {
          const index = order[place] as number;
          if (this.#seen[index] === number) continue;
          this.#seen[index] = number;
          const distance =
            bitCount((this.#hashes[index * 2] as number) ^ low) +
            bitCount((this.#hashes[index * 2 + 1] as number) ^ high);
          if (distance <= most) found(index, distance);
        }
      }
    }
  }
}

function partOf(hashes: Hashes, index: number, part: number): number {
  return ((hashes[index * 2 + (part >> 1)] as number) >>> ((part & 1) * 16)) & 0xffff;
}

const masks = new Map<number, Uint16Array>();

/** All values of 16 bits with at most so many set, fewest first. */
function masksWithin(most: number): Uint16Array {
  const known = masks.get(most);
  if (known) return known;
  const values = Uint16Array.from({ length: partValues }, (_, value) => value).filter(
    (value) => bitCount(value) <= most,
  );
  masks.set(most, values);
  return values;
}

/** Bits set in a number of 32. */
export function bitCount(value: number): number {
  let bits = value - ((value >>> 1) & 0x55555555);
  bits = (bits & 0x33333333) + ((bits >>> 2) & 0x33333333);
  return Math.imul((bits + (bits >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
