"""The peer's side of `npm run bench -- loader`: torchvision's transforms on PIL images, without a DataLoader, on command.

With several processes each takes its share of the list and keeps its images: nothing is sent between them, which a
DataLoader would have to do. Forked processes are started before the first pass that needs them.
"""

import json
import multiprocessing
import sys
import time

import numpy
import torch
from torchvision_ready import prepare_torchvision

prepare_torchvision()
import torchvision
from PIL import Image
from torchvision import transforms

CONFIG = json.loads(sys.argv[-1])
NORMALISE = [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
CROP = [transforms.Resize(256), transforms.CenterCrop(224)]
VIEWS = {
    "plain": transforms.Compose([*CROP, *NORMALISE]),
    "augmented": transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), *NORMALISE]),
    # Bytes, as our side gives them: no float conversion, no normalisation.
    "bytes": transforms.Compose([*CROP, transforms.PILToTensor()]),
}
torch.set_num_threads(1)


def read(path, view):
    with Image.open(path) as image:
        return VIEWS[view](image.convert("RGB"))


def read_all(work):
    paths, view = work
    start = time.process_time()
    for first in range(0, len(paths), CONFIG["batch"]):
        torch.stack([read(path, view) for path in paths[first : first + CONFIG["batch"]]])
    return time.process_time() - start


def read_pass(request):
    paths, view, processes = CONFIG["sets"][request["set"]], request["view"], request["threads"]
    pool = pools[processes] if processes > 1 else None
    start = time.perf_counter()
    if pool:
        shares = [(paths[first::processes], view) for first in range(processes)]
        used = sum(pool.map(read_all, shares, chunksize=1))
    else:
        used = read_all((paths, view))
    return {"images": len(paths), "seconds": time.perf_counter() - start, "processorSeconds": used}


def write_pixels(request):
    crop = transforms.Compose(CROP)
    images = [numpy.asarray(crop(Image.open(path).convert("RGB"))) for path in CONFIG["sets"][request["set"]][: CONFIG["batch"]]]
    numpy.stack(images).tofile(request["file"])
    return {"shape": [len(images), 224, 224, 3]}


pools = {count: multiprocessing.get_context("fork").Pool(count) for count in CONFIG["threads"] if count > 1}
print(json.dumps({"version": f"torchvision {torchvision.__version__}"}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps(write_pixels(request) if request["do"] == "pixels" else read_pass(request)), flush=True)
for pool in pools.values():
    pool.terminate()
