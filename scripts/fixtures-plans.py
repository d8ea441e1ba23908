"""Makes test/fixtures/plans: TorchScript files that plans and training steps have failed on, with random weights.

    python scripts/fixtures-plans.py [folder]          (PyTorch 2.13)

repvgg.pt, mobileone.pt, fastvit.pt   stems with a 1x1 convolution of stride 2 on 3 and on 8 channels; [n, 3, 96, 96] -> [n, 5]
vgg-bn.pt       convolutions with a bias in front of BatchNorm; [n, 3, s, s] -> [n, 5]
attention.pt    a transformer block, whose keys have a bias; [n, 3, 16, 16] -> [n, 5]
mobile.pt       inverted residual blocks; [n, 3, s, s] -> [n, 5]
flat-norm.pt    a BatchNorm behind pooling, that needs more than one image in training; [n, 3, s, s] -> [n, 5]
"""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from torchscript_file import save_without_paths

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "test" / "fixtures" / "plans")
CLASSES = 5


def norm_conv(inputs, outputs, kernel, stride=1, groups=1, bias=False):
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class RepBlock(nn.Module):
    """RepVGG's: 3x3 and 1x1 in parallel, and the identity where shapes allow it."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.wide = norm_conv(inputs, outputs, 3, stride)
        self.narrow = norm_conv(inputs, outputs, 1, stride)
        self.same = nn.BatchNorm2d(inputs) if inputs == outputs and stride == 1 else None

    def forward(self, x):
        y = self.wide(x) + self.narrow(x)
        if self.same is not None:
            y = y + self.same(x)
        return torch.relu(y)


class RepVgg(nn.Module):
    def __init__(self):
        super().__init__()
        self.stages = nn.Sequential(RepBlock(3, 8, 2), RepBlock(8, 8, 1), RepBlock(8, 24, 2))
        self.fc = nn.Linear(24, CLASSES)

    def forward(self, x):
        return self.fc(self.stages(x).mean([2, 3]))


class OneBlock(nn.Module):
    """MobileOne's: several branches of one depthwise kernel, and a scale of 1x1; then the same pointwise."""

    def __init__(self, inputs, outputs, stride, groups=1):
        super().__init__()
        self.branches = nn.ModuleList([norm_conv(inputs, outputs, 3, stride, groups) for _ in range(2)])
        self.scale = norm_conv(inputs, outputs, 1, stride, groups)

    def forward(self, x):
        y = self.scale(x)
        for branch in self.branches:
            y = y + branch(x)
        return torch.relu(y)


class MobileOne(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = OneBlock(3, 12, 2)
        self.deep = OneBlock(12, 12, 2, groups=12)
        self.wide = norm_conv(12, 24, 1)
        self.fc = nn.Linear(24, CLASSES)

    def forward(self, x):
        return self.fc(torch.relu(self.wide(self.deep(self.stem(x)))).mean([2, 3]))


class FastVit(nn.Module):
    """MobileOne's stem, a token mixer of convolutions with a scale of its own, and a block of attention."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(OneBlock(3, 16, 2), OneBlock(16, 16, 2, groups=16))
        self.mix = norm_conv(16, 16, 3, groups=16)
        self.gamma = nn.Parameter(torch.full((1, 16, 1, 1), 0.1))
        self.down = nn.Conv2d(16, 16, 7, 4, 3, groups=16)
        self.norm = nn.LayerNorm(16)
        self.qkv = nn.Linear(16, 48)
        self.fc = nn.Linear(16, CLASSES)

    def forward(self, x):
        x = F.gelu(self.stem(x))
        x = self.down(x + self.gamma * (self.mix(x) - x))
        x = x.flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
        x = x + F.scaled_dot_product_attention(q, k, v)
        return self.fc(x.mean(1))


class VggBn(nn.Module):
    def __init__(self):
        super().__init__()
        widths = [3, 16, 16, 24, 24]
        layers = []
        for at in range(4):
            layers += [nn.Conv2d(widths[at], widths[at + 1], 3, padding=1), nn.BatchNorm2d(widths[at + 1]), nn.ReLU()]
            if at % 2 == 1:
                layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(24, CLASSES)

    def forward(self, x):
        return self.fc(self.features(x).mean([2, 3]))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 32, 4, 4)
        self.norm = nn.LayerNorm(32)
        self.query, self.key, self.value = nn.Linear(32, 32), nn.Linear(32, 32), nn.Linear(32, 32)
        self.hidden, self.back = nn.Linear(32, 64), nn.Linear(64, 32)
        self.fc = nn.Linear(32, CLASSES)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        y = self.norm(x)
        shares = (self.query(y) @ self.key(y).transpose(1, 2) / 32**0.5).softmax(-1)
        x = x + shares @ self.value(y)
        x = x + self.back(F.gelu(self.hidden(x)))
        return self.fc(x.mean(1))


class Inverted(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        wide = 4 * inputs
        self.expand = norm_conv(inputs, wide, 1)
        self.deep = norm_conv(wide, wide, 3, stride, groups=wide)
        self.project = norm_conv(wide, outputs, 1)
        self.adds = inputs == outputs and stride == 1

    def forward(self, x):
        y = self.project(F.relu6(self.deep(F.relu6(self.expand(x)))))
        return x + y if self.adds else y


class Mobile(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = norm_conv(3, 16, 3, 2)
        self.blocks = nn.Sequential(Inverted(16, 16, 1), Inverted(16, 24, 2), Inverted(24, 24, 1), Inverted(24, 24, 1))
        self.fc = nn.Linear(24, CLASSES)

    def forward(self, x):
        return self.fc(self.blocks(F.relu6(self.stem(x))).mean([2, 3]))


class FlatNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, 2, 1)
        self.hidden = nn.Linear(16, 16)
        self.norm = nn.BatchNorm1d(16)
        self.fc = nn.Linear(16, CLASSES)

    def forward(self, x):
        return self.fc(torch.relu(self.norm(self.hidden(torch.relu(self.conv(x)).mean([2, 3])))))


def settle(network, side):
    """Gives BatchNorm real statistics."""
    network.train()
    with torch.no_grad():
        for _ in range(20):
            network(torch.randn(8, 3, side, side))
    return network.eval()


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    sides = {"repvgg": 96, "mobileone": 96, "fastvit": 96, "vgg-bn": 32, "attention": 16, "mobile": 48, "flat-norm": 32}
    for number, (Network, name) in enumerate(zip([RepVgg, MobileOne, FastVit, VggBn, Attention, Mobile, FlatNorm], sides)):
        torch.manual_seed(number)
        save_without_paths(torch.jit.script(settle(Network(), sides[name])), FOLDER / f"{name}.pt")


if __name__ == "__main__":
    main()
