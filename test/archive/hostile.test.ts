/** Hostile model files are refused in words before libtorch sees them: tried in a child process, with its memory. */
import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { pathOf } from '../native/fixtures.js';
import { classOf, pickleWith, readZip, scriptFile, writeZip } from './archives.js';
import { fileWithTensor, hostileFiles, tensor } from './hostile.js';
import type { Outcomes } from './open-all.js';

const child = fileURLToPath(new URL('./open-all.ts', import.meta.url));
const fixture = (name: string) => fileURLToPath(new URL(`../fixtures/files/${name}`, import.meta.url));

function openAll(files: string[]): Outcomes {
  return JSON.parse(execFileSync(process.execPath, [...process.execArgv, child, ...files]).toString());
}

t.test('hostile files are refused, and take no memory', async (t) => {
  const folder = t.testdir();
  const fileOf = (name: string) => join(folder, `${name.replaceAll(' ', '-')}.bytes`);
  const pathed = join(folder, 'from-a-path.pt');
  for (const [name, { bytes }] of Object.entries(hostileFiles)) writeFileSync(fileOf(name), bytes);
  copyFileSync(fileOf('nested parentheses'), pathed);
  const idle = openAll([pathOf('residual')]);
  const { files, peakMegabytes } = openAll([
    ...Object.keys(hostileFiles).map(fileOf),
    pathed,
    pathOf('residual'),
  ]);
  for (const [name, { message }] of Object.entries(hostileFiles)) {
    t.match(files[fileOf(name)], { outcome: 'MODEL_UNREADABLE', message }, name);
  }
  t.match(files[pathed], { outcome: 'MODEL_UNREADABLE' }, 'by its path');
  t.equal(files[pathOf('residual')]?.outcome, 'loads', 'and a good one after all of them');
  const most = idle.peakMegabytes + 400;
  t.ok(peakMegabytes < most, `${peakMegabytes.toFixed(0)} MB, without them ${idle.peakMegabytes.toFixed(0)}`);
});

t.test('what honest files may hold still opens', async (t) => {
  const folder = t.testdir();
  const depth = 100;
  const indents = Array.from({ length: depth }, (_, i) => `${' '.repeat(i + 4)}if True:\n`).join('');
  const honest: Record<string, Uint8Array> = {
    parentheses: scriptFile(classOf(`    y = ${'('.repeat(depth)}x${')'.repeat(depth)}\n`)),
    blocks: scriptFile(classOf(`${indents}${' '.repeat(depth + 4)}x = x + 1\n`)),
    'a wide list': scriptFile(classOf(`    y = [${'1, '.repeat(5000)}]\n`)),
    'brackets in a text': scriptFile(classOf(`    y = "${'('.repeat(5000)}"\n    z = 'it\\'s [' # ((((\n`)),
    'many lines': scriptFile(classOf('    x = x + 1\n'.repeat(500))),
    'a tensor': fileWithTensor(tensor({})),
    'a part of a storage': fileWithTensor(tensor({ offset: 1, shape: [1, 3], strides: [9, 1] })),
    'an expanded tensor': fileWithTensor(tensor({ elements: 1, shape: [500, 2], strides: [0, 0] })),
    'an empty tensor': fileWithTensor(tensor({ elements: 0, offset: 0, shape: [0, 3], strides: [3, 1] })),
  };
  const repacked = writeZip(
    readZip(readFileSync(pathOf('residual'))).map((entry) => ({ ...entry, deflate: true })),
  );
  honest.repacked = repacked;
  honest['with something behind it'] = Buffer.concat([readFileSync(pathOf('residual')), Buffer.from('more')]);
  for (const [name, bytes] of Object.entries(honest)) writeFileSync(join(folder, name), bytes);
  const kept = ['odds.pt', 'quantised.pt', 'restoring.pt', 'lite.ptl', 'traced.pt'].map(fixture);
  const { files } = openAll([
    ...Object.keys(honest).map((name) => join(folder, name)),
    ...kept,
    pathOf('residual'),
  ]);
  for (const [file, { outcome, message }] of Object.entries(files))
    t.equal(outcome, 'loads', `${file} ${message}`);
  const plain = files[pathOf('residual')]?.content;
  for (const name of ['repacked', 'with something behind it'])
    t.equal(files[join(folder, name)]?.content, plain, name);
});

t.test('a value of an attribute may be as PyTorch writes it', async (t) => {
  const folder = t.testdir();
  const code = classOf('').replace('  training', '  a : List[int]\n  training');
  const list = 'ctorch.jit._pickle\nbuild_intlist\n](K\x01K\x02e\x85R';
  writeFileSync(join(folder, 'list'), scriptFile(code, { pickle: pickleWith(list) }));
  t.equal(openAll([join(folder, 'list')]).files[join(folder, 'list')]?.outcome, 'loads');
});
