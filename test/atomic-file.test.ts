import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import ts from 'typescript';
import { writeAtomically } from '../src/atomic-file.js';

t.test('writes new files and replaces old ones', async (t) => {
  const folder = t.testdir();
  const path = join(folder, 'model.pt');
  await writeAtomically(path, (temporary) => writeFile(temporary, 'one'));
  t.equal(readFileSync(path, 'utf8'), 'one');
  await writeAtomically(path, async (temporary) => {
    await writeFile(temporary, 'two');
    t.equal(readFileSync(path, 'utf8'), 'one', 'old until the new is whole');
    t.same(readdirSync(folder).length, 2, 'the temporary file lies in the same folder');
  });
  t.equal(readFileSync(path, 'utf8'), 'two');
  t.same(readdirSync(folder), ['model.pt']);
});

t.test('a failure leaves the old file as it was and nothing else', async (t) => {
  const folder = t.testdir({ 'model.pt': 'old', taken: { inside: '' } });
  const path = join(folder, 'model.pt');
  const failing = writeAtomically(path, async (temporary) => {
    await writeFile(temporary, 'half of the n');
    throw new Error('disk full');
  });
  await t.rejects(failing, { message: 'disk full' });
  await t.rejects(
    writeAtomically(path, async () => {}),
    { code: 'FILE_UNWRITABLE', message: /^Cannot write \S*model\.pt: no such file/ },
    'nothing was written',
  );
  await t.rejects(
    writeAtomically(join(folder, 'taken'), (temporary) => writeFile(temporary, 'x')),
    { code: 'FILE_UNWRITABLE', message: /taken: .*directory/ },
  );
  t.equal(readFileSync(path, 'utf8'), 'old');
  t.same(readdirSync(folder).sort(), ['model.pt', 'taken']);
  await t.rejects(
    writeAtomically(join(folder, 'no', 'model.pt'), async () => {}),
    { code: 'FILE_NOT_FOUND', message: /does not exist/ },
  );
});

t.test('removes what dead processes left for this path, and only that', async (t) => {
  const child = spawn(process.execPath, ['-e', '']);
  await once(child, 'exit');
  const earlier = new Date(Date.now() - (process.uptime() + 60) * 1000);
  const leftover = (name: string, pid: number | undefined) => `.${name}.${pid}.0123456789ab.tmp`;
  const own = leftover('model.pt', process.pid);
  const kept = [
    leftover('other.pt', child.pid),
    leftover('model.pt', process.ppid),
    '.model.pt.notes.tmp',
    `.model.pt.${child.pid}.tmp`,
    'model.pt',
  ];
  const folder = t.testdir(
    Object.fromEntries([...kept, leftover('model.pt', child.pid), own].map((name) => [name, ''])),
  );
  const path = join(folder, 'model.pt');
  await writeAtomically(path, (temporary) => writeFile(temporary, 'one'));
  t.same(readdirSync(folder).sort(), [...kept, own].sort(), 'our own pid: it may be another write under way');
  utimesSync(join(folder, own), earlier, earlier);
  await writeAtomically(path, (temporary) => writeFile(temporary, 'two'));
  t.same(readdirSync(folder).sort(), kept.sort(), 'our own pid, but older than this process');
});

t.test('two writes of one path at once: one whole version, nothing left', async (t) => {
  const folder = t.testdir();
  const path = join(folder, 'model.pt');
  const versions = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(100_000));
  await Promise.all(versions.map((text) => writeAtomically(path, (temporary) => writeFile(temporary, text))));
  t.ok(versions.includes(readFileSync(path, 'utf8')));
  t.same(readdirSync(folder), ['model.pt']);
});

/** Writes version after version, slowly and in pieces: SHA-256 of the body, then the body. */
const writer = `
import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { writeAtomically } from './atomic-file.js';
for (let version = 0; ; version++) {
  const body = Buffer.alloc(100_000 + version, version % 256);
  await writeAtomically(process.argv[2], async (temporary) => {
    const handle = await open(temporary, 'w');
    await handle.write(createHash('sha256').update(body).digest());
    for (let at = 0; at < body.length; at += 10_000) await handle.write(body.subarray(at, at + 10_000));
    await handle.close();
  });
  if (version === 0) process.stdout.write('begun');
}`;

/** The sources as plain JavaScript, so that each of the children starts in a moment. */
function transpile(folder: string): string {
  mkdirSync(folder);
  for (const name of ['atomic-file', 'clean-up', 'errors', 'system-error']) {
    const source = readFileSync(new URL(`../src/${name}.ts`, import.meta.url), 'utf8');
    const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
    writeFileSync(join(folder, `${name}.js`), ts.transpileModule(source, { compilerOptions }).outputText);
  }
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(folder, 'writer.js'), writer);
  return join(folder, 'writer.js');
}

async function kill(child: ChildProcess): Promise<void> {
  const exit = once(child, 'exit');
  child.kill('SIGKILL');
  await exit;
}

t.test('killed 20 times while writing, the file is whole every time', async (t) => {
  const folder = t.testdir();
  const script = transpile(join(folder, 'js'));
  const path = join(folder, 'run', 'checkpoint.pt');
  mkdirSync(join(folder, 'run'));
  let interrupted = 0;
  for (let round = 0; round < 20; round += 1) {
    const child = spawn(process.execPath, [script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout as NodeJS.ReadableStream, 'data');
    await sleep(Math.random() * 30);
    await kill(child);
    const content = readFileSync(path);
    const digest = createHash('sha256').update(content.subarray(32)).digest();
    t.ok(digest.equals(content.subarray(0, 32)), `round ${round}: ${content.length} bytes`);
    const leftovers = readdirSync(join(folder, 'run')).length - 1;
    t.ok(leftovers <= 1, 'what the round before left was removed');
    interrupted += leftovers;
  }
  t.ok(interrupted > 0, `${interrupted} of 20 kills came while a file was being written`);
  await writeAtomically(path, (temporary) => writeFile(temporary, 'last'));
  t.same(readdirSync(join(folder, 'run')), ['checkpoint.pt']);
});
