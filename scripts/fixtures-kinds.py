"""Makes test/fixtures/kinds: models that were exported for another place or purpose, and what PyTorch says of them.

    python scripts/fixtures-kinds.py [folder]          (PyTorch 2.13)

<name>.pt          the models, a few KB each
expected.json.gz   inputs and the outputs of the float32 network in eval mode, by model
"""

import copy
import gzip
import io
import json
import sys
import zipfile
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from fixture_answers import plain
from torchscript_file import save_without_paths

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "test" / "fixtures" / "kinds")


class Net(nn.Module):
    def __init__(self, dropout: float = 0.0):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.bn = nn.BatchNorm2d(8)
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        return self.fc(self.drop(torch.relu(self.bn(self.conv(x))).mean((2, 3))))


class Casting(Net):
    """Names its own precision, as exported half-precision networks do."""

    def __init__(self, dtype: int):
        super().__init__()
        self.dtype = dtype
        self.register_buffer("scale", torch.ones(8))

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x.to(self.dtype)))).mean((2, 3))
        more = torch.zeros(8, dtype=self.dtype, device=x.device)
        return torch.log_softmax(self.fc(x * self.scale + more), 1, dtype=self.dtype)


class OnDevice(Net):
    """Makes tensors, whose device a trace writes down."""

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x))).mean((2, 3))
        offset = torch.arange(8, device=x.device).float() * 0.1
        return self.fc(x + offset)


class RandomDepth(Net):
    """Draws numbers that no flag of dropout controls."""

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x))).mean((2, 3))
        if self.training:
            x = x * torch.empty_like(x).bernoulli_(0.9)
        return self.fc(x)


class AlwaysDrops(Net):
    """F.dropout without `training=self.training`."""

    def forward(self, x):
        return self.fc(F.dropout(torch.relu(self.bn(self.conv(x))).mean((2, 3)), 0.5))


class Switched(Net):
    """A switch that never changes, read from the module, as timm's networks have many."""

    def __init__(self):
        super().__init__()
        self.switch = True

    def forward(self, x):
        x = torch.relu(self.bn(self.conv(x))).mean((2, 3))
        if self.switch:
            doubled = x * 2
            x = doubled + 1
        else:
            less = x - 1
            x = less * 3
        return self.fc(x)


class TwoTied(nn.Module):
    """Two layers over one weight: one tensor, two tensors over the same memory, or one the other's transpose."""

    def __init__(self, how: str):
        super().__init__()
        self.a = nn.Linear(6, 6)
        self.b = nn.Linear(6, 6)
        if how == "tensor":
            self.b.weight = self.a.weight
        elif how == "memory":
            self.b.weight = nn.Parameter(self.a.weight.data)
        else:
            self.b.weight = nn.Parameter(self.a.weight.data.t())
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(self.drop(torch.relu(self.b(torch.relu(self.a(x))))))


class SharedModule(nn.Module):
    """One module under two names."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 6, bias=False)
        self.b = self.a
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(torch.relu(self.b(torch.relu(self.a(x)))))


def settle(network):
    """Statistics as of a trained network."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.7, 1.3)
    return network.eval()


def on_gpu(traced):
    """As it would have been traced on a GPU: the devices in its code are the GPU's."""
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer)
    source, result = zipfile.ZipFile(buffer), io.BytesIO()
    changed = 0
    with zipfile.ZipFile(result, "w", zipfile.ZIP_STORED) as target:
        for record in source.infolist():
            data = source.read(record)
            if record.filename.endswith(".py"):
                changed += data.count(b'torch.device("cpu")')
                data = data.replace(b'torch.device("cpu")', b'torch.device("cuda:0")')
            if not record.filename.endswith(".debug_pkl"):
                target.writestr(record.filename, data)
    assert changed > 0
    result.seek(0)
    return result.getvalue()


def main():
    torch.manual_seed(0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    image, row = torch.randn(4, 3, 8, 8), torch.randn(4, 6)
    outputs = {}

    def keep(name, module, inputs, reference):
        save_without_paths(module, FOLDER / f"{name}.pt")
        with torch.no_grad():
            outputs[name] = {"inputs": plain((inputs,)), "output": plain(reference.eval()(inputs))}

    net = settle(Net())
    for name, dtype in [("half", torch.half), ("double", torch.double), ("bfloat16", torch.bfloat16)]:
        other = copy.deepcopy(net).to(dtype)
        keep(name, torch.jit.script(other), image, copy.deepcopy(other).float())
    casting = settle(Casting(torch.half)).half()
    reference = copy.deepcopy(casting).float()
    reference.dtype = torch.float
    keep("half-casting", torch.jit.script(casting), image, reference)
    keep("half-traced", torch.jit.trace(casting, image.half()), image, reference)
    device = settle(OnDevice())
    (FOLDER / "gpu-traced.pt").write_bytes(on_gpu(torch.jit.trace(device, image)))
    outputs["gpu-traced"] = {"inputs": plain((image,)), "output": plain(device(image).detach())}
    quantised = torch.ao.quantization.quantize_dynamic(copy.deepcopy(net), {nn.Linear}, torch.qint8)
    keep("quantised", torch.jit.script(quantised), image, quantised)

    dropping = settle(Net(0.5)).train()
    traced = torch.jit.trace(dropping, image, check_trace=False)
    # Tracing runs forward, which moves the statistics.
    keep("traced-train", traced, image, copy.deepcopy(dropping))
    depth = settle(RandomDepth())
    keep("random-depth-scripted", torch.jit.script(depth), image, depth)
    save_without_paths(torch.jit.trace(depth.train(), image, check_trace=False), FOLDER / "random-depth.pt")
    save_without_paths(torch.jit.script(settle(AlwaysDrops())), FOLDER / "always-drops.pt")

    save_without_paths(torch.jit.script(settle(Switched())), FOLDER / "switched.pt")

    for how in ("tensor", "memory", "transpose"):
        tied = TwoTied(how).eval()
        keep(f"tied-{how}", torch.jit.script(tied), row, tied)
    shared = SharedModule().eval()
    keep("shared-module", torch.jit.script(shared), row, shared)
    (FOLDER / "expected.json.gz").write_bytes(gzip.compress(json.dumps({"outputs": outputs}).encode(), mtime=0))


if __name__ == "__main__":
    main()
