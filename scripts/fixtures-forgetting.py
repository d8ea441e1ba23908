"""Makes test/fixtures/forgetting.json.gz: what autograd says of penalties against forgetting, for tiny models.

A source of test/fixtures/models is given three classes and moved weights. Stored are the diagonal Fisher information of
the source, and for L2-SP, elastic weight consolidation and distillation (Learning without Forgetting) the loss of the
task, what is added to it, and the gradient of their sum, as PyTorch computes them.

    python scripts/fixtures-forgetting.py [folder]
"""

import gzip
import json
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

MODELS = {"plain": ("fc", [4, 3, 8, 8]), "plain-norm": ("fc", [6, 4])}
CLASSES = 3
ALPHA, BETA, LAMBDA = 0.3, 0.05, 20.0
WEIGHT, TEMPERATURE = 0.7, 2.0
HERE = Path(__file__).resolve().parent.parent / "test" / "fixtures"


def numbers(tensor):
    return {"shape": list(tensor.shape), "data": tensor.detach().double().flatten().tolist()}


def named(tensors):
    return {name: numbers(tensor) for name, tensor in tensors.items()}


def load(name):
    return torch.jit.load(HERE / "models" / f"{name}.pt")


def set_head(model, layer, weight, bias):
    *above, last = layer.split(".")
    owner = model
    for part in above:
        owner = getattr(owner, part)
    module = getattr(owner, last)
    module.weight = torch.nn.Parameter(weight)
    module.bias = torch.nn.Parameter(bias)


def fisher_of(source, inputs, labels):
    source.eval()
    total = {name: torch.zeros_like(parameter) for name, parameter in source.named_parameters()}
    for i in range(len(labels)):
        source.zero_grad()
        F.log_softmax(source(inputs[i : i + 1]), 1)[0, labels[i]].backward()
        for name, parameter in source.named_parameters():
            total[name] += parameter.grad**2
    return {name: value / len(labels) for name, value in total.items()}


def gradients(model, task, extra):
    model.zero_grad()
    (task + extra).backward()
    found = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    return {"loss": task.item(), "penalty": extra.item(), "gradients": named(found)}


def make_case(name, layer, shape):
    generator = torch.Generator().manual_seed(5)
    rand = lambda *sizes: torch.rand(*sizes, generator=generator) * 2 - 1
    source = load(name)
    inputs = rand(*shape)
    labels = torch.arange(shape[0]) % 5
    fisher = fisher_of(source, inputs, labels)
    old = {key: value.clone() for key, value in source.state_dict().items()}
    head = [f"{layer}.weight", f"{layer}.bias"]
    moved = {
        key: value + 0.5 * rand(*value.shape) for key, value in source.named_parameters() if key not in head
    }
    fresh = {key: rand(CLASSES, *old[key].shape[1:]) for key in head}
    target = torch.arange(shape[0]) % CLASSES

    def student():
        model = load(name)
        set_head(model, layer, fresh[head[0]], fresh[head[1]])
        with torch.no_grad():
            for key, value in model.named_parameters():
                if key in moved:
                    value.copy_(moved[key])
        return model.train()

    results = {}
    model = student()
    task = F.cross_entropy(model(inputs), target)
    l2sp = sum(((p - old[k]) ** 2).sum() for k, p in model.named_parameters() if k in moved) * ALPHA / 2
    l2sp = l2sp + sum((p**2).sum() for k, p in model.named_parameters() if k in head) * BETA / 2
    results["l2-sp"] = gradients(model, task, l2sp)

    model = student()
    task = F.cross_entropy(model(inputs), target)
    ewc = sum((fisher[k] * (p - old[k]) ** 2).sum() for k, p in model.named_parameters() if k in moved) * LAMBDA / 2
    results["ewc"] = gradients(model, task, ewc)

    # Both heads on the same features: one layer with the outputs of both.
    model = student()
    joint = [torch.cat([fresh[key], old[key]]) for key in head]
    set_head(model, layer, *joint)
    with torch.no_grad():
        taught = load(name).eval()(inputs)
    output = model(inputs)
    task = F.cross_entropy(output[:, :CLASSES], target)
    said = F.log_softmax(taught / TEMPERATURE, 1)
    says = F.log_softmax(output[:, CLASSES:] / TEMPERATURE, 1)
    distillation = WEIGHT * F.kl_div(says, said, log_target=True, reduction="batchmean")
    results["distillation"] = gradients(model, task, distillation)

    return {
        "layer": layer,
        "inputs": numbers(inputs),
        "labels": labels.tolist(),
        "target": target.tolist(),
        "student": named({**moved, **fresh}),
        "fisher": named(fisher),
        "results": results,
    }


def main():
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    torch.set_num_threads(1)
    options = {"alpha": ALPHA, "beta": BETA, "lambda": LAMBDA, "weight": WEIGHT, "temperature": TEMPERATURE}
    cases = {name: make_case(name, *rest) for name, rest in MODELS.items()}
    text = json.dumps({"torch": torch.__version__, "options": options, "cases": cases})
    (folder / "forgetting.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


main()
