/**
 * The child of fuzz.test.ts: takes archives apart, changes what is in them, puts them together with right checksums, and
 * opens them. So what is wrong lies in code, pickles and tensors, which checksums do not show.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { native } from '../native/fixtures.js';
import { type Entry, readZip, writeZip } from './archives.js';
import { contentOf } from './content.js';

export interface Fuzzed {
  /** How often each code, or `loads`, came. */
  outcomes: Record<string, number>;
  peakMegabytes: number;
}

const [, , seed = '0', count = '0', scratch = '', ...files] = process.argv;

/** mulberry32 */
let state = Number(seed) + 1;
function below(limit: number): number {
  state = (state + 0x6d2b79f5) | 0;
  let z = Math.imul(state ^ (state >>> 15), 1 | state);
  z = (z + Math.imul(z ^ (z >>> 7), 61 | z)) ^ z;
  return Math.floor((((z ^ (z >>> 14)) >>> 0) / 2 ** 32) * limit);
}
const pick = <T>(items: readonly T[]): T => items[below(items.length)] as T;

const interesting = [
  0, 1, 0x7f, 0x80, 0xff, 0x28, 0x5d, 0x7d, 0x29, 0x2e, 0x85, 0x86, 0x52, 0x62, 0x51, 0x71, 0x68,
];

/** Changes of bytes, some of them by numbers that matter in pickles. */
function changeBytes(data: Uint8Array): Buffer {
  const bytes = Buffer.from(data);
  for (let times = 1 + below(4); times > 0 && bytes.length > 0; times--) {
    bytes[below(bytes.length)] = below(2) === 0 ? below(256) : pick(interesting);
  }
  return bytes;
}

/** A piece left out, or put in again elsewhere. */
function movePiece(data: Uint8Array): Buffer {
  const from = below(data.length + 1);
  const piece = data.subarray(from, from + 1 + below(40));
  const rest = Buffer.concat([data.subarray(0, from), data.subarray(from + piece.length)]);
  if (below(2) === 0) return rest;
  const to = below(data.length + 1);
  return Buffer.concat([data.subarray(0, to), ...Array(1 + below(50)).fill(piece), data.subarray(to)]);
}

/** Another number in text: an index, a size, a version. */
function changeNumber(data: Uint8Array): Buffer {
  const text = Buffer.from(data).toString('latin1');
  const places = [...text.matchAll(/\d+/g)];
  if (places.length === 0) return changeBytes(data);
  const { index, 0: digits } = pick(places);
  const other = pick(['0', '-1', '1', '255', '65536', '2147483648', '9223372036854775807', '1e400']);
  return Buffer.from(text.slice(0, index) + other + text.slice(index + digits.length), 'latin1');
}

function change(entries: Entry[]): Entry[] {
  const at = below(entries.length);
  const entry = entries[at] as Entry;
  const others = entries.filter((_, index) => index !== at);
  const put = (data: Uint8Array) => entries.map((each, index) => (index === at ? { ...each, data } : each));
  switch (below(8)) {
    case 0:
      return others;
    case 1:
      return put(pick(entries).data);
    case 2:
      return put(Buffer.from(entry.data.subarray(0, below(entry.data.length + 1))));
    case 3:
      return put(movePiece(entry.data));
    case 4:
      return put(changeNumber(entry.data));
    default:
      return put(changeBytes(entry.data));
  }
}

async function open(file: string): Promise<string> {
  try {
    const model = await native.load(file, { device: 'cpu', threads: 1 });
    await contentOf(model);
    await model.dispose();
    return 'loads';
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    return code ?? `no code: ${message}`;
  }
}

const archives = files.map((file) => readZip(readFileSync(file)));
const outcomes: Record<string, number> = {};
for (let i = 0; i < Number(count); i++) {
  // Left behind when the process dies.
  let entries = change(pick(archives));
  if (below(3) === 0) entries = change(entries);
  writeFileSync(scratch, writeZip(entries.length > 0 ? entries : pick(archives)));
  const outcome = await open(scratch);
  outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
}
console.log(
  JSON.stringify({ outcomes, peakMegabytes: process.resourceUsage().maxRSS / 1024 } satisfies Fuzzed),
);
