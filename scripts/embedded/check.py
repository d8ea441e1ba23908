"""Measures what transfer gives on the embedded target task, in PyTorch, beside the same network untrained.

python scripts/embedded/check.py --backbone assets/backbone.pt --data assets/defects
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from network import MEAN, SIZE, STD

BATCH = 16
RUNS = [
    ("pretrained, head only", 1e-2),
    ("pretrained, full", 1e-3),
    ("random weights, full", 1e-3),
    ("random weights, full", 3e-4),
]


def load(folder: Path) -> tuple[Tensor, Tensor]:
    """Normalised images [n, 3, SIZE, SIZE] and labels [n] of `folder`/<class>/*.jpg."""
    mean, std = torch.tensor(MEAN).view(3, 1, 1), torch.tensor(STD).view(3, 1, 1)
    images, labels = [], []
    for label, name in enumerate(sorted(child.name for child in folder.iterdir())):
        for file in sorted((folder / name).iterdir()):
            small = Image.open(file).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
            images.append((torch.from_numpy(np.array(small)).permute(2, 0, 1) / 255 - mean) / std)
            labels.append(label)
    return torch.stack(images), torch.tensor(labels)


def untrained(model: nn.Module) -> None:
    """PyTorch's default initialisation of every layer."""
    for module in model.modules():
        kind = getattr(module, "original_name", "")
        if kind in ("Conv2d", "Linear"):
            nn.init.kaiming_uniform_(module.weight, a=5**0.5)
        elif kind == "BatchNorm2d":
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
            module.running_mean.zero_()
            module.running_var.fill_(1)


def graft(path: str, classes: int, run: str) -> nn.Module:
    model = torch.jit.load(path)
    if run.startswith("random"):
        untrained(model)
    head = nn.Linear(model.fc.weight.shape[1], classes)
    model.fc.weight, model.fc.bias = head.weight, head.bias
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("full" in run or name.startswith("fc."))
    return model


def fit(model: nn.Module, data: tuple[Tensor, Tensor], rate: float, epochs: int, frozen: bool) -> None:
    images, labels = data
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, rate, weight_decay=0.01)
    steps = -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, epochs * steps, pct_start=0.2)
    model.train(not frozen)
    for _ in range(epochs):
        for chosen in torch.randperm(len(images)).split(BATCH):
            batch = images[chosen]
            mirror = torch.rand(len(batch)) < 0.5
            batch[mirror] = batch[mirror].flip(3)
            loss = cross_entropy(model(batch.contiguous(memory_format=torch.channels_last)), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


@torch.inference_mode()
def recalls(model: nn.Module, data: tuple[Tensor, Tensor]) -> list[float]:
    model.eval()
    right = model(data[0]).argmax(1) == data[1]
    return [right[data[1] == label].float().mean().item() for label in range(int(data[1].max()) + 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    train, val = load(options.data / "train"), load(options.data / "val")
    classes = sorted(child.name for child in (options.data / "val").iterdir())
    print(f"| run | learning rate | val accuracy of seeds | mean | {' | '.join(classes)} |")
    print("|---|---|---|---|" + "---|" * len(classes))
    for run, rate in RUNS:
        results = []
        for seed in range(options.seeds):
            torch.manual_seed(seed)
            model = graft(options.backbone, len(classes), run)
            fit(model, train, rate, options.epochs, run.endswith("head only"))
            results.append(recalls(model, val))
        table = np.array(results)
        seeds = " ".join(f"{share:.3f}" for share in table.mean(1))
        print(
            f"| {run} | {rate} | {seeds} | {table.mean():.3f} | {' | '.join(f'{x:.2f}' for x in table.mean(0))} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
