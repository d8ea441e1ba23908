"""Makes test/fixtures/grafts.json.gz: a first convolution's weight for other numbers of input channels, by timm's rule.

    python scripts/fixtures-grafts.py [folder]

The rule is that of adapt_input_conv in timm/models/_manipulate.py: the sum over the input channels for one; else the weight
is repeated, cut, and multiplied by 3 / channels. `conv1.weight` is that of test/fixtures/models/residual.pt.
"""

import gzip
import json
import math
import sys
from pathlib import Path

import torch


def adapt_input_conv(channels, weight):
    if channels == 1:
        return weight.sum(dim=1, keepdim=True)
    repeats = int(math.ceil(channels / 3))
    return weight.repeat(1, repeats, 1, 1)[:, :channels, :, :] * (3 / float(channels))


def main():
    here = Path(__file__).resolve().parent.parent / "test" / "fixtures"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else here
    model = torch.jit.load(here / "models" / "residual.pt")
    name, weight = next((n, p.detach()) for n, p in model.named_parameters() if p.dim() == 4)
    image = torch.sin(torch.arange(2 * 8 * 8, dtype=torch.float32)).view(2, 1, 8, 8)
    model.eval()
    with torch.no_grad():
        grey = model(image.repeat(1, 3, 1, 1))
    content = {
        "name": name,
        "channels": {str(n): adapt_input_conv(n, weight).flatten().tolist() for n in (1, 2, 3, 4, 7)},
        "grey": grey.flatten().tolist(),
    }
    with open(folder / "grafts.json.gz", "wb") as file:
        with gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
            packed.write(json.dumps(content).encode())


main()
