"""Makes test/fixtures/training/groups.json.gz: what PyTorch makes of weighted losses and of GroupDRO, step by step.

A Linear of 5 features and 3 classes is trained by SGD with a rate of 0.5, in float32. Cases with `weights` minimise
sum w l / sum w. Those with `stepSize` are GroupDRO as its authors compute it (kohpangwei/group_DRO, loss.py): the mean loss of
each group, 0 where a batch has none of it; q times exp(step size x loss), divided by its sum; the loss is q . losses.

    python scripts/fixtures-groups.py [folder]
"""

import gzip
import json
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

FEATURES, CLASSES, GROUPS, SAMPLES, STEPS = 5, 3, 4, 24, 30


def one_hot(y):
    return F.one_hot(y, CLASSES).float()


LOSSES = {
    "crossEntropy": lambda o, y: F.cross_entropy(o, y, reduction="none", label_smoothing=0.1),
    "focal": lambda o, y: -((1 - F.softmax(o, 1).gather(1, y[:, None])[:, 0]) ** 2) * F.log_softmax(o, 1).gather(1, y[:, None])[:, 0],
    "bceWithLogits": lambda o, y: F.binary_cross_entropy_with_logits(o, one_hot(y), reduction="none").mean(1),
    "mse": lambda o, y: F.mse_loss(o, one_hot(y), reduction="none").mean(1),
    "huber": lambda o, y: F.huber_loss(o, one_hot(y), reduction="none", delta=0.7).mean(1),
}
OPTIONS = {
    "crossEntropy": {"kind": "crossEntropy", "labelSmoothing": 0.1},
    "focal": {"kind": "focal", "gamma": 2},
    "bceWithLogits": {"kind": "bceWithLogits"},
    "mse": {"kind": "mse"},
    "huber": {"kind": "huber", "delta": 0.7},
}


def batches():
    made = []
    for step in range(STEPS):
        x = torch.randn(SAMPLES, FEATURES)
        # Now and then a group is missing from a batch.
        groups = torch.randint(0, GROUPS if step % 3 else GROUPS - 1, (SAMPLES,))
        y = (x[:, 0] + 0.5 * x[:, 1] * (groups - 1) > 0).long() + (x[:, 2] > 0.8).long()
        made.append((x, y, groups, torch.rand(SAMPLES) * 3))
    return made


def train(kind, data, start, step_size):
    weight, bias = (value.clone().requires_grad_() for value in start)
    q = torch.ones(GROUPS) / GROUPS
    losses = []
    for x, y, groups, weights in data:
        each = LOSSES[kind](F.linear(x, weight, bias), y)
        if step_size is None:
            loss = (each * weights).sum() / weights.sum()
        else:
            group_map = (groups == torch.arange(GROUPS).unsqueeze(1)).float()
            count = group_map.sum(1)
            group_loss = (group_map @ each) / (count + (count == 0).float())
            q = q * torch.exp(step_size * group_loss.detach())
            q = q / q.sum()
            loss = group_loss @ q
        gradients = torch.autograd.grad(loss, [weight, bias])
        with torch.no_grad():
            for value, gradient in zip([weight, bias], gradients):
                value -= 0.5 * gradient
        losses.append(loss.item())
    case = {"loss": OPTIONS[kind], "losses": losses, "weight": weight.flatten().tolist(), "bias": bias.tolist()}
    return case if step_size is None else {**case, "stepSize": step_size, "q": q.tolist()}


def main():
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "test/fixtures/training")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    start = (torch.randn(CLASSES, FEATURES) * 0.3, torch.zeros(CLASSES))
    data = batches()
    cases = [train(kind, data, start, None) for kind in LOSSES]
    cases += [train("crossEntropy", data, start, size) for size in (0.01, 0.5)]
    cases.append(train("bceWithLogits", data, start, 0.2))
    stored = [
        {"x": x.flatten().tolist(), "y": y.tolist(), "groups": g.tolist(), "weights": w.tolist()} for x, y, g, w in data
    ]
    content = {
        "shape": [SAMPLES, FEATURES],
        "groups": GROUPS,
        "weight": start[0].flatten().tolist(),
        "bias": start[1].tolist(),
        "batches": stored,
        "cases": cases,
    }
    (folder / "groups.json.gz").write_bytes(gzip.compress(json.dumps(content).encode(), mtime=0))


if __name__ == "__main__":
    main()
