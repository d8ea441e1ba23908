/** `torchgraft adapt-domain`. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { loadClassifier } from '../src/index.js';
import { backbone, defectsFolder } from './defects.js';

const cli = fileURLToPath(new URL('../lib/cli/main.js', import.meta.url));

function torchgraft(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((done) => {
    execFile(process.execPath, [cli, 'adapt-domain', ...args], (error, stdout, stderr) =>
      done({ code: error ? Number(error.code) : 0, stdout, stderr }),
    );
  });
}

const root = t.testdir({});
const source = join(root, 'source');
const target = join(root, 'target');
for (const split of ['train', 'val']) {
  for (const name of readdirSync(join(defectsFolder, split))) {
    mkdirSync(join(source, split, name), { recursive: true });
    mkdirSync(join(target, name), { recursive: true });
    const files = readdirSync(join(defectsFolder, split, name)).sort();
    for (const [at, file] of files.slice(0, 15).entries()) {
      const to = at < 10 ? join(source, split, name, file) : join(target, name, `${split}-${file}`);
      cpSync(join(defectsFolder, split, name, file), to);
    }
  }
}
const request = ['--model', backbone, '--source', source, '--target', target, '--image-size', '96'];

t.test('a table, the decision, and a run folder', async (t) => {
  const out = join(root, 'run');
  const { code, stdout, stderr } = await torchgraft(...request, '--out', out, '--steps', '5');
  t.equal(code, 0, stderr);
  t.match(stdout, /^ +method +source accuracy +source macro F1 +information +entropy +density /);
  t.match(stdout, /\n\* +\w+ +0\.\d{4} /);
  t.match(stdout, /area under the ROC curve of 0\.\d+/);
  t.match(stdout, /the source's classifier is logistic regression/);
  t.match(stderr, /trying sourceOnly\ntrying statistics\ntrying adabn\n/);
  const record = JSON.parse(readFileSync(join(out, 'domain.json'), 'utf8'));
  t.same([record.methods.length, record.request.steps, record.images.sourceTrain], [8, 5, 60]);
  t.notOk(record.methods.some((method: object) => 'labelled' in method));
  await using classifier = await loadClassifier(join(out, 'model.pt'), { device: 'cpu', threads: 1 });
  t.equal(classifier.classes.length, 6);
});

t.test('--json, with labels of the target and a method by name', async (t) => {
  const out = join(root, 'named');
  const { code, stdout, stderr } = await torchgraft(
    ...[...request, '--out', out, '--method', 'statistics', '--report-target', '--json'],
  );
  t.equal(code, 0, stderr);
  const { chosen, methods, images } = JSON.parse(stdout);
  t.same([chosen, images.target + images.heldOut, images.labelled], ['statistics', 60, 60]);
  t.ok(methods.every(({ labelled }: { labelled: { accuracy: number } }) => labelled.accuracy > 0.3));
});

t.test('wrong usage', async (t) => {
  t.match(await torchgraft('--model', backbone), { code: 2, stderr: /--source/ });
  t.match(await torchgraft(...request, '--out', join(root, 'x'), '--method', 'coralle'), {
    code: 2,
    stderr: /coral/,
  });
  const nowhere = ['--model', backbone, '--source', source, '--target', join(root, 'nowhere')];
  t.match(await torchgraft(...nowhere, '--out', join(root, 'x')), { code: 1, stderr: /FILE_NOT_FOUND/ });
});
