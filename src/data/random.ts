/**
 * Uniform 32-bit integers, a pure function of (seed, stream): sfc32 of Chris Doty-Humphrey's PractRand, its three
 * words set to the seed's low and high half and the stream, the first 15 values thrown away as PractRand does.
 *
 * @param seed an integer from 0 to 2^53 - 1
 * @param stream an integer from 0 to 2^32 - 1, for example the epoch
 */
export function randomIntegers(seed: number, stream: number): () => number {
  let a = seed | 0;
  let b = Math.floor(seed / 2 ** 32) | 0;
  let c = stream | 0;
  let counter = 1;
  const next = () => {
    const value = (a + b + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (((c << 21) | (c >>> 11)) + value) | 0;
    return value >>> 0;
  };
  for (let i = 0; i < 15; i++) next();
  return next;
}

/** Shuffles in place: Fisher and Yates' method as Durstenfeld gave it (1964). */
export function shuffle<T extends { length: number; [index: number]: number }>(
  items: T,
  next: () => number,
): T {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor((next() / 2 ** 32) * (i + 1));
    const kept = items[i] as number;
    items[i] = items[j] as number;
    items[j] = kept;
  }
  return items;
}

/** The integers 0 to count - 1 in the order of one epoch, a pure function of (count, seed, epoch). */
export function permutation(count: number, seed: number, epoch: number): Int32Array {
  const indices = Int32Array.from({ length: count }, (_, i) => i);
  return shuffle(indices, randomIntegers(seed, epoch));
}
