// Strided 1x1 convolutions of few channels are never given channels-last while they learn: oneDNN would damage the heap.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const folder = fileURLToPath(new URL('../fixtures/plans', import.meta.url));
const child = fileURLToPath(new URL('row-major-child.ts', import.meta.url));

const ways = {
  repvgg: ['planned', 'unsplit', 'bfloat16', 'accumulated', 'adapters', 'lbfgs', 'fisher', 'gradCam'],
  mobileone: ['planned', 'unsplit'],
  fastvit: ['planned', 'unsplit'],
};
for (const [model, chosen] of Object.entries(ways)) {
  for (const way of chosen) {
    t.test(`${model} learns: ${way}`, async (t) => {
      const args = [...process.execArgv, child, join(folder, `${model}.pt`), way];
      const { status, signal, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
      t.equal(signal, null, stderr);
      t.equal(status, 0, stderr);
    });
  }
}
