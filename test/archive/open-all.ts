/** A child process: opens the files named on its command line, and prints what came of each, and its peak memory. */
import { readFileSync } from 'node:fs';
import { loadAddon } from '../../src/addon.js';
import { contentOf } from './content.js';

export interface Outcome {
  /** `loads`, or the error's code. */
  outcome: string;
  message: string;
  /** Of a model that loads: a hash of its values and its card. */
  content?: string;
}

export interface Outcomes {
  files: Record<string, Outcome>;
  peakMegabytes: number;
}

const native = loadAddon();

async function open(file: string): Promise<Outcome> {
  try {
    // Bytes and paths go the same way; both are tried.
    const source = file.endsWith('.bytes') ? readFileSync(file) : file;
    const model = await native.load(source, { device: 'cpu', threads: 1 });
    const content = await contentOf(model);
    await model.dispose();
    return { outcome: 'loads', message: '', content };
  } catch (error) {
    const { code = 'no code', message } = error as { code?: string; message: string };
    return { outcome: code, message };
  }
}

const files: Record<string, Outcome> = {};
for (const file of process.argv.slice(2)) files[file] = await open(file);
const peakMegabytes = process.resourceUsage().maxRSS / 1024;
console.log(JSON.stringify({ files, peakMegabytes } satisfies Outcomes));
