/** Small pictures for multi-label sets and regressions: squares of three colours, and grey ones of which one measures the brightness. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';

const side = 32;
const colours = { blue: [20, 40, 230], green: [30, 200, 40], red: [230, 30, 30] } as const;
export const colourNames = Object.keys(colours) as (keyof typeof colours)[];

/** A fixed sequence, 0 to 1. */
function sequence(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Both are in both splits. */
const siteOf = (i: number) => (Math.floor(i / 4) % 2 ? 'a' : 'b');

/** Draws `count` pictures and their manifest into a folder, every fourth for validation. Returns the manifest. */
export async function drawColours(folder: string, count: number): Promise<string> {
  const next = sequence(7);
  mkdirSync(folder, { recursive: true });
  const rows = ['path,labels,split,site'];
  for (let i = 0; i < count; i++) {
    const names = colourNames.filter(() => next() < 0.45);
    const pixels = Buffer.alloc(side * side * 3, 60 + Math.floor(next() * 40));
    for (const name of names) square(pixels, colours[name], next);
    await sharp(pixels, { raw: { width: side, height: side, channels: 3 } })
      .png()
      .toFile(join(folder, `${i}.png`));
    rows.push(`${i}.png,${names.join('|')},${i % 4 === 3 ? 'val' : 'train'},${siteOf(i)}`);
  }
  const file = join(folder, 'list.csv');
  writeFileSync(file, `${rows.join('\n')}\n`);
  return file;
}

/** Noisy grey pictures with a square: `target_light` is 2 to 4 by their brightness, `target_dark` falls from 0 to -1. */
export async function drawGreys(folder: string, count: number): Promise<string> {
  const next = sequence(3);
  mkdirSync(folder, { recursive: true });
  const rows: string[] = [];
  for (let i = 0; i < count; i++) {
    const light = next();
    const pixels = Buffer.alloc(side * side * 3);
    for (let at = 0; at < pixels.length; at++) pixels[at] = Math.round(10 + 170 * light + 70 * next());
    square(pixels, colours[colourNames[i % 3] as 'red'], next);
    await sharp(pixels, { raw: { width: side, height: side, channels: 3 } })
      .png()
      .toFile(join(folder, `${i}.png`));
    const split = i % 4 === 3 ? 'val' : 'train';
    const targets = { target_light: 2 + 2 * light, target_dark: -light };
    rows.push(JSON.stringify({ path: `${i}.png`, ...targets, split, site: siteOf(i) }));
  }
  const file = join(folder, 'list.jsonl');
  writeFileSync(file, `${rows.join('\n')}\n`);
  return file;
}

function square(pixels: Buffer, colour: readonly number[], next: () => number): void {
  const [size, left, top] = [8 + Math.floor(next() * 4), Math.floor(next() * 20), Math.floor(next() * 20)];
  for (let y = top; y < top + size; y++) {
    for (let x = left; x < left + size; x++) pixels.set(colour, (y * side + x) * 3);
  }
}
