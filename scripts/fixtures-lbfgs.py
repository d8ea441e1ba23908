"""Makes test/fixtures/training/lbfgs.json.gz and probe.pt: what torch.optim.LBFGS does to a linear probe.

Every step is one of a new torch.optim.LBFGS with strong-Wolfe line search, in float32, on one thread, over all samples, in
eval mode. Cases hold the options as the addon takes them, the loss at the start, the value that is made least (loss and L2
term) after each step, its gradient's norms, and the optimum, found in float64.

    python scripts/fixtures-lbfgs.py [folder]
"""

import base64
import gzip
import json
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from torchscript_file import save_without_paths

STEPS = 6
SAMPLES = 240
CLASSES = 4
HEAD = ["head.weight", "head.bias"]


class Probe(nn.Module):
    """A frozen body, and a head that is to be fitted. Dropout is there to be off."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(6, 12)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x):
        return self.head(self.dropout(torch.relu(self.body(x))))


def case_of(name, loss="crossEntropy", decay=0.0, bias_decay=0.0, rate=1.0, weights=None, smoothing=0.0, **changes):
    optimizer = {
        "kind": "lbfgs",
        "maxIterations": 20,
        "historySize": 10,
        "toleranceGradient": 1e-7,
        "toleranceChange": 1e-9,
        **changes,
    }
    options = {"kind": loss}
    if loss == "crossEntropy":
        options["labelSmoothing"] = smoothing
    if loss == "focal":
        options["gamma"] = 2
    if weights:
        options["classWeights"] = weights
    groups = [
        {"parameters": ["body.weight", "body.bias", "head.weight"], "learningRate": rate, "weightDecay": decay},
        {"parameters": ["head.bias"], "learningRate": rate, "weightDecay": bias_decay},
    ]
    return {"name": name, "optimizer": optimizer, "loss": options, "groups": groups}


CASES = [
    case_of("plain"),
    case_of("weight decay", decay=0.01),
    case_of("weight decay of the bias too", decay=0.05, bias_decay=0.05),
    case_of("class weights and smoothing", weights=[0.5, 1, 2, 1.5], smoothing=0.1, decay=0.001),
    case_of("focal", loss="focal", weights=[0.5, 1, 2, 1.5], decay=0.01),
    case_of("squares", loss="mse", decay=0.001),
    case_of("short steps and memory", decay=0.05, rate=0.5, maxIterations=5, historySize=2),
    case_of("loose tolerances", decay=0.01, toleranceGradient=1e-2, toleranceChange=1e-4),
]


def loss_of(options, output, indices):
    weights = torch.tensor(options["classWeights"], dtype=output.dtype) if "classWeights" in options else None
    if options["kind"] == "mse":
        return F.mse_loss(output, F.one_hot(indices, CLASSES).to(output.dtype))
    if options["kind"] == "focal":
        log_probability = F.log_softmax(output, 1).gather(1, indices[:, None])[:, 0]
        return (-weights[indices] * (1 - log_probability.exp()) ** 2 * log_probability).mean()
    return F.cross_entropy(output, indices, weights, label_smoothing=options["labelSmoothing"])


class Fit:
    """One case on a copy of the network, in a dtype."""

    def __init__(self, folder, case, samples, indices, dtype):
        self.case = case
        self.model = torch.jit.load(folder / "probe.pt").eval().to(dtype)
        self.samples, self.indices = samples.to(dtype), indices
        named = dict(self.model.named_parameters())
        for name, parameter in named.items():
            parameter.requires_grad_(name in HEAD)
        self.parameters = [named[name] for name in HEAD]
        self.decays = [case["groups"][0]["weightDecay"], case["groups"][1]["weightDecay"]]

    def loss(self):
        return loss_of(self.case["loss"], self.model(self.samples), self.indices)

    def objective(self):
        """The loss with its L2 term; the gradient is in the parameters."""
        for parameter in self.parameters:
            parameter.grad = None
        pairs = zip(self.decays, self.parameters)
        value = self.loss() + sum(decay / 2 * parameter.square().sum() for decay, parameter in pairs)
        value.backward()
        return value

    def norm(self):
        self.objective()
        return torch.cat([parameter.grad.flatten() for parameter in self.parameters]).norm().item()

    def step(self, **settings):
        torch.optim.LBFGS(self.parameters, line_search_fn="strong_wolfe", **settings).step(self.objective)


def encode(tensor):
    """Little-endian float32 values in base64."""
    return base64.b64encode(tensor.detach().contiguous().float().numpy().astype("<f4").tobytes()).decode()


def run(folder, case, samples, indices):
    options = case["optimizer"]
    settings = {
        "lr": case["groups"][0]["learningRate"],
        "max_iter": options["maxIterations"],
        "history_size": options["historySize"],
        "tolerance_grad": options["toleranceGradient"],
        "tolerance_change": options["toleranceChange"],
    }
    fit = Fit(folder, case, samples, indices, torch.float32)
    case["start"] = fit.loss().item()
    case["values"], case["norms"] = [], [fit.norm()]
    for _ in range(STEPS):
        fit.step(**settings)
        case["values"].append(fit.objective().item())
        case["norms"].append(fit.norm())
    exact = Fit(folder, case, samples, indices, torch.float64)
    exact.step(max_iter=5000, max_eval=20000, history_size=50, tolerance_grad=1e-12, tolerance_change=1e-18)
    assert exact.norm() < 1e-7, f"{case['name']}: no optimum found, the gradient's norm is {exact.norm()}"
    case["optimum"] = exact.objective().item()


def main(folder):
    torch.manual_seed(21)
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    save_without_paths(torch.jit.script(Probe().eval()), folder / "probe.pt")
    samples = torch.randn(SAMPLES, 6)
    # Labels that depend on the samples but not by them alone: without noise there would be no optimum without decay.
    indices = (samples @ torch.randn(6, CLASSES) + 4 * torch.randn(SAMPLES, CLASSES)).argmax(1)
    for case in CASES:
        run(folder, case, samples, indices)
    written = {
        "torch": torch.__version__,
        "shape": [SAMPLES, 6],
        "classes": CLASSES,
        "samples": encode(samples),
        "indices": indices.tolist(),
        "cases": CASES,
    }
    text = json.dumps(written, separators=(",", ":"))
    (folder / "lbfgs.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    default = Path(__file__).parent.parent / "test" / "fixtures" / "training"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
