// A Python with PyTorch: $PYTHON, else python3, else one of the bench's own in the user cache.
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory } from '../../lib/libtorch/cache.js';
import { readPin } from '../../lib/libtorch/pin.js';

/** The torchvision made for the pinned torch. Without its dependencies: they would bring another torch. */
const torchvision = 'torchvision==0.28.0';

// torchvision is only looked for: beside a CPU-only torch its import can fail, which the peer's script mends.
const probe =
  'import importlib.util, sys, torch, numpy, PIL; sys.exit(importlib.util.find_spec("torchvision") is None)';

/** Path of a Python that has torch, torchvision, numpy and pillow. Installs them only into the bench's own. */
export function findPython() {
  if (process.env.PYTHON) {
    if (isFit(process.env.PYTHON)) return process.env.PYTHON;
    throw new Error(
      `PYTHON=${process.env.PYTHON} lacks torch, torchvision, numpy or pillow. Install them, or unset PYTHON.`,
    );
  }
  if (isFit('python3')) return 'python3';
  const folder = join(cacheDirectory(), 'bench-python');
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
    [...pip, `torch==${readPin().version}`, 'numpy', 'pillow'],
    [...pip, '--no-deps', torchvision],
  ]) {
    const [program, ...args] = command;
    if (spawnSync(program, args, { stdio: ['ignore', 2, 2] }).status !== 0) {
      throw new Error(
        `\`${command.join(' ')}\` failed. Set PYTHON to a Python with torch, torchvision, numpy and pillow.`,
      );
    }
  }
  if (!isFit(python)) throw new Error(`${python} still cannot import PyTorch. Set PYTHON to one that can.`);
}
