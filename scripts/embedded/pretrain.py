"""Pretrains the embedded backbone on the source task and writes it as TorchScript.

python scripts/embedded/pretrain.py --out assets/backbone.pt
"""

import argparse
import copy
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

sys.path.append(str(Path(__file__).resolve().parents[1]))
from network import MEAN, SIZE, STD, Backbone
from textures import CLASSES, render_many
from torchscript_file import save_without_paths

BATCH = 64


def normalise(images: Tensor) -> Tensor:
    """uint8 [n, h, w, 3] to float32 [n, 3, h, w] in channels-last memory."""
    scaled = (images.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    return scaled.permute(0, 3, 1, 2)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """One random crop, quarter turn and mirroring for the whole batch: textures know no up and no left."""
    room = images.shape[1] - SIZE + 1
    top, left, turns, mirror = torch.randint(0, room * 4, (4,), generator=generator).tolist()
    crop = images[:, top % room : top % room + SIZE, left % room : left % room + SIZE]
    turned = torch.rot90(crop, turns % 4, (1, 2))
    return turned.flip(2) if mirror % 2 else turned


@torch.inference_mode()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> tuple[float, Tensor]:
    """Share of right answers on centre crops, over all and per class."""
    model.eval()
    border = (images.shape[1] - SIZE) // 2
    crops = images[:, border : border + SIZE, border : border + SIZE]
    right = torch.cat([model(normalise(batch)).argmax(1) for batch in crops.split(128)]) == labels
    per_class = torch.stack([right[labels == label].float().mean() for label in range(len(CLASSES))])
    return right.float().mean().item(), per_class


def train(model: nn.Module, images: Tensor, labels: Tensor, options: argparse.Namespace) -> Iterator[int]:
    """AdamW with one cycle of the learning rate; yields after each epoch."""
    generator = torch.Generator().manual_seed(options.seed)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.05, fused=True)
    steps = -(-len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, options.epochs * steps, pct_start=0.15)
    for epoch in range(options.epochs):
        model.train()
        start, total = time.time(), 0.0
        for chosen in torch.randperm(len(images), generator=generator).split(BATCH):
            loss = cross_entropy(model(normalise(augment(images[chosen], generator))), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / steps:.3f}, {time.time() - start:.0f} s", flush=True)
        yield epoch


def save(model: nn.Module, path: str) -> None:
    plain = copy.deepcopy(model).to(memory_format=torch.contiguous_format).eval()
    save_without_paths(torch.jit.script(plain), path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--per-class", type=int, default=400, help="training images of each class")
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)

    train_set = render_many(2 * options.seed, options.per_class * len(CLASSES), 2)
    val_set = render_many(2 * options.seed + 1, 40 * len(CLASSES), 2)
    images, labels, val_images, val_labels = map(torch.from_numpy, (*train_set, *val_set))
    model = Backbone(len(CLASSES)).to(memory_format=torch.channels_last)
    print(f"{len(images)} + {len(val_images)} images, {len(CLASSES)} classes", flush=True)
    print(f"{sum(parameter.numel() for parameter in model.parameters())} parameters", flush=True)
    for _epoch in train(model, images, labels, options):
        overall, per_class = accuracy(model, val_images, val_labels)
        print(f"source-task validation accuracy {overall:.4f}", flush=True)
        save(model, options.out)
    for name, share in sorted(zip(CLASSES, per_class.tolist()), key=lambda pair: pair[1]):
        print(f"{name:12} {share:.3f}")


if __name__ == "__main__":
    main()
