"""Writes the smallest network with everything the abuse tests need: convolution, BatchNorm, dropout and a Linear head.

Input float32 [n, 3, 8, 8], output [n, 3]. Run: python scripts/fixtures-tiny.py
"""

from pathlib import Path

import torch
from torch import nn


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, stride=2)
        self.bn = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.1)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn(self.conv(x)))
        return self.fc(self.dropout(x.mean([2, 3])))


torch.manual_seed(0)
model = Tiny()
model(torch.randn(16, 3, 8, 8))  # BatchNorm statistics other than 0 and 1
torch.jit.script(model.eval()).save(Path(__file__).parent.parent / "test" / "fixtures" / "tiny.pt")
