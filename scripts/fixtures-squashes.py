"""Makes test/fixtures/squashes: one small classifier that ends in scores, and in what makes probabilities of them.

    python scripts/fixtures-squashes.py [folder]          (PyTorch 2.13)

plain.pt           scores
softmax.pt         F.softmax, scripted
softmax-eval.pt    softmax in eval mode alone, as detectors' classifiers have it; scripted
softmax-traced.pt  nn.Softmax at the end of a Sequential, traced
log-softmax.pt     F.log_softmax, traced
sigmoid.pt         sigmoid in place, scripted
tuple.pt           (softmax of the scores, features), scripted
auxiliary.pt       softmax of scores and, in training, of an auxiliary head's too; scripted
inner.pt           softmax as attention within the network, and scores at the end; scripted
"""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from torchscript_file import save_without_paths

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "test" / "fixtures" / "squashes")


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.fc = nn.Linear(8, 4)

    def features(self, x):
        return torch.relu(self.conv(x)).mean((2, 3))

    def forward(self, x):
        return self.fc(self.features(x))


class Softmax(Plain):
    def forward(self, x):
        return F.softmax(self.fc(self.features(x)), dim=1)


class SoftmaxInEval(Plain):
    def forward(self, x):
        x = self.fc(self.features(x))
        return x if self.training else x.softmax(1)


class LogSoftmax(Plain):
    def forward(self, x):
        return F.log_softmax(self.fc(self.features(x)), dim=1)


class Sigmoid(Plain):
    def forward(self, x):
        return self.fc(self.features(x)).sigmoid_()


class Pair(Plain):
    def forward(self, x):
        x = self.features(x)
        return torch.softmax(self.fc(x), 1), x


class Auxiliary(Plain):
    def __init__(self):
        super().__init__()
        self.aux = nn.Linear(8, 4)

    def forward(self, x):
        x = self.features(x)
        main = torch.softmax(self.fc(x), 1)
        if self.training:
            return main, torch.softmax(self.aux(x), 1)
        return main, torch.zeros(1)


class Inner(Plain):
    def forward(self, x):
        x = self.features(x)
        return self.fc(x * torch.softmax(x, 1) * torch.sigmoid(x))


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    plain = Plain().eval()
    image = torch.rand(2, 3, 32, 32)
    ended = nn.Sequential(Plain(), nn.Softmax(dim=1)).eval()
    for name, module in [
        ("plain", torch.jit.script(plain)),
        ("softmax", torch.jit.script(Softmax().eval())),
        ("softmax-eval", torch.jit.script(SoftmaxInEval().eval())),
        ("softmax-traced", torch.jit.trace(ended, image)),
        ("log-softmax", torch.jit.trace(LogSoftmax().eval(), image)),
        ("sigmoid", torch.jit.script(Sigmoid().eval())),
        ("tuple", torch.jit.script(Pair().eval())),
        ("auxiliary", torch.jit.script(Auxiliary().eval())),
        ("inner", torch.jit.script(Inner().eval())),
    ]:
        save_without_paths(module, FOLDER / f"{name}.pt")


if __name__ == "__main__":
    main()
