/** Damaged model files give coded errors and never crash: tried in a child process. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { pathOf } from './fixtures.js';

const child = fileURLToPath(new URL('./open-damaged.ts', import.meta.url));

/** What came of each file, in one process after another. Throws when that process does not exit with 0. */
function openAll(files: string[]): Record<string, string> {
  return JSON.parse(execFileSync(process.execPath, [...process.execArgv, child, ...files]).toString());
}

t.test('truncated and bit-flipped files give codes and never crash', async (t) => {
  const folder = t.testdir();
  const files: Record<'cut' | 'flipped', string[]> = { cut: [], flipped: [] };
  for (const name of ['residual', 'residual.traced-eval', 'inception']) {
    const bytes = readFileSync(pathOf(name));
    for (let tenth = 0; tenth < 10; tenth++) {
      const at = Math.floor((bytes.length * tenth) / 10);
      const cut = join(folder, `${name}.cut-${tenth}`);
      writeFileSync(cut, bytes.subarray(0, at));
      files.cut.push(cut);
      for (const bit of [0, 3, 7]) {
        const flipped = join(folder, `${name}.flipped-${tenth}-${bit}`);
        const copy = Buffer.from(bytes);
        copy[at] = (copy[at] ?? 0) ^ (1 << bit);
        writeFileSync(flipped, copy);
        files.flipped.push(flipped);
      }
    }
  }
  const outcomes = openAll([...files.cut, ...files.flipped, pathOf('residual')]);
  for (const file of files.cut) t.equal(outcomes[file], 'MODEL_UNREADABLE', file);
  for (const file of files.flipped) t.match(outcomes[file], /^(loads|MODEL_UNREADABLE)$/, file);
  t.equal(outcomes[pathOf('residual')], 'loads', 'and a good one after all of them');
});
