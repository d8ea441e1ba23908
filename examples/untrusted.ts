// Classifies images with a model that came from somebody else. Opening and running a model runs the code that is in it, so
// the file is looked at first, and then opened in a child process with limits: of memory, of processor time, and without a
// file that it could write. On Linux and macOS.
//
//     node examples/untrusted.ts model.pt image...

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { inspectModelFile, loadClassifier, type ScoredClass } from 'torchgraft';

const limits = { megabytes: 4096, processorSeconds: 60, seconds: 120 };

/** Why the model is not opened at all; undefined where nothing speaks against it. */
async function objection(model: string): Promise<string | undefined> {
  const { kind, problem, runsWhenOpened, reaches } = await inspectModelFile(model);
  if (problem) return problem;
  if (kind !== 'torchscript') return `${model} is not a model (${kind}).`;
  if (runsWhenOpened.length > 0) return `${model} runs code when it is opened: ${runsWhenOpened.join(', ')}.`;
  if (reaches.length > 0) return `${model} could reach more than numbers: ${reaches.join(', ')}.`;
  return undefined;
}

/** The best class of each image, found in a child process that starts in an empty folder. */
async function predictApart(model: string, images: string[]): Promise<ScoredClass[]> {
  const folder = await mkdtemp(join(tmpdir(), 'untrusted-'));
  // -d: memory, KiB; -t: processor time, seconds; -f 0: no file can be written; -c 0: nor one when it dies.
  const most = [`-d ${limits.megabytes * 1024}`, `-t ${limits.processorSeconds}`, '-f 0', '-c 0'];
  const limited = `${most.map((limit) => `ulimit ${limit}`).join(' && ')} && exec "$0" "$@"`;
  const files = [model, ...images].map((file) => resolve(file));
  const child = [process.execPath, fileURLToPath(import.meta.url), '--child', ...files];
  // Of our variables those that say where libtorch is: no keys, no tokens.
  const { PATH, HOME, XDG_CACHE_HOME, TORCHGRAFT_CACHE, TORCHGRAFT_LIBTORCH } = process.env;
  try {
    const { stdout } = await promisify(execFile)('sh', ['-c', limited, ...child], {
      cwd: folder,
      env: { PATH, HOME, XDG_CACHE_HOME, TORCHGRAFT_CACHE, TORCHGRAFT_LIBTORCH },
      timeout: limits.seconds * 1000,
      killSignal: 'SIGKILL',
      maxBuffer: 1 << 20,
    });
    return JSON.parse(stdout) as ScoredClass[];
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The child's part. `safe` looks again: the file may have been exchanged. */
async function predictHere([model = '', ...images]: string[]): Promise<void> {
  await using classifier = await loadClassifier(model, { device: 'cpu', safe: true });
  const predictions = await classifier.predict(images);
  process.stdout.write(JSON.stringify(predictions.map(({ top: [best] }) => best)));
}

const [model = 'defects.pt', ...images] = process.argv.slice(2);
if (model === '--child') {
  await predictHere(images);
} else {
  const reason = await objection(model);
  if (reason) console.log(`refused: ${reason}`);
  else {
    const found = await predictApart(model, images);
    for (const [index, best] of found.entries())
      console.log(images[index], best.class, best.probability.toFixed(3));
  }
}
