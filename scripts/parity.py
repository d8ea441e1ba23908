"""Live parity: makes the fixtures anew with the PyTorch and torchvision installed here, and runs the parity tests on them.

    npm run parity            (the Python in $PYTHON, or python3)
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main():
    try:
        import torch
    except ImportError:
        sys.exit("PyTorch is not installed for this Python. Run `pip install torch torchvision`, or set PYTHON to one that has it.")
    print(f"Making fixtures with PyTorch {torch.__version__} ...", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for script in ("fixtures-training.py", "fixtures-lbfgs.py", "fixtures-augment.py", "fixtures-mix.py"):
            subprocess.run([sys.executable, f"scripts/{script}", folder], cwd=ROOT, check=True)
        environment = {**os.environ, "TORCHGRAFT_PARITY_FIXTURES": folder}
        tests = ["test/parity.test.ts", "test/lbfgs.test.ts", "test/augment.test.ts", "test/mix.test.ts"]
        return subprocess.run(["npx", "--no", "tap", *tests], cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
