"""Makes test/fixtures/failures: small TorchScript files whose forward refuses what it is given, or that are no classifiers.

    python scripts/fixtures-failures.py [folder]          (PyTorch 2.13, from the repository)

What each does is in its docstring. `raises`, `asserts` and `fixed-batch` keep their debug records, so that the interpreter
can name lines; paths in them are replaced.
"""

import sys
from pathlib import Path
from typing import Dict, List

import torch
from torch import Tensor, nn

from torchscript_file import save_without_paths

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "test" / "fixtures" / "failures")


class Scores(nn.Module):
    """Mean colour to 2 scores; the head is a Linear written out, so that no frame of PyTorch is in its way."""

    def __init__(self, inputs: int = 3):
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(-1, 1, 2 * inputs).reshape(2, inputs))
        self.bias = nn.Parameter(torch.zeros(2))

    def forward(self, x):
        return torch.nn.functional.linear(x.mean([2, 3]), self.weight, self.bias)


class Raises(Scores):
    """Takes 64 px alone, and says so."""

    def check(self, x):
        if x.shape[-1] != 64:
            raise ValueError(f"input must be 64, not {x.shape[-1]}")
        return x

    def forward(self, x):
        return torch.nn.functional.linear(self.check(x).mean([2, 3]), self.weight, self.bias)


class Asserts(Scores):
    """Takes no image at all."""

    def forward(self, x):
        assert x.shape[1] == 5, "expected 5 bands:\nred, green, blue, near infrared, depth"
        return torch.nn.functional.linear(x.mean([2, 3]), self.weight, self.bias)


class Bare(Scores):
    """Asserts without a message."""

    def forward(self, x):
        assert x.shape[1] == 5
        return torch.nn.functional.linear(x.mean([2, 3]), self.weight, self.bias)


class FixedBatch(nn.Module):
    """Traced with its batch written into a view."""

    def __init__(self, batch: int):
        super().__init__()
        self.batch = batch
        self.fc = nn.Linear(12, 2)

    def forward(self, x):
        x = torch.nn.functional.adaptive_avg_pool2d(x, 2)
        return self.fc(x.view(self.batch, -1))


class Flat(nn.Module):
    """Without adaptive pooling: 48 px alone."""

    def __init__(self, channels: int = 3):
        super().__init__()
        self.conv = nn.Conv2d(channels, 2, 3, stride=4, padding=1)
        self.fc = nn.Linear(2 * 12 * 12, 2)

    def forward(self, x):
        return self.fc(self.conv(x).flatten(1))


class Grey(nn.Module):
    """One channel, any size."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.conv(x).mean([2, 3]))


class ChannelsLast(nn.Module):
    """[n, height, width, 3]."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(x.mean([1, 2]))


class Audio(nn.Module):
    """[n, samples]."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 9, stride=4)
        self.fc = nn.Linear(4, 2)

    def forward(self, x):
        return self.fc(self.conv(x.unsqueeze(1)).mean(2))


class Tokens(nn.Module):
    """[n, length] of whole numbers."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 4)
        self.fc = nn.Linear(4, 2)

    def forward(self, ids):
        return self.fc(self.words(ids).mean(1))


class Detector(nn.Module):
    """As torchvision's: lists in and out."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)

    def forward(self, images: List[Tensor]) -> List[Dict[str, Tensor]]:
        found: List[Dict[str, Tensor]] = []
        for image in images:
            found.append({"boxes": self.fc(image.mean([1, 2]).unsqueeze(0))})
        return found


class Segmenter(nn.Module):
    """As torchvision's: a dictionary out."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x) -> Dict[str, Tensor]:
        return {"out": self.conv(x)}


class Map(nn.Module):
    """A map of scores out."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)

    def forward(self, x):
        return self.conv(x)


class Normed(nn.Module):
    """BatchNorm of [n, c]: one image cannot be trained on."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.fc = nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(self.norm(x.mean([2, 3])))


class Prints(Scores):
    """Says something each time."""

    def forward(self, x):
        print("hello from the model", x.shape[0])
        return torch.nn.functional.linear(x.mean([2, 3]), self.weight, self.bias)


def save_with_lines(module, path):
    """Saves with debug records, in which no path tells of this machine."""
    module.save(str(path))
    reader = torch._C.PyTorchFileReader(str(path))
    records = {name: reader.get_record(name) for name in reader.get_all_records()}
    home = str(Path(torch.__file__).parent.parent).encode()
    here = str(Path(__file__).resolve().parent).encode()
    writer = torch._C.PyTorchFileWriter(str(path))
    for name, data in records.items():
        if name in ("version", "byteorder", ".data/serialization_id"):
            continue
        # Lengths stand before the texts, so they stay.
        for folder in (home, here):
            data = data.replace(folder, b"/python".ljust(len(folder), b"_"))
        writer.write_record(name, data, len(data))
    writer.write_end_of_file()


def main():
    torch.manual_seed(0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    save_with_lines(torch.jit.script(Raises().eval()), FOLDER / "raises.pt")
    save_with_lines(torch.jit.script(Asserts().eval()), FOLDER / "asserts.pt")
    save_with_lines(torch.jit.script(Bare().eval()), FOLDER / "bare-assert.pt")
    save_with_lines(torch.jit.trace(FixedBatch(4).eval(), torch.zeros(4, 3, 32, 32)), FOLDER / "fixed-batch.pt")
    save_without_paths(torch.jit.trace(FixedBatch(1).eval(), torch.zeros(1, 3, 32, 32)), FOLDER / "fixed-one.pt")
    for name, module in {
        "flat": Flat(),
        "grey": Grey(),
        "channels-last": ChannelsLast(),
        "audio": Audio(),
        "tokens": Tokens(),
        "detector": Detector(),
        "segmenter": Segmenter(),
        "map": Map(),
        "normed": Normed(),
        "prints": Prints(),
    }.items():
        save_without_paths(torch.jit.script(module.eval()), FOLDER / f"{name}.pt")


main()
