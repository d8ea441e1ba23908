/** Whatever reads images with `--skip-unreadable` lists each that it left out, once. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { torchgraft } from './command-line.js';
import { backbone, copyDefects } from './defects.js';

const root = t.testdir({});
const run = join(root, 'run');
const small = ['--image-size', '32'];
const skip = ['--skip-unreadable'];

/** A folder of images of which two cannot be decoded. */
function spoiled(name: string) {
  const folder = join(root, name);
  copyDefects(folder, 5);
  const broken = ['train', 'val'].map((split) => join(folder, split, 'ok', 'ok-09.jpg'));
  for (const file of broken) writeFileSync(file, 'no image');
  return { folder, broken };
}
const { folder, broken } = spoiled('own');
const related = spoiled('related');

const skippedIn = (text: string) =>
  text
    .split('\n')
    .filter((line) => line.startsWith('skipped '))
    .map((line) => line.replace(/^skipped (.*): Cannot decode.*$/, '$1'))
    .sort();

t.before(async () => {
  const { code, stderr } = await torchgraft([
    ...['train', '--model', backbone, '--data', folder, '--out', run, '--epochs', '2', '--strategy', 'head'],
    ...[...small, '--no-report', ...skip, '--adapt', related.folder, '--adapt-epochs', '1'],
  ]);
  if (code !== 0) throw new Error(stderr);
  t.same(
    skippedIn(stderr),
    [...broken, ...related.broken].sort(),
    'train, over all its epochs and its probes',
  );
});

const commands: Record<string, string[]> = {
  check: ['--model', backbone, '--data', folder, ...small],
  rank: [backbone, backbone, '--data', folder, ...small],
  audit: ['--model', backbone, '--data', folder, ...small],
  debias: [run, '--data', folder, '--from', 'train', '--groups', 'tens', '--slice-path', 'tens=-(0)'],
  'adapt-domain': [
    ...['--model', run, '--source', folder, '--target', related.folder, '--out', join(root, 'adapted')],
    ...['--method', 'statistics'],
  ],
};

for (const [name, args] of Object.entries(commands)) {
  t.test(name, async (t) => {
    const { code, stdout, stderr } = await torchgraft([name, ...args, ...skip]);
    t.equal(code, 0, stderr);
    const expected = name === 'adapt-domain' ? [...broken, ...related.broken] : broken;
    t.same(skippedIn(stdout), [...expected].sort());
  });
}

t.test('eval, of its split', async (t) => {
  const { stdout } = await torchgraft(['eval', run, '--data', folder, ...skip]);
  t.same(skippedIn(stdout), [broken[1]]);
});
