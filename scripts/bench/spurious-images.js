// A generated set with a spurious correlation: spots or scratches in noise, within a border whose colour goes with the class
// in 95 % of the training images, and in half of the validation and test images.
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { randomIntegers } from '../../lib/data/random.js';
import { benchFolder } from './places.js';

const side = 96;
const border = 8;
const classes = ['scratches', 'spots'];
const colours = { amber: [205, 140, 60], blue: [60, 120, 205] };
/** Images of a class in its usual and in the other border. */
const counts = { train: [475, 25], val: [100, 100], test: [200, 200] };

/** Writes the images where they are not there yet. Returns the manifest, with a column `border`. */
export async function spuriousImages() {
  const folder = join(benchFolder(), 'spurious-1');
  const manifest = join(folder, 'images.csv');
  if (existsSync(manifest)) return manifest;
  const partial = `${folder}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  const lines = ['path,label,split,border'];
  let number = 0;
  for (const [split, ofSplit] of Object.entries(counts)) {
    for (const [label, name] of classes.entries()) {
      for (const [other, count] of ofSplit.entries()) {
        const colour = Object.keys(colours)[other === 0 ? label : 1 - label];
        for (let i = 0; i < count; i++) {
          const file = `${split}-${name}-${colour}-${i}.png`;
          await draw(join(partial, file), { label, colour, seed: number++ });
          lines.push(`${file},${name},${split},${colour}`);
        }
      }
    }
  }
  writeFileSync(join(partial, 'images.csv'), `${lines.join('\n')}\n`);
  renameSync(partial, folder);
  return manifest;
}

async function draw(file, { label, colour, seed }) {
  const next = randomIntegers(seed, 0);
  const random = () => next() / 2 ** 32;
  const grey = new Float64Array(side * side).map(() => 128 + (random() + random() + random() - 1.5) * 60);
  for (let mark = 0; mark < 6; mark++) (label === 1 ? spot : scratch)(grey, random);
  const pixels = Buffer.alloc(side * side * 3);
  for (let at = 0; at < side * side; at++) {
    const [x, y] = [at % side, Math.floor(at / side)];
    const isBorder = Math.min(x, y, side - 1 - x, side - 1 - y) < border;
    for (let channel = 0; channel < 3; channel++) {
      const value = isBorder ? colours[colour][channel] + (random() - 0.5) * 30 : grey[at];
      pixels[at * 3 + channel] = Math.max(0, Math.min(255, Math.round(value)));
    }
  }
  await sharp(pixels, { raw: { width: side, height: side, channels: 3 } })
    .png()
    .toFile(file);
}

/** Both take about as many pixels, and darken them as much. */
const darker = 38;

function spot(grey, random) {
  const [cx, cy] = [within(random), within(random)];
  const radius = 3 + random() * 1.5;
  paint(grey, (x, y) => Math.hypot(x - cx, y - cy) < radius);
}

function scratch(grey, random) {
  const [cx, cy] = [within(random), within(random)];
  const angle = random() * Math.PI;
  const [dx, dy] = [Math.cos(angle), Math.sin(angle)];
  const half = 9 + random() * 5;
  paint(grey, (x, y) => {
    const along = (x - cx) * dx + (y - cy) * dy;
    return Math.abs(along) < half && Math.abs((y - cy) * dx - (x - cx) * dy) < 1;
  });
}

function paint(grey, isInside) {
  for (let at = 0; at < side * side; at++) {
    if (isInside(at % side, Math.floor(at / side))) grey[at] -= darker;
  }
}

/** A place that leaves the border and a margin free. */
function within(random) {
  return border + 6 + random() * (side - 2 * (border + 6));
}
