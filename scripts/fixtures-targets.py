"""Three AdamW steps of mlp.pt on multi-hot targets (BCE with logits) and on numbers (MSE, Huber): losses and weights.

Input float32 [5, 6], output [5, 4]. Run: python scripts/fixtures-targets.py
"""

import gzip
import json
from pathlib import Path

import torch
import torch.nn.functional as F

FOLDER = Path(__file__).parent.parent / "test" / "fixtures" / "training"
SAMPLES, INPUTS, OUTPUTS, STEPS = 5, 6, 4, 3


def rounded(tensor):
    return [float(value) for value in tensor.detach().flatten()]


def run(loss, targets, inputs):
    model = torch.jit.load(str(FOLDER / "mlp.pt"))
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01)
    losses = []
    for batch, target in zip(inputs, targets):
        optimizer.zero_grad()
        value = loss(model(batch), target)
        value.backward()
        optimizer.step()
        losses.append(float(value))
    return {
        "targets": [rounded(target) for target in targets],
        "losses": losses,
        "weights": {name: rounded(parameter) for name, parameter in model.named_parameters()},
    }


torch.manual_seed(11)
inputs = [torch.randn(SAMPLES, INPUTS) for _ in range(STEPS)]
multi_hot = [(torch.rand(SAMPLES, OUTPUTS) < 0.4).float() for _ in range(STEPS)]
# One sample without any label, one with all.
multi_hot[0][0] = 0
multi_hot[0][1] = 1
numbers = [torch.randn(SAMPLES, OUTPUTS) * 2 + 1 for _ in range(STEPS)]
weights = torch.tensor([0.5, 1.0, 2.0, 3.0])
cases = {
    "bceWithLogits": run(F.binary_cross_entropy_with_logits, multi_hot, inputs),
    "weighted": run(lambda o, t: F.binary_cross_entropy_with_logits(o, t, pos_weight=weights), multi_hot, inputs),
    "mse": run(F.mse_loss, numbers, inputs),
    "huber": run(F.huber_loss, numbers, inputs),
}
text = json.dumps({"torch": torch.__version__, "inputs": [rounded(batch) for batch in inputs], "cases": cases})
(FOLDER / "targets.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
