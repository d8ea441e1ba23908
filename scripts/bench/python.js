// A Python with PyTorch: $PYTHON, else python3, else one of the bench's own in the user cache.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { readPin } from '../../lib/libtorch/pin.js';
import { PeerMissing } from './peer-missing.js';
import { benchFolder } from './places.js';

/** The torchvision made for the pinned torch. Without its dependencies: they would bring another torch. */
const torchvision = 'torchvision==0.28.0';

const needs = 'torch, torchvision, numpy, pillow and onnx';

// torchvision is only looked for: beside a CPU-only torch its import can fail, which the peer's script mends.
const probe =
  'import importlib.util, sys, torch, numpy, PIL, onnx; sys.exit(importlib.util.find_spec("torchvision") is None)';

let found;

/**
 * Path of a Python that has torch, torchvision, numpy, pillow and onnx. Installs them only into the bench's own.
 *
 * @throws PeerMissing when $PYTHON lacks one of them, or installing failed
 */
export function findPython() {
  found ??= choosePython();
  return found;
}

function choosePython() {
  if (process.env.PYTHON) {
    if (isFit(process.env.PYTHON)) return process.env.PYTHON;
    throw new PeerMissing(
      `PYTHON=${process.env.PYTHON} lacks one of ${needs}. Install them, or unset PYTHON.`,
    );
  }
  if (isFit('python3')) return 'python3';
  const folder = benchFolder('python');
  const python = join(folder, 'bin', 'python');
  if (existsSync(python) && isFit(python)) return python;
  install(folder, python);
  return python;
}

function isFit(python) {
  return spawnSync(python, ['-c', probe], { stdio: 'ignore' }).status === 0;
}

function install(folder, python) {
  console.error(`No Python with PyTorch found: installing one in ${folder} ...`);
  const pip = [python, '-m', 'pip', 'install', '--disable-pip-version-check'];
  for (const command of [
    ['python3', '-m', 'venv', '--clear', folder],
    [...pip, `torch==${readPin().version}`, 'numpy', 'pillow', 'onnx'],
    [...pip, '--no-deps', torchvision],
  ]) {
    const [program, ...args] = command;
    if (spawnSync(program, args, { stdio: ['ignore', 2, 2] }).status !== 0) {
      throw new PeerMissing(`\`${command.join(' ')}\` failed. Set PYTHON to a Python with ${needs}.`);
    }
  }
  if (!isFit(python))
    throw new PeerMissing(`${python} still cannot import PyTorch. Set PYTHON to one that can.`);
}
