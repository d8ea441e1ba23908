"""Opens saved models as anyone would, and prints each one's logits for a file of float32 numbers, as JSON.

    python scripts/open-saved.py INPUT SIZES MODEL...          (SIZES: 4,3,224,224)
"""

import json
import sys

import numpy
import torch


def describe(path, inputs):
    extra = {"torchgraft.json": ""}
    model = torch.jit.load(path, _extra_files=extra)
    with torch.no_grad():
        output = model(inputs)
    logits = output[0] if isinstance(output, tuple) else output
    text = extra["torchgraft.json"]
    return {
        "logits": logits.flatten().tolist(),
        "extra": text if isinstance(text, str) else text.decode(),
        "training": model.training,
        "withoutGrad": [name for name, each in model.named_parameters() if not each.requires_grad],
    }


def main():
    data, sizes, *paths = sys.argv[1:]
    inputs = torch.from_numpy(numpy.fromfile(data, dtype=numpy.float32)).reshape([int(size) for size in sizes.split(",")])
    print(json.dumps([describe(path, inputs) for path in paths]))


if __name__ == "__main__":
    main()
