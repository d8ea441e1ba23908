"""Reference values for test/domain-formulas.test.ts and test/native/statistics.test.ts, by PyTorch and numpy in float64.

Writes test/fixtures/domain.json.gz and test/fixtures/domain.pt. Run: python scripts/fixtures-domain.py
"""

import copy
import gzip
import json
from pathlib import Path

import numpy
import torch
from torch import nn
from torch.nn import functional
from torchscript_file import save_without_paths

FIXTURES = Path(__file__).resolve().parent.parent / "test" / "fixtures"
CLASSES = 4
FEATURES = 6
STRENGTH = 0.75
CONFIDENCE = 0.5


def in_64ths(values):
    """float32 holds them exactly."""
    return torch.round(values * 64) / 64


def covariance(x):
    return torch.cov(x.T)


def coral(source, target):
    """Sun and Saenko, Deep CORAL, 2016, equation 1."""
    return (covariance(source) - covariance(target)).square().sum() / (4 * FEATURES**2)


def mmd(source, target):
    """Long et al. 2015: squared MMD, biased, of the mean of five Gaussian kernels around the mean squared distance."""
    both = torch.cat([source, target])
    distances = (both[:, None] - both[None]).square().sum(2)
    count = len(both)
    bandwidth = distances.sum() / (count * (count - 1))
    kernel = sum(torch.exp(-distances / (bandwidth * 2.0**power)) for power in range(-2, 3)) / 5
    n = len(source)
    return kernel[:n, :n].mean() + kernel[n:, n:].mean() - 2 * kernel[:n, n:].mean()


def mcc(scores):
    """Jin et al. 2020, equations 2 to 6, temperature 2.5."""
    p = torch.softmax(scores / 2.5, 1)
    entropy = -(p * p.log()).sum(1)
    weight = 1 + torch.exp(-entropy)
    weight = len(p) * weight / weight.sum()
    confusion = p.T @ torch.diag(weight) @ p
    confusion = confusion / confusion.sum(1, keepdim=True)
    return (confusion.sum() - confusion.trace()) / CLASSES


def pseudo_labels(scores):
    """Lee 2013, of those whose probability is at least CONFIDENCE."""
    most, label = torch.softmax(scores, 1).max(1)
    losses = functional.cross_entropy(scores, label, reduction="none")
    assert 0 < (most >= CONFIDENCE).sum() < len(most)
    return losses[most >= CONFIDENCE].sum() / len(scores)


def soft_neighbourhood_density(p):
    """Saito et al. 2021, equations 1 to 3, temperature 0.05."""
    unit = p / numpy.linalg.norm(p, axis=1, keepdims=True)
    similarities = unit @ unit.T / 0.05
    entropies = []
    for i in range(len(p)):
        row = numpy.exp(numpy.delete(similarities[i], i))
        row = row / row.sum()
        entropies.append(-(row * numpy.log(row)).sum())
    return float(numpy.mean(entropies))


class Network(nn.Module):
    """BatchNorm with three kinds of momentum, and dropout, which stays off."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3)
        self.bn1 = nn.BatchNorm2d(4)
        self.dropout = nn.Dropout(0.5)
        self.conv2 = nn.Conv2d(4, 5, 3)
        self.bn2 = nn.BatchNorm2d(5, momentum=0.03)
        self.conv3 = nn.Conv2d(5, 4, 1)
        self.bn3 = nn.BatchNorm2d(4, momentum=None)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.dropout(torch.relu(self.bn1(self.conv1(x))))
        x = torch.relu(self.bn2(self.conv2(x)))
        x = torch.relu(self.bn3(self.conv3(x)))
        return self.fc(x.mean([2, 3]))


def norms(model):
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]


def estimated(model, batches):
    """What BatchNorm with momentum=None keeps of a pass over the batches, all other layers in eval mode."""
    model = copy.deepcopy(model).double().eval()
    for norm in norms(model):
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        for batch in batches:
            model(batch.double())
    return {
        name: value.flatten().tolist() for name, value in model.named_buffers() if "running" in name or "tracked" in name
    }


def main():
    torch.manual_seed(0)
    source, target = in_64ths(torch.randn(40, FEATURES)), in_64ths(torch.randn(30, FEATURES) * 1.5 + 0.5)
    weight, bias = in_64ths(torch.randn(CLASSES, FEATURES)), in_64ths(torch.randn(CLASSES))
    labels = torch.randint(CLASSES, (40,))
    a, b, w, c = (tensor.double() for tensor in (source, target, weight, bias))
    scores = b @ w.T + c
    entropy = functional.cross_entropy(a @ w.T + c, labels)
    terms = {"coral": coral(a, b), "mmd": mmd(a, b), "mcc": mcc(scores), "pseudoLabels": pseudo_labels(scores)}

    p = torch.softmax(scores, 1).float().double().numpy()
    shares = p.mean(0)
    mean_entropy = float(-(p * numpy.log(p)).sum(1).mean())

    model = Network()
    model(torch.randn(16, 3, 9, 9))
    model.eval()
    save_without_paths(torch.jit.script(model), FIXTURES / "domain.pt")
    batches = [in_64ths(torch.randn(6, 3, 9, 9) * (1 + i) + i) for i in range(3)]

    reference = {
        "classes": CLASSES,
        "features": FEATURES,
        "strength": STRENGTH,
        "confidence": CONFIDENCE,
        "source": source.flatten().tolist(),
        "target": target.flatten().tolist(),
        "labels": labels.tolist(),
        "weight": weight.flatten().tolist(),
        "bias": bias.tolist(),
        "losses": {name: float(entropy + STRENGTH * term) for name, term in terms.items()},
        "crossEntropy": float(entropy),
        "probabilities": p.flatten().tolist(),
        "entropy": mean_entropy,
        "information": float(-(shares * numpy.log(shares)).sum()) - mean_entropy,
        "density": soft_neighbourhood_density(p),
        "batches": [batch.flatten().tolist() for batch in batches],
        "shape": list(batches[0].shape),
        "statistics": [estimated(model, batches[: count + 1]) for count in range(3)],
    }
    text = json.dumps(reference, separators=(",", ":")).encode()
    (FIXTURES / "domain.json.gz").write_bytes(gzip.compress(text, mtime=0))


if __name__ == "__main__":
    main()
