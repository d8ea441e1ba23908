"""Makes test/fixtures/training/mix.json.gz and echo.pt: mixed batches, and losses of shares of classes.

Two images are mixed by torchvision's MixUp and CutMix, which pair neighbours; more by the papers' formulas on the batch
turned round, as timm pairs them. The shares are drawn here as binding/mix.cc draws them, from the generator of
counter_random.py; test/mix.test.ts looks at their distribution too.

    python scripts/fixtures-mix.py [folder]
"""

import base64
import gzip
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch
from torch import nn
from torch.nn import functional as F

import vision  # noqa: F401 (before torchvision)
from counter_random import MASK, uniform
from torchscript_file import save_without_paths
from torchvision.transforms import v2
from torchvision.transforms.v2 import _augment

SEED, EPOCH = 42, 3
CLASSES = 4
HEIGHT, WIDTH = 9, 12
MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]
WHICH, MIDDLE_Y, MIDDLE_X, BETA = 300, 301, 302, 310


class Echo(nn.Module):
    """Gives what came back, flat; the gradient of `offset` is that of the output."""

    def __init__(self):
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(6, 3 * HEIGHT * WIDTH))

    def forward(self, x):
        flat = x.flatten(1)
        return flat + self.offset[: flat.size(0), : flat.size(1)]


def hash_of(indices):
    value = 0xCBF29CE484222325
    for index in indices:
        value = ((value ^ index) * 0x100000001B3) & MASK
    return value


class Draws:
    def __init__(self, batch):
        self.batch = batch
        self.slot = BETA

    def uniform(self):
        self.slot += 1
        return uniform(SEED, EPOCH, self.batch, self.slot - 1)

    def normal(self):
        radius = math.sqrt(-2 * math.log1p(-self.uniform()))
        return radius * math.cos(2 * math.pi * self.uniform())


def log_gamma(draws, shape):
    """Marsaglia and Tsang (2000), with their boost for shapes below 1."""
    if shape < 1:
        boost = math.log1p(-draws.uniform()) / shape
        return log_gamma(draws, shape + 1) + boost
    d = shape - 1 / 3
    while True:
        x = draws.normal()
        root = 1 + x / math.sqrt(9 * d)
        u = draws.uniform()
        if root > 0 and math.log1p(-u) < 0.5 * x * x + d - d * root**3 + d * math.log(root**3):
            return math.log(d * root**3)


def beta(batch, alpha):
    draws = Draws(batch)
    first, second = log_gamma(draws, alpha), log_gamma(draws, alpha)
    gap = second - first
    return 0.0 if gap > 700 else 1 / (1 + math.exp(gap))


def decide(indices, mixup, cutmix):
    """The share that a batch's images keep, and cutmix's box [top, left, height, width] or None."""
    batch = hash_of(indices)
    if not cutmix or (mixup and uniform(SEED, EPOCH, batch, WHICH) >= 0.5):
        return beta(batch, mixup), None
    share = beta(batch, cutmix)
    # torchvision's own box, around our middle.
    middles = {WIDTH: uniform(SEED, EPOCH, batch, MIDDLE_X), HEIGHT: uniform(SEED, EPOCH, batch, MIDDLE_Y)}
    stand_in = SimpleNamespace(
        randint=lambda length, size: torch.tensor([int(middles[length] * length)]), clamp=torch.clamp
    )
    transform = v2.CutMix(num_classes=CLASSES)
    transform._dist = SimpleNamespace(sample=lambda _: torch.tensor(share, dtype=torch.float64))
    with mock.patch.object(_augment, "torch", stand_in):
        found = transform.make_params([torch.empty(2, 3, HEIGHT, WIDTH)])
    left, top, right, bottom = found["box"]
    return found["lam_adjusted"], [top, left, bottom - top, right - left]


def by_torchvision(images, labels, share, box):
    make = v2.CutMix if box else v2.MixUp
    params = {"lam": share, "lam_adjusted": share}
    if box:
        params["box"] = (box[1], box[0], box[1] + box[3], box[0] + box[2])
    with mock.patch.object(make, "make_params", lambda self, _: params):
        return make(num_classes=CLASSES)(images, labels)


def by_formula(images, labels, share, box):
    shares = F.one_hot(labels, CLASSES).float()
    target = share * shares + (1 - share) * shares.flip(0)
    if not box:
        return share * images + (1 - share) * images.flip(0), target
    top, left, height, width = box
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    return torch.where(mask, images.flip(0), images), target


def encode(values):
    return base64.b64encode(values.contiguous().numpy().tobytes()).decode()


def case_of(count, mixup, cutmix, first):
    pixels = torch.randint(0, 256, (count, HEIGHT, WIDTH, 3), dtype=torch.uint8)
    labels = torch.tensor([1, 3, 0, 0, 2, 3][:count])
    indices = [first + 5 * i for i in range(count)]
    images = (pixels.permute(0, 3, 1, 2).float() / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    share, box = decide(indices, mixup, cutmix)
    mixed, target = (by_torchvision if count == 2 else by_formula)(images, labels, share, box)
    return {
        "mixup": mixup,
        "cutmix": cutmix,
        "pixels": encode(pixels),
        "labels": labels.tolist(),
        "indices": indices,
        "share": share,
        "box": box,
        "images": encode(mixed.float().flatten(1)),
        "target": encode(target.float()),
    }


def focal(logits, shares, weights, gamma):
    log_probability = F.log_softmax(logits, 1)
    return (-shares * weights * (1 - log_probability.exp()) ** gamma * log_probability).sum(1).mean()


def losses():
    """Value and gradient by PyTorch, for shares of the classes as targets."""
    weights = torch.tensor([0.5, 1.0, 2.0, 1.5])
    kinds = [
        ({"kind": "crossEntropy", "labelSmoothing": 0}, lambda x, y: F.cross_entropy(x, y)),
        ({"kind": "crossEntropy", "labelSmoothing": 0.1}, lambda x, y: F.cross_entropy(x, y, label_smoothing=0.1)),
        (
            {"kind": "crossEntropy", "labelSmoothing": 0.2, "classWeights": weights.tolist()},
            lambda x, y: F.cross_entropy(x, y, weights, label_smoothing=0.2),
        ),
        ({"kind": "focal", "gamma": 2}, lambda x, y: focal(x, y, torch.ones(4), 2)),
        ({"kind": "focal", "gamma": 1.5, "classWeights": weights.tolist()}, lambda x, y: focal(x, y, weights, 1.5)),
        ({"kind": "bceWithLogits"}, lambda x, y: F.binary_cross_entropy_with_logits(x, y)),
        ({"kind": "mse"}, lambda x, y: F.mse_loss(x, y)),
    ]
    for options, loss_of in kinds:
        logits = (3 * torch.randn(5, CLASSES)).requires_grad_()
        shares = torch.rand(5, CLASSES)
        shares[1] = torch.tensor([0.0, 1.0, 0.0, 0.0])
        shares /= shares.sum(1, keepdim=True)
        loss = loss_of(logits, shares)
        loss.backward()
        yield {
            "options": options,
            "logits": encode(logits.detach()),
            "shares": encode(shares),
            "loss": loss.item(),
            "gradient": encode(logits.grad),
        }


def main(folder):
    torch.manual_seed(22)
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    save_without_paths(torch.jit.script(Echo().eval()), folder / "echo.pt")
    alphas = [(0.2, 0), (1, 0), (3, 0), (0, 1), (0, 0.3), (0.4, 1)]
    cases = [case_of(n, *each, first) for each in alphas for n, first in ((2, 0), (2, 9), (5, 0), (6, 9))]
    written = {
        **{"seed": SEED, "epoch": EPOCH, "mean": MEAN, "std": STD, "classes": CLASSES, "size": [HEIGHT, WIDTH]},
        **{"cases": cases, "losses": list(losses())},
    }
    text = json.dumps(written, separators=(",", ":"))
    (folder / "mix.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    default = Path(__file__).parent.parent / "test" / "fixtures" / "training"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
