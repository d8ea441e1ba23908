/** The child of flips.test.ts: flips a bit in each byte of a file, opens it, and prints what came of it. */
import { readFileSync, writeFileSync } from 'node:fs';
import { loadAdapter, loadModel } from '../../src/index.js';
import { bitsOf, configure, native, train } from '../native/fixtures.js';
import { contentOf } from './content.js';

export interface Flips {
  flips: number;
  /** By the code of this kind of file. */
  refused: number;
  /** Opened with equal bits. */
  unchanged: number;
  /** What must not be: opened with other bits, or another code. */
  wrong: string[];
}

const loading = { device: 'cpu', threads: 1 } as const;
const [, , kind = '', file = '', base = '', every = '1'] = process.argv;

/** Opens the file; `use` gives the content then, as text that is equal for equal bits. */
interface Opener {
  code: string;
  open: () => Promise<() => Promise<string>>;
}

const openers: Record<string, () => Promise<Opener>> = {
  model: async () => ({
    code: 'MODEL_UNREADABLE',
    open: async () => {
      const model = await native.load(readFileSync(file), loading);
      return async () => {
        const content = await contentOf(model);
        await model.dispose();
        return content;
      };
    },
  }),
  checkpoint: async () => {
    const fresh = async () => {
      const model = await native.load(base, loading);
      await configure(model);
      return model;
    };
    let model = await fresh();
    return {
      code: 'CHECKPOINT_INVALID',
      open: async () => {
        const extra = await model.loadCheckpoint(file);
        return async () => {
          const weights = await bitsOf(model);
          // Momentum is in what the next step does.
          await train(model, 1, { from: 2 });
          const next = await bitsOf(model);
          await model.restoreBest();
          const best = await bitsOf(model);
          await model.dispose();
          model = await fresh();
          return JSON.stringify([extra, weights, next, best]);
        };
      },
    };
  },
  adapter: async () => {
    let model = await loadModel(base, loading);
    return {
      code: 'ADAPTER_INVALID',
      open: async () => {
        await loadAdapter(model, file);
        return async () => {
          const content = await contentOf(model.native);
          await model.dispose();
          model = await loadModel(base, loading);
          return content;
        };
      },
    };
  },
};

const { code, open } = await (openers[kind] as () => Promise<Opener>)();
const honest = readFileSync(file);
const content = await (await open())();
const result: Flips = { flips: 0, refused: 0, unchanged: 0, wrong: [] };

/** PyTorch pads records with the letter Z, of which one in 16 is enough. */
const isPadding = (at: number) =>
  at % 16 > 0 && honest.subarray(Math.max(0, at - 4), at + 5).every((byte) => byte === 0x5a);

for (let at = 0; at < honest.length; at += Number(every)) {
  if (isPadding(at)) continue;
  const flipped = Buffer.from(honest);
  flipped[at] = (flipped[at] as number) ^ (1 << ((at * 5 + (at >> 3)) % 8));
  writeFileSync(file, flipped);
  result.flips++;
  try {
    const use = await open();
    if ((await use()) === content) result.unchanged++;
    else result.wrong.push(`byte ${at}: opens with other content`);
  } catch (error) {
    const { code: came, message } = error as { code?: string; message: string };
    if (came === code) result.refused++;
    else result.wrong.push(`byte ${at}: ${came} ${message}`);
  }
}
console.log(JSON.stringify(result));
// The model that waits for the next file.
process.exit(0);
