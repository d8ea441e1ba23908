"""Makes test/fixtures/models: tiny TorchScript files of every kind a user may bring, and what PyTorch says of them.

    python scripts/fixtures-models.py [folder]          (PyTorch 2.13)

<name>.pt          the models, a few KB each
expected.json.gz   inputs and outputs in eval mode by model, freshly initialised layers by seed, losses of one batch
"""

import copy
import gzip
import json
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fixture_answers import make_heads, make_losses, plain
from torchscript_file import save_without_paths

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "test" / "fixtures" / "models")
CLASSES = 5


class Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(x + self.bn2(self.conv2(y)))


class Residual(nn.Module):
    """The usual classifier: stem, residual block, dropout before a Linear called `fc`."""

    def __init__(self, dropout: float = 0.5):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(6)
        self.drop1 = nn.Dropout(dropout)
        self.block = Block(6)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x):
        x = self.drop1(torch.relu(self.bn1(self.conv1(x))))
        x = torch.flatten(self.pool(self.block(x)), 1)
        return self.fc(self.drop(x))


class Plain(nn.Module):
    """No BatchNorm and no dropout: a batch is the sum of its samples."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).mean([2, 3]))


class Squeeze(nn.Module):
    """SqueezeNet's head: dropout, 1x1 convolution, ReLU, pooling."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU())
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(8, CLASSES, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x):
        return torch.flatten(self.classifier(self.features(x)), 1)


class Logits(NamedTuple):
    logits: Tensor
    aux_logits: Optional[Tensor]


class Auxiliary(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(6, 7, 1)
        self.fc = nn.Linear(7, CLASSES)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(x)).mean([2, 3]))


class Inception(nn.Module):
    """An auxiliary classifier that exists in train mode only."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.AuxLogits = Auxiliary()
        self.tail = nn.Conv2d(6, 9, 3)
        self.fc = nn.Linear(9, CLASSES)

    def features(self, x) -> Tuple[Tensor, Optional[Tensor]]:
        x = torch.relu(self.stem(x))
        aux: Optional[Tensor] = None
        if self.training:
            aux = self.AuxLogits(x)
        return self.fc(torch.relu(self.tail(x)).mean([2, 3])), aux

    def forward(self, x) -> Logits:
        # An inner method that returns a tuple, as in torchvision's, and a return in each branch.
        logits, aux = self.features(x)
        if aux is None:
            return Logits(logits, None)
        return Logits(logits, aux)


class Vgg(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU())
        self.classifier = nn.Sequential(
            nn.Linear(6, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, CLASSES)
        )

    def forward(self, x):
        return self.classifier(self.features(x).mean([2, 3]))


class FunctionalDropout(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(4, 32)
        self.fc2 = nn.Linear(32, CLASSES)

    def forward(self, x):
        return self.fc2(F.dropout(torch.relu(self.fc1(x)), 0.5, self.training))


class TwoHeads(nn.Module):
    """Two layers are added up to the output: together they are the classifier."""

    def __init__(self):
        super().__init__()
        self.left = nn.Linear(4, CLASSES)
        self.right = nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.left(x) + self.right(torch.tanh(x))


class NoBias(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(4, 6)
        self.fc = nn.Linear(6, CLASSES, bias=False)

    def forward(self, x):
        return self.fc(torch.relu(self.hidden(x)))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.mix = nn.Linear(4, 4)
        self.decoder = nn.Linear(4, 7)
        self.decoder.weight = self.embedding.weight

    def forward(self, tokens):
        return self.decoder(torch.tanh(self.mix(self.embedding(tokens).mean(1))))


class CountingNorm(nn.Module):
    """BatchNorm as PyTorch before 1.13 scripted it: the count is assigned anew instead of added to in place."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))
        self.register_buffer("num_batches_tracked", torch.tensor(0))

    def forward(self, x):
        if self.training:
            self.num_batches_tracked = self.num_batches_tracked + 1
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, self.training)


class OldNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(4, 6)
        self.norm = CountingNorm(6)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.fc(torch.relu(self.norm(self.hidden(x))))


class PlainNorm(nn.Module):
    """A BatchNorm without weight and bias: nothing in it has a name to freeze by."""

    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(4, 6)
        self.norm = nn.BatchNorm1d(6, affine=False)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.fc(torch.relu(self.norm(self.hidden(x))))


class EveryDtype(nn.Module):
    """One input of each dtype; a dict of one output of each dtype."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(10, 3)
        self.fc = nn.Linear(3, 2)

    def forward(
        self, single: Tensor, double: Tensor, tokens: Tensor, counts: Tensor, pixels: Tensor, mask: Tensor
    ) -> Dict[str, Tensor]:
        hidden = self.embedding(tokens) * mask.unsqueeze(-1)
        return {
            "single": self.fc(hidden + single),
            "double": double * 2 + counts,
            "tokens": tokens + 2**40,
            "counts": counts - 3,
            "pixels": pixels + 1,
            "mask": torch.logical_not(mask),
        }


class TupleOut(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x) -> Tuple[Tensor, Tuple[Tensor, int], Optional[Tensor], str]:
        y = self.fc(x)
        return y, (y * 2, 3), None, "done"


class ListOut(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x) -> List[Tensor]:
        return [self.fc(x), x + 1]


class Centred(nn.Module):
    """Two inputs, the second without a batch; what a sample gives depends on the others."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(8, 6)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x, scale):
        return self.fc(torch.relu(self.body(x - x.mean(0)) * scale))


def settle(network):
    """Gives BatchNorm real statistics."""
    network.train()
    with torch.no_grad():
        for _ in range(5):
            network(torch.randn(8, 3, 8, 8) * 2 + 0.5)
    return network.eval()


def fold(network):
    """What exporters leave that fold BatchNorm: scale 1, mean 0, variance 1, and the shift kept as the bias."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.zero_()
            module.running_var.fill_(1 - module.eps)
            module.num_batches_tracked.zero_()
            nn.init.ones_(module.weight)
            nn.init.normal_(module.bias, std=0.1)
    return network.eval()


def make_models():
    """name -> (TorchScript module, inputs)."""
    image = (torch.randn(2, 3, 8, 8),)
    row = (torch.randn(3, 4),)
    residual = settle(Residual())
    models = {"residual": (torch.jit.script(residual), image)}
    models["residual.traced-eval"] = (torch.jit.trace(residual, image), image)
    models["residual.frozen"] = (torch.jit.freeze(torch.jit.script(residual)), image)
    models["residual.train-mode"] = (torch.jit.script(residual).train(), image)
    fixed = copy.deepcopy(residual)
    fixed.block.requires_grad_(False)
    models["residual.without-grad"] = (torch.jit.script(fixed), image)
    still = settle(Residual(dropout=0.0)).train()
    models["residual.traced-train"] = (torch.jit.trace(still, image, check_trace=False), None)
    models["folded"] = (torch.jit.script(fold(Residual(dropout=0.0))), image)
    models["fresh"] = (torch.jit.script(Residual(dropout=0.0).eval()), image)
    models["mlp.traced"] = (torch.jit.trace(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5)).eval(), row), row)
    for name, network, inputs in [
        ("plain", Plain(), image),
        ("squeeze", Squeeze(), image),
        ("inception", Inception(), image),
        ("vgg", Vgg(), image),
        ("functional-dropout", FunctionalDropout(), row),
        ("two-heads", TwoHeads(), row),
        ("no-bias", NoBias(), row),
        ("tied", Tied(), (torch.randint(7, (3, 5)),)),
        ("old-norm", OldNorm(), row),
        ("plain-norm", PlainNorm(), row),
        ("every-dtype", EveryDtype(), every_dtype()),
        ("tuple-out", TupleOut(), row),
        ("list-out", ListOut(), row),
        ("centred", Centred(), None),
    ]:
        models[name] = (torch.jit.script(network.eval()), inputs)
    return models


def every_dtype():
    return (
        torch.randn(4, 3),
        torch.randn(4, dtype=torch.float64),
        torch.tensor([0, 9, 4, 4]),
        torch.tensor([-(2**31), 5, 2**31 - 1, 0], dtype=torch.int32) + torch.tensor([3, 0, 0, 0], dtype=torch.int32),
        torch.tensor([0, 255, 7, 128], dtype=torch.uint8),
        torch.tensor([True, False, True, True]),
    )


def main():
    torch.manual_seed(0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    outputs = {}
    for name, (module, inputs) in make_models().items():
        save_without_paths(module, FOLDER / f"{name}.pt")
        if inputs is None:
            continue
        with torch.no_grad():
            expected = torch.jit.load(FOLDER / f"{name}.pt").eval()(*inputs)
        outputs[name] = {"inputs": plain(inputs), "output": plain(expected)}
    heads = make_heads(7)
    losses = make_losses(torch.jit.load(FOLDER / "inception.pt"))
    document = {"outputs": outputs, "heads": heads, "losses": losses}
    (FOLDER / "expected.json.gz").write_bytes(gzip.compress(json.dumps(document).encode(), mtime=0))


if __name__ == "__main__":
    main()
