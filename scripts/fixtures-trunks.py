"""Makes test/fixtures/trunks: small networks without a classifier.

    python scripts/fixtures-trunks.py [folder]          (PyTorch 2.13)

map.pt      convolutions, [n, 8, h, w]; scripted
rows.pt     the same averaged, [n, 8]; traced
tokens.pt   patches behind a class token and LayerNorm, [n, 1 + patches, 8]; scripted
named.pt    the same as a dict: last_hidden_state and pooler_output, the first token; traced with strict=False

expected.json holds what each returns of the image sin(0), sin(1), ... [1, 3, 32, 32].
"""

import json
import sys
from pathlib import Path

import torch
from torch import nn

from torchscript_file import save_without_paths

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "test" / "fixtures" / "trunks")
IMAGE = torch.sin(torch.arange(3 * 32 * 32, dtype=torch.float64)).float().reshape(1, 3, 32, 32)


class Map(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.norm = nn.BatchNorm2d(8)

    def forward(self, x):
        return torch.relu(self.norm(self.conv(x)))


class Rows(Map):
    def forward(self, x):
        return super().forward(x).mean((2, 3))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 8, 8)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.fc = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        return self.norm(x + torch.tanh(self.fc(x)))


class Named(Tokens):
    def forward(self, x):
        x = super().forward(x)
        return {"last_hidden_state": x, "pooler_output": x[:, 0]}


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    expected = {}
    for name, make, traced in (("map", Map, False), ("rows", Rows, True), ("tokens", Tokens, False), ("named", Named, True)):
        torch.manual_seed(0)
        network = make().eval()
        module = torch.jit.trace(network, IMAGE, strict=False) if traced else torch.jit.script(network)
        save_without_paths(module, FOLDER / f"{name}.pt")
        with torch.no_grad():
            output = network(IMAGE)
        if isinstance(output, dict):
            output = output["last_hidden_state"]
        expected[name] = {"shape": list(output.shape), "values": [round(value, 6) for value in output.flatten().tolist()]}
    (FOLDER / "expected.json").write_text(json.dumps(expected) + "\n")


if __name__ == "__main__":
    main()
