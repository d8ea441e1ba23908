"""A model of the shared data as ONNX, opset 17, batch of any size, for onnxruntime.

    python export_onnx.py <peers folder> <model.pt> <out.onnx>
"""

import sys

import torch

peers, source, out = sys.argv[1:]
sys.path.insert(0, peers)
from models import build

model, _ = build(source)
torch.onnx.export(
    model,
    (torch.zeros(1, 3, 224, 224),),
    out,
    # The exporter that needs no further package.
    dynamo=False,
    opset_version=17,
    input_names=["input"],
    output_names=["logits"],
    dynamic_axes={"input": {0: "n"}, "logits": {0: "n"}},
)
