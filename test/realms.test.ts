/** Test runners put each file into a realm of its own: nothing may ask for the classes of one. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { backbone, copyDefects } from './defects.js';

const folder = t.testdir({});
const data = join(folder, 'data');
copyDefects(data, 4);
const image = join(data, 'val', 'dent', 'dent-00.jpg');
const driver = fileURLToPath(new URL('realm-driver.js', import.meta.url));

t.test('the library loads, trains, predicts and refuses in vm contexts, several in one process', (t) => {
  const args = ['--experimental-vm-modules', driver, backbone, data, image, folder];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  t.equal(status, 0, stderr);
  const { alone, beside, mixed, model, warnings } = JSON.parse(stdout);
  t.match(alone, {
    selected: ['fc.weight', 'fc.bias'],
    codes: ['FILE_NOT_FOUND', 'INVALID_TYPE', 'MODEL_UNREADABLE', 'INVALID_TYPE', 'INVALID_TYPE'],
    isOwn: [true, true, true, true, true],
    isSame: true,
    loss: Number,
    accuracy: 1,
  });
  t.equal(alone.top.length, 4);
  t.ok(alone.seen.includes('train') && alone.seen.includes('validate') && alone.seen.includes(1));
  t.equal(alone.served[0], alone.top[1], 'the predictor says the same of the same bytes');
  const figures = ({ top, loss, served, codes }: Record<string, unknown>) => ({ top, loss, served, codes });
  for (const other of beside) t.same(figures(other), figures(alone), 'side by side, and in a second realm');
  t.match(mixed, {
    top: [alone.top[0], alone.top[0], alone.top[2], alone.top[0]],
    isSame: true,
    selected: ['fc.weight', 'fc.bias'],
    accuracy: 1,
    interval: 1,
    stopped: ['ABORTED', true],
  });
  t.equal(model, 'MODEL_UNREADABLE');
  t.same(warnings, [], 'however many realms there are');
  t.end();
});
