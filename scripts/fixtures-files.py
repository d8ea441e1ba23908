"""Writes files that are given as models and are none, as PyTorch writes them, and models that run code when opened.

Needs onnx. Run: python scripts/fixtures-files.py
"""

import collections
import inspect
from pathlib import Path
from unittest import mock

import torch
from torch import nn
from torch.package import PackageExporter
from torchscript_file import save_without_paths, strip_paths

# What torchvision defines, and libtorch lacks.
torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

folder = Path(__file__).parent.parent / "test" / "fixtures" / "files"


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.conv1(x)).mean((2, 3)))


class Boxes(nn.Module):
    def forward(self, boxes: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return torch.ops.torchvision.nms(boxes, scores, 0.5)


class Restoring(nn.Module):
    """Its __setstate__ runs when the file is opened."""

    def __init__(self):
        super().__init__()
        self.scale = torch.ones(2)
        self.restored = 0

    @torch.jit.export
    def __getstate__(self):
        return (self.scale, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        self.scale = state[0] * 2
        self.training = state[1]
        self.restored = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.scale


class Quantised(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(2))
        tensor = torch.quantize_per_channel(torch.arange(6.0).reshape(2, 3), torch.tensor([0.1, 0.2]), torch.tensor([0, 0]), 0, torch.qint8)
        self.register_buffer("weight", tensor)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.weight.dequantize().sum() + self.table.sum()


class Odds(nn.Module):
    """What pickles of TorchScript may hold beside tensors."""

    names: list[str]
    table: dict[str, int]

    def __init__(self):
        super().__init__()
        self.names = [f"name {i}" for i in range(300)]
        self.table = {str(i): i for i in range(300)}
        self.pair = (1, (2.5, True), None)
        self.number = 1 + 2j
        self.place = torch.device("cpu")
        self.weight = nn.Parameter(torch.arange(4.0))
        self.same = self.weight
        self.register_buffer("wide", torch.ones(1, 3).expand(5, 3))
        self.register_buffer("part", torch.arange(10.0)[2:8:2])
        self.register_buffer("turned", torch.arange(6.0).reshape(2, 3).t())
        self.register_buffer("none", torch.zeros(0, 3))
        self.register_buffer("short", torch.ones(2, dtype=torch.bfloat16))
        self.register_buffer("wave", torch.ones(2, dtype=torch.complex64))

    def forward(self, x: torch.Tensor, most: int = 3) -> torch.Tensor:
        assert most > 1, "brackets ((( and # no comment, 'quotes' and \" too"
        return x * self.weight.sum() * len(self.names) + self.part.sum()


def save_all():
    folder.mkdir(exist_ok=True)
    torch.manual_seed(0)
    net = Net().eval()
    example = torch.zeros(1, 3, 8, 8)
    state = net.state_dict()
    torch.save(state, folder / "state-dict.pth")
    torch.save(state, folder / "state-dict.legacy.pth", _use_new_zipfile_serialization=False)
    parallel = collections.OrderedDict((f"module.{name}", value) for name, value in state.items())
    torch.save({"epoch": 3, "state_dict": parallel, "optimizer": {"lr": 0.1}}, folder / "training.ckpt")
    torch.save(net, folder / "module.pth")
    # That layout holds the source of the class, and where it lies.
    with mock.patch.object(inspect, "getsourcelines", side_effect=OSError):
        torch.save(net, folder / "module.legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({"epoch": 3, "model": net}, folder / "module-in-dict.pt")
    torch.save([torch.zeros(2)], folder / "tensors.pt")
    torch.save({"lr": 0.1}, folder / "settings.pt")
    torch.onnx.export(net, example, folder / "net.onnx", dynamo=False)
    program = torch.export.export(net, (example,))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    torch.export.save(program, folder / "net.pt2")
    with PackageExporter(str(folder / "package.pt")) as exporter:
        exporter.extern(["**"])
        exporter.save_pickle("net", "net.pkl", state)
    scripted = torch.jit.script(net)
    torch.jit.save_jit_module_to_flatbuffer(scripted, str(folder / "mobile.ff"))
    scripted._save_for_lite_interpreter(str(folder / "lite.ptl"))
    strip_paths(str(folder / "lite.ptl"))
    modules = {"nms": Boxes(), "restoring": Restoring(), "quantised": Quantised().eval(), "odds": Odds().eval()}
    for name, module in modules.items():
        save_without_paths(torch.jit.script(module), folder / f"{name}.pt")
    save_without_paths(torch.jit.trace(net, example), folder / "traced.pt")


if __name__ == "__main__":
    save_all()
