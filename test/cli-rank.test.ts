/** `torchgraft rank` and `torchgraft check`. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { backbone, copyDefects, fixtureModel, residual } from './defects.js';

const cli = fileURLToPath(new URL('../lib/cli/main.js', import.meta.url));

function torchgraft(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((done) => {
    execFile(process.execPath, [cli, ...args], (error, stdout, stderr) =>
      done({ code: error ? Number(error.code) : 0, stdout, stderr }),
    );
  });
}

/** Some of the embedded photographs. */
const folder = join(t.testdir({}), 'defects');
copyDefects(folder, 12);

t.test('rank: a table, the useful model first, failures below', async (t) => {
  const frozen = fixtureModel('residual.frozen');
  const sizes = ['--image-size', '96', '--image-size', `${residual}:32`];
  const { code, stdout, stderr } = await torchgraft(
    ...['rank', residual, frozen, backbone, 'missing.pt', '--data', folder, ...sizes],
  );
  t.equal(code, 0, stderr);
  const lines = stdout.trimEnd().split('\n');
  t.match(
    lines[0],
    /^place +model +LogME +H-score +accuracy +macro F1 +macro F1, 95 % +features +parameters +MB +ms\/image$/,
  );
  t.match(lines[2], /^1 +backbone\.pt +-?\d\.\d{4} /);
  t.match(lines[3], /^[12] +residual\.pt /);
  t.match(
    lines.filter((line) => line.startsWith('failed')),
    [/^failed .*residual\.frozen\.pt \[MODEL_FROZEN\]: /, /^failed missing\.pt \[FILE_NOT_FOUND\]/],
  );
  t.match(stderr, new RegExp(`measuring ${backbone}`));
});

t.test('rank --json, with a normalisation for each model', async (t) => {
  const normalise = ['--normalise', 'none', '--normalise', `${backbone}:signed`, '--by', 'logME'];
  const { code, stdout } = await torchgraft(
    ...['rank', backbone, residual, '--data', folder, '--image-size', '32', ...normalise, '--json'],
  );
  t.equal(code, 0);
  const { models, failed, by } = JSON.parse(stdout);
  t.same([failed, by, models.length], [[], 'logME', 2]);
  t.ok(models[0].logME >= models[1].logME);
  for (const { file, preprocessing, skipped } of models) {
    t.same(preprocessing.mean, file === backbone ? [0.5, 0.5, 0.5] : [0, 0, 0]);
    t.same([preprocessing.size, skipped], [32, []]);
  }
});

t.test('check says whether the weights help', async (t) => {
  const request = ['check', '--model', backbone, '--data', folder, '--image-size', '96'];
  const plain = await torchgraft(...request);
  t.equal(plain.code, 0, plain.stderr);
  t.match(
    plain.stdout,
    /^help: The pretrained weights help here: .* \(95 % interval \+0\.\d+ to \+0\.\d+\), of the log loss -\d.*; LogME /,
  );
  const { stdout } = await torchgraft(
    ...request,
    '--shuffled',
    '--untrained',
    '2',
    '--metric',
    'accuracy',
    '--json',
  );
  const { verdict, metric, controls, images } = JSON.parse(stdout);
  t.same([verdict, metric, images], ['help', 'accuracy', 72]);
  t.same(
    controls.map(({ weights }: { weights: string }) => weights),
    ['untrained', 'untrained', 'shuffled'],
  );
});

t.test('wrong usage', async (t) => {
  t.match(await torchgraft('rank', backbone), { code: 2, stderr: /--data/ });
  t.match(await torchgraft('rank', '--data', folder), { code: 2, stderr: /model/ });
  t.match(await torchgraft('check', '--data', folder), { code: 2, stderr: /--model/ });
  const normalise = ['--data', folder, '--normalise'];
  t.match(await torchgraft('rank', backbone, ...normalise, 'sgined'), { code: 2, stderr: /signed or none/ });
  t.match(await torchgraft('rank', backbone, ...normalise, 'other.pt:signed'), {
    code: 2,
    stderr: /other\.pt, which is not one of the models/,
  });
  t.match(await torchgraft('rank', 'missing.pt', '--data', folder), { code: 1, stdout: /FILE_NOT_FOUND/ });
});
