"""Makes test/fixtures/splits: TorchScript files whose forward is awkward to cut into a frozen and a learning part.

    python scripts/fixtures-splits.py [folder]          (PyTorch 2.13)

<name>.pt          each takes float32 [n, 3, 8, 8] and gives [n, 5]; `stem`, `body` and `fc` have parameters in all
expected.json.gz   one input for all, and PyTorch's output in eval mode by model
"""

import gzip
import json
import re
import sys
from pathlib import Path
from typing import Dict, List, Optional

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fixture_answers import plain
from torchscript_file import save_without_paths

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "test" / "fixtures" / "splits")
WIDTH = 6


class Layers(nn.Module):
    """Convolution, convolution, Linear: what the models below put together."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, WIDTH, 3, padding=1)
        self.body = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
        self.fc = nn.Linear(WIDTH, 5)

    def classify(self, x: Tensor) -> Tensor:
        return self.fc(x.mean([2, 3]))


class Shift(nn.Module):
    """Adds a number to each channel; its gradient needs no input, so that this may be overwritten."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-0.5, 0.5, WIDTH).reshape(1, WIDTH, 1, 1))

    def forward(self, x):
        return x + self.weight


class Shifted(Layers):
    def __init__(self):
        super().__init__()
        self.shift = Shift()


class CrossingWritten(Shifted):
    """What learns writes into a value that comes from what is frozen."""

    def forward(self, x):
        x = torch.relu(self.stem(x))
        kept = x * 0.5
        y = torch.tanh(self.shift(self.body(x)))
        kept.add_(y).relu_()
        return self.classify(kept)


class ReadBeforeWrite(Shifted):
    """A frozen value is written in place after what learns has read it."""

    def forward(self, x):
        x = self.stem(x)
        y = self.shift(x).mean([2, 3])
        x.mul_(2.0).add_(1.0)
        return self.classify(torch.relu(self.body(x))) + self.fc(y)


class Aliases(Shifted):
    """Two frozen values share memory; what learns writes through one and reads the other."""

    def forward(self, x):
        x = torch.relu(self.stem(x))
        half = x[:, :3]
        y = self.shift(x)
        half.add_(y[:, :3])
        return self.classify(torch.relu(self.body(x)))


class InputWritten(Layers):
    """Forward writes into its own input."""

    def forward(self, x):
        x.mul_(0.5)
        return self.classify(torch.relu(self.body(torch.relu(self.stem(x)))))


class DataControl(Layers):
    """Which way the images go depends on the batch."""

    def forward(self, x):
        if bool(x.mean() > 0.0):
            x = torch.relu(self.stem(x))
        else:
            x = torch.tanh(self.stem(x))
        return self.classify(torch.relu(self.body(x)))


class MixesSamples(Layers):
    """Each image's value depends on the whole batch."""

    def forward(self, x):
        x = self.stem(x)
        x = x - x.mean(0, keepdim=True)
        return self.classify(torch.relu(self.body(torch.relu(x))))


class BatchMean(Layers):
    """A frozen value without a row for each image crosses the cut."""

    def forward(self, x):
        x = self.stem(x)
        mean = x.mean(0, keepdim=True)
        return self.classify(torch.relu(self.body(x)) - mean)


class Assigns(Layers):
    """Forward assigns an attribute of the frozen part, and reads it."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls = self.calls + 1
        x = torch.relu(self.stem(x)) * float(min(self.calls, 1))
        return self.classify(torch.relu(self.body(x)))


class WritesBuffer(Layers):
    """A running mean of the frozen part's values, in training, that is subtracted from them."""

    def __init__(self):
        super().__init__()
        self.register_buffer("running", torch.zeros(1, WIDTH, 1, 1))

    def forward(self, x):
        x = self.stem(x)
        if self.training:
            self.running.mul_(0.9).add_(x.detach().mean([0, 2, 3], keepdim=True) * 0.1)
        return self.classify(torch.relu(self.body(torch.relu(x - self.running))))


class Counter(Layers):
    """Writes a buffer in every forward, of a module without parameters."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        self.seen.add_(1.0)
        return self.classify(torch.relu(self.body(torch.relu(self.stem(x)))))


class Noise(Layers):
    """Random numbers in front of a frozen layer, in training."""

    def forward(self, x):
        if self.training:
            x = x + 0.1 * torch.randn_like(x)
        return self.classify(torch.relu(self.body(torch.relu(self.stem(x)))))


class Sizes(Layers):
    """Numbers cross the cut: the shape of a frozen value."""

    def forward(self, x):
        x = torch.relu(self.stem(x))
        n, c = x.size(0), x.size(1)
        y = torch.relu(self.body(x)).reshape(n, c, -1)
        return self.fc(y.mean(2) / float(n) * float(n))


class Branches(Layers):
    """A frozen and a learning way through the network meet again, twice."""

    def __init__(self):
        super().__init__()
        self.side = nn.Conv2d(3, WIDTH, 1)
        self.norm = nn.BatchNorm2d(WIDTH)

    def forward(self, x):
        side = torch.relu(self.side(x))
        x = torch.relu(self.stem(x))
        y = torch.cat([self.norm(self.body(x)), side, x], 1)
        return self.fc(y.mean([2, 3]).reshape(-1, 3, 6).mean(1) + side.mean([2, 3]))


class Inplace(Layers):
    """The usual in-place operations: activations, and the sum of a residual block."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(WIDTH)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.act(self.stem(x))
        y = self.norm(self.body(x))
        y += x
        return self.classify(self.act(y))


class Join(nn.Module):
    def __init__(self, parts: int):
        super().__init__()
        self.conv = nn.Conv2d(parts * WIDTH, WIDTH, 1)

    def forward(self, parts: List[Tensor]):
        if isinstance(parts, Tensor):
            previous = [parts]
        else:
            previous = parts
        return torch.relu(self.conv(torch.cat(previous, 1)))


class Dense(Layers):
    """DenseNet's list that grows while its parts are concatenated."""

    def __init__(self):
        super().__init__()
        self.joins = nn.ModuleList([Join(1), Join(2)])

    def forward(self, x):
        parts = [torch.relu(self.body(torch.relu(self.stem(x))))]
        for join in self.joins:
            parts.append(join(parts))
        return self.fc(torch.cat(parts, 1).mean([2, 3]).reshape(-1, 3, 6).mean(1))


class Grown(Layers):
    """A list that grows in a loop."""

    def forward(self, x):
        parts: List[Tensor] = []
        for i in range(x.size(2) // 4):
            parts.append(torch.relu(self.stem(x)) * float(i + 1))
        return self.classify(torch.relu(self.body(torch.stack(parts).mean(0))))


class Chunks(Layers):
    """ShuffleNet's halves of the channels, shuffled."""

    def forward(self, x):
        x = torch.relu(self.stem(x))
        n, c, h, w = x.size()
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        a, b = x.chunk(2, dim=1)
        y = torch.relu(self.body(torch.cat([b, a], 1)))
        return self.classify(torch.cat([a, y[:, :3]], 1))


class NoGrad(Layers):
    """The body runs without gradients, whatever is frozen."""

    def forward(self, x):
        with torch.no_grad():
            x = torch.relu(self.stem(x))
        y = self.body(x)
        with torch.no_grad():
            scale = y.mean()
        return self.classify(torch.relu(y) * scale)


class Shared(Layers):
    """One layer is used twice, before and behind another."""

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(self.body(x))
        x = torch.tanh(self.body(x))
        return self.fc(self.body(x).mean([2, 3]))


class WithOptional(Layers):
    def forward(self, x, scale: Optional[Tensor] = None):
        x = torch.relu(self.body(torch.relu(self.stem(x))))
        return self.classify(x if scale is None else x * scale)


class Forked(Layers):
    def forward(self, x):
        side = torch.jit.fork(self.stem, x)
        return self.classify(torch.relu(self.body(torch.relu(self.stem(x)))) + torch.jit.wait(side))


class Indices(Layers):
    """Whole numbers made by the frozen part choose rows of a table that learns."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(WIDTH, WIDTH)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        best = x.mean([2, 3]).argmax(1)
        return self.fc(self.table(best) + torch.relu(self.body(x)).mean([2, 3]))


class SumWritten(Layers):
    """A convolution's output is added to its own input, which is read afterwards."""

    def forward(self, x):
        x = torch.relu(self.stem(x))
        y = self.body(x)
        x.add_(y)
        return self.classify(torch.relu(x))


class DropoutMap(Layers):
    """Dropout of images in front of the layer that learns, as SqueezeNet has it."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.last = nn.Conv2d(WIDTH, 5, 1)

    def forward(self, x):
        x = torch.relu(self.body(torch.relu(self.stem(x))))
        return self.last(self.drop(x)).mean([2, 3]) + 0.0 * self.classify(x)


class Activations(Layers):
    """What mobile networks are made of: every activation that is fused, depthwise, dilated and strided convolutions,
    squeeze and excitation, a transposed convolution, LayerNorm and attention."""

    def __init__(self):
        super().__init__()
        wide = 2 * WIDTH
        self.expand = nn.Sequential(nn.Conv2d(WIDTH, wide, 1, bias=False), nn.BatchNorm2d(wide), nn.Hardswish(True))
        self.deep = nn.Sequential(
            nn.Conv2d(wide, wide, 3, padding=2, dilation=2, groups=wide, bias=False), nn.BatchNorm2d(wide), nn.SiLU()
        )
        self.down = nn.Sequential(nn.Conv2d(wide, WIDTH, 3, stride=2, padding=1), nn.LeakyReLU(0.1), nn.Dropout2d(0.1))
        self.gate = nn.Conv2d(WIDTH, WIDTH, 1)
        self.up = nn.Sequential(nn.ConvTranspose2d(WIDTH, WIDTH, 2, stride=2), nn.BatchNorm2d(WIDTH), nn.ReLU6(True))
        self.norm = nn.LayerNorm(WIDTH)
        self.mix = nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        x = F.hardtanh(self.stem(x), -2.0, 2.0)
        y = self.down(self.deep(self.expand(x)))
        y = y * torch.sigmoid(self.gate(y.mean([2, 3], keepdim=True)))
        x = torch.tanh(x + self.up(y) * 0.5 + 0.25)
        x = F.gelu(self.body(x)) - F.elu(x)
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        tokens = F.scaled_dot_product_attention(self.mix(tokens), tokens, tokens)
        return self.fc(tokens.mean(1))


class Upsampled(Layers):
    """Interpolation by a factor, behind what learns: its sizes are appended to a list in a loop."""

    def __init__(self):
        super().__init__()
        self.smooth = nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False)
        self.near = nn.Upsample(scale_factor=2.0, mode="nearest")

    def forward(self, x):
        x = torch.relu(self.body(torch.relu(self.stem(x))))
        return self.classify(F.interpolate(self.near(self.smooth(x)), scale_factor=0.5, mode="area"))


class LaterAppended(Layers):
    """What learns appends to a list that the frozen part has begun."""

    def forward(self, x):
        parts = [torch.relu(self.stem(x))]
        parts.append(parts[0] * 0.5)
        for i in range(x.size(2) // 4):
            parts.append(torch.relu(self.body(parts[i])))
        return self.classify(torch.stack(parts).mean(0))


class Filled(Layers):
    """What learns adds to a tensor and to a dictionary that no image has touched before."""

    def forward(self, x):
        total = torch.zeros(1, 6, 8, 8)
        sides: Dict[str, Tensor] = {}
        x = torch.relu(self.stem(x))
        y = torch.relu(self.body(x))
        total += y.mean(0, keepdim=True)
        if "side" in sides:
            y = y + sides["side"]
        sides["side"] = y
        return self.classify(y + sides["side"] + total)


# fmt: off
MODELS = [
    CrossingWritten, ReadBeforeWrite, Aliases, InputWritten, SumWritten, Inplace,
    DataControl, MixesSamples, BatchMean, Sizes, Indices,
    Assigns, WritesBuffer, Counter, Noise, DropoutMap,
    Branches, Shared, Dense, Grown, Chunks, NoGrad, WithOptional, Forked, Activations,
    Upsampled, LaterAppended, Filled,
]
# fmt: on


def name_of(network) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", r"-\1", network.__name__).lower()


def main():
    torch.manual_seed(0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    image = torch.randn(6, 3, 8, 8)
    outputs = {}
    for Network in MODELS:
        name, network = name_of(Network), Network().train()
        with torch.no_grad():
            # BatchNorm statistics other than 0 and 1.
            for _ in range(5):
                network(torch.randn(8, 3, 8, 8) * 2 + 0.5)
        save_without_paths(torch.jit.script(network.eval()), FOLDER / f"{name}.pt")
        with torch.no_grad():
            outputs[name] = plain(torch.jit.load(FOLDER / f"{name}.pt").eval()(image.clone()))
    document = {"input": plain(image), "outputs": outputs}
    (FOLDER / "expected.json.gz").write_bytes(gzip.compress(json.dumps(document).encode(), mtime=0))


if __name__ == "__main__":
    main()
