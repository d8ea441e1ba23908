"""Makes test/fixtures/training: what PyTorch's own optimizers and losses do to two small networks in 20 updates.

Every case holds the options as the addon takes them, the loss of every batch and the parameters at the end.
PyTorch runs at its defaults for CPU tensors (not its fused kernels), in float32, on one thread.

    python scripts/fixtures-training.py [folder]
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

UPDATES = 20
SAMPLES = 8
CLASSES = 4
CLASS_WEIGHTS = [0.5, 1.0, 2.0, 1.5]
SOURCE = "def loss(output, target):\n    return torch.cross_entropy_loss(output, target) + 0.01 * output.pow(2).mean()\n"

OPTIMIZERS = {
    "sgd": {"kind": "sgd", "momentum": 0, "dampening": 0, "nesterov": False},
    "momentum": {"kind": "sgd", "momentum": 0.9, "dampening": 0.1, "nesterov": False},
    "nesterov": {"kind": "sgd", "momentum": 0.9, "dampening": 0, "nesterov": True},
    "adam": {"kind": "adam", "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8},
    "adamw": {"kind": "adamw", "beta1": 0.85, "beta2": 0.98, "epsilon": 1e-7},
    "rmsprop": {"kind": "rmsprop", "alpha": 0.99, "epsilon": 1e-8, "momentum": 0, "centered": False},
    "rmsprop-centered": {"kind": "rmsprop", "alpha": 0.9, "epsilon": 1e-6, "momentum": 0.9, "centered": True},
}
RATES = {"sgd": 0.1, "momentum": 0.05, "nesterov": 0.05, "adam": 0.01, "adamw": 0.01, "rmsprop": 0.002}
RATES["rmsprop-centered"] = 0.001
DECAYS = {"nesterov": 0.01, "adam": 0.01, "adamw": 0.1, "rmsprop-centered": 0.01}

LOSSES = {
    "crossEntropy": {"kind": "crossEntropy", "labelSmoothing": 0},
    "smoothing": {"kind": "crossEntropy", "labelSmoothing": 0.1},
    "weights": {"kind": "crossEntropy", "labelSmoothing": 0.05, "classWeights": CLASS_WEIGHTS},
    "bce": {"kind": "bceWithLogits", "classWeights": CLASS_WEIGHTS},
    "focal": {"kind": "focal", "gamma": 2, "classWeights": CLASS_WEIGHTS},
    "mse": {"kind": "mse"},
    "huber": {"kind": "huber", "delta": 0.4},
    "source": {"kind": "source", "source": SOURCE},
}
# Targets of each loss: class indices, or values of the output's shape. Huber takes indices, which become one-hot.
TARGETS = {"bce": "labels", "mse": "values"}


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(6, 16)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x):
        return self.head(torch.relu(self.hidden(x)))


class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.head = nn.Linear(6, CLASSES)
        # Statistics as of a trained network: untouched ones look like BatchNorm folded into its convolution.
        nn.init.uniform_(self.norm.running_mean, -0.5, 0.5)
        nn.init.uniform_(self.norm.running_var, 0.5, 1.5)

    def forward(self, x):
        return self.head(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


class Scale(nn.Module):
    """Gives its images back, flat: shows what preprocessing made of them. The parameter is there to be trainable."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return (x * self.scale).flatten(1)


SHAPES = {"mlp": [SAMPLES, 6], "conv": [SAMPLES, 3, 7, 7]}


def encode(tensor):
    """Little-endian float32 values in base64."""
    return base64.b64encode(tensor.detach().contiguous().float().numpy().astype("<f4").tobytes()).decode()


def batches_of(shape):
    return [
        {
            "input": torch.randn(shape),
            "indices": torch.randint(0, CLASSES, (SAMPLES,)),
            "labels": torch.randint(0, 2, (SAMPLES, CLASSES)).float(),
            "values": torch.randn(SAMPLES, CLASSES),
        }
        for _ in range(4)
    ]


def loss_of(options, output, target):
    kind = options["kind"]
    weights = torch.tensor(options["classWeights"]) if "classWeights" in options else None
    if kind == "crossEntropy":
        return F.cross_entropy(output, target, weights, label_smoothing=options["labelSmoothing"])
    if kind == "bceWithLogits":
        return F.binary_cross_entropy_with_logits(output, target, pos_weight=weights)
    if kind == "focal":
        log_probability = F.log_softmax(output, 1).gather(1, target[:, None])[:, 0]
        return (-weights[target] * (1 - log_probability.exp()) ** options["gamma"] * log_probability).mean()
    if kind == "mse":
        return F.mse_loss(output, target)
    if kind == "huber":
        return F.huber_loss(output, F.one_hot(target, CLASSES).float(), delta=options["delta"])
    return F.cross_entropy(output, target) + 0.01 * output.pow(2).mean()


def optimizer_of(options, groups, named):
    arguments = [
        {
            "params": [named[name] for name in group["parameters"]],
            "lr": group["learningRate"],
            "weight_decay": group["weightDecay"],
        }
        for group in groups
    ]
    kind = options["kind"]
    if kind == "sgd":
        return torch.optim.SGD(
            arguments, momentum=options["momentum"], dampening=options["dampening"], nesterov=options["nesterov"]
        )
    if kind == "rmsprop":
        return torch.optim.RMSprop(
            arguments,
            alpha=options["alpha"],
            eps=options["epsilon"],
            momentum=options["momentum"],
            centered=options["centered"],
        )
    make = torch.optim.Adam if kind == "adam" else torch.optim.AdamW
    return make(arguments, betas=(options["beta1"], options["beta2"]), eps=options["epsilon"])


def run(folder, batches, case):
    """Trains the case's network as its options say and adds losses, parameters and buffers to the case."""
    model = torch.jit.load(folder / f"{case['model']}.pt").train()
    named = dict(model.named_parameters())
    for name, parameter in named.items():
        parameter.requires_grad_(name in case.get("trainable", named))
    optimizer = optimizer_of(case["optimizer"], case["groups"], named)
    losses = []
    for update in range(UPDATES):
        for group, rate in zip(optimizer.param_groups, case["learningRates"][update]):
            group["lr"] = rate
        optimizer.zero_grad()
        for part in range(case["accumulate"]):
            batch = batches[case["model"]][(update * case["accumulate"] + part) % 4]
            loss = loss_of(case["loss"], model(batch["input"]), batch[case["target"]])
            (loss / case["accumulate"]).backward()
            losses.append(loss.item())
        if case["clipNorm"] > 0:
            nn.utils.clip_grad_norm_(named.values(), case["clipNorm"])
        optimizer.step()
    case["losses"] = losses
    state = {**named, **{n: b for n, b in model.named_buffers() if b.is_floating_point()}}
    case["final"] = {name: encode(tensor) for name, tensor in state.items()}


def case_of(model, names, optimizer, loss, title="", **changes):
    rate, decay = RATES[optimizer], DECAYS.get(optimizer, 0)
    case = {
        "name": " ".join(filter(None, [model, optimizer, loss, title])),
        "model": model,
        "optimizer": OPTIMIZERS[optimizer],
        "loss": LOSSES[loss],
        "target": TARGETS.get(loss, "indices"),
        "groups": [{"parameters": names[model], "learningRate": rate, "weightDecay": decay}],
        "clipNorm": 0,
        "accumulate": 1,
        **changes,
    }
    rates = [group["learningRate"] for group in case["groups"]]
    case.setdefault("learningRates", [rates] * UPDATES)
    return case


def cases_of(names):
    for optimizer in OPTIMIZERS:
        for loss in LOSSES:
            yield case_of("mlp", names, optimizer, loss)
        yield case_of("conv", names, optimizer, "crossEntropy")
        yield case_of("mlp", names, optimizer, "crossEntropy", "clipped", clipNorm=0.1)
        yield case_of("mlp", names, optimizer, "crossEntropy", "accumulated", accumulate=3)
        rate = RATES[optimizer]
        groups = [
            {"parameters": ["conv.weight"], "learningRate": rate / 10, "weightDecay": 0.05},
            {"parameters": ["norm.weight", "norm.bias", "head.bias"], "learningRate": rate, "weightDecay": 0},
            {"parameters": ["head.weight"], "learningRate": rate, "weightDecay": 0.02},
        ]
        schedule = [[rate / 10 * (1 - u / UPDATES), rate * (u + 1) / UPDATES, rate] for u in range(UPDATES)]
        yield case_of("conv", names, optimizer, "smoothing", "grouped", groups=groups, learningRates=schedule)
        yield case_of("mlp", names, optimizer, "weights", "partly frozen", trainable=["head.weight", "head.bias"])


def main(folder):
    torch.manual_seed(20)
    torch.set_num_threads(1)
    folder.mkdir(parents=True, exist_ok=True)
    networks = {"mlp": Mlp(), "conv": Conv()}
    names = {key: [name for name, _ in network.named_parameters()] for key, network in networks.items()}
    batches = {key: batches_of(SHAPES[key]) for key in networks}
    for key, network in networks.items():
        save_without_paths(torch.jit.script(network.eval()), folder / f"{key}.pt")
    save_without_paths(torch.jit.script(Scale().eval()), folder / "scale.pt")
    cases = list(cases_of(names))
    for case in cases:
        run(folder, batches, case)
    encoded = {
        key: [{name: t.tolist() if name == "indices" else encode(t) for name, t in batch.items()} for batch in each]
        for key, each in batches.items()
    }
    written = {"torch": torch.__version__, "shapes": SHAPES, "classes": CLASSES, "batches": encoded, "cases": cases}
    text = json.dumps(written, separators=(",", ":"))
    (folder / "cases.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    default = Path(__file__).parent.parent / "test" / "fixtures" / "training"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
