"""Eager PyTorch with the recipe of the peer's script, for any of our strategies: head, last:K or full. One JSON line out.

Layers that do not learn have no gradient and stay in eval mode. --no-grad, --channels-last and --precision bfloat16 are
what an expert would set; without them it is what a user gets who sets nothing. --data is a folder with train/ and val/,
or a .jsonl manifest.
"""

import argparse
import json
import resource
import sys
import time

import torch
import torch.nn.functional as F
from torchvision_ready import prepare_torchvision

prepare_torchvision()
from PIL import Image
from torchvision import datasets, transforms

parser = argparse.ArgumentParser()
parser.add_argument("--peers", required=True)
parser.add_argument("--model", required=True)
parser.add_argument("--data", required=True)
parser.add_argument("--strategy", required=True)
parser.add_argument("--epochs", type=int, required=True)
parser.add_argument("--batch", type=int, required=True)
parser.add_argument("--lr", type=float, required=True)
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--workers", type=int, default=0)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
parser.add_argument("--channels-last", action="store_true")
parser.add_argument("--no-grad", action="store_true")
options = parser.parse_args()
sys.path.insert(0, options.peers)
from models import build, replace_head

torch.manual_seed(options.seed)
torch.set_num_threads(options.threads)
LAYOUT = torch.channels_last if options.channels_last else torch.contiguous_format


class Listed(torch.utils.data.Dataset):
    """One split of a manifest."""

    def __init__(self, rows, split, classes, transform):
        self.samples = [(row["path"], classes.index(row["label"])) for row in rows if row["split"] == split]
        self.classes, self.transform = classes, transform

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        path, label = self.samples[index]
        return self.transform(Image.open(path).convert("RGB")), label


def read_data(norm):
    normalise = [transforms.ToTensor(), transforms.Normalize(**norm)]
    augmented = transforms.Compose([transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip(), *normalise])
    plain = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), *normalise])
    if not options.data.endswith(".jsonl"):
        return datasets.ImageFolder(f"{options.data}/train", augmented), datasets.ImageFolder(f"{options.data}/val", plain)
    rows = [json.loads(line) for line in open(options.data)]
    classes = sorted({row["label"] for row in rows})
    return Listed(rows, "train", classes, augmented), Listed(rows, "val", classes, plain)


def modules_in_order(model):
    """Modules that own parameters, and dropouts, in the order in which forward uses them."""
    order, hooks = [], []
    for name, module in model.named_modules():
        if list(module.parameters(recurse=False)) or isinstance(module, torch.nn.Dropout):
            hooks.append(module.register_forward_pre_hook(lambda module, _, name=name: order.append((name, module))))
    with torch.no_grad():
        model(torch.zeros(1, 3, 224, 224))
    for hook in hooks:
        hook.remove()
    return order


def choose_layers(model, head):
    """What learns and goes to train mode, in forward's order; a normalisation counts with the layer before it."""
    order = modules_in_order(model)
    layers = []
    for name, module in order:
        if isinstance(module, torch.nn.Dropout):
            continue
        if layers and isinstance(module, torch.nn.BatchNorm2d):
            layers[-1].append(module)
        else:
            layers.append([module])
    if options.strategy == "head":
        chosen = [head]
    else:
        count = len(layers) if options.strategy == "full" else int(options.strategy.split(":")[1])
        chosen = [module for layer in layers[-count:] for module in layer]
    first = next(place for place, (_, module) in enumerate(order) if module is chosen[0])
    # The dropout in front of the first layer that learns goes with it, as in ours.
    dropouts = [module for _, module in order[max(0, first - 1) :] if isinstance(module, torch.nn.Dropout)]
    return chosen, dropouts


def skip_gradients(model, first):
    """No graph for anything in front of the first layer that learns."""

    # A hook that returns something would replace the layer's input.
    def begin(module, inputs):
        torch.set_grad_enabled(False)

    def reach(module, inputs):
        torch.set_grad_enabled(is_training)

    model.register_forward_pre_hook(begin)
    first.register_forward_pre_hook(reach)


model, norm = build(options.model)
train, val = read_data(norm)
classes = len(train.classes)
head = replace_head(model, classes)
model.eval()
chosen, dropouts = choose_layers(model, head)
for parameter in model.parameters():
    parameter.requires_grad_(False)
for layer in chosen:
    for parameter in layer.parameters(recurse=False):
        parameter.requires_grad_(True)
trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
# BatchNorm already folded into the convolutions stays in eval mode, as in the peer's script and on our side.
norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
folded = bool(norms) and all(module.running_mean.abs().max() == 0 for module in norms)
learning = [module for module in chosen + dropouts if not (folded and isinstance(module, torch.nn.BatchNorm2d))]
is_training = False
if options.no_grad:
    skip_gradients(model, chosen[0])
model = model.to(memory_format=LAYOUT)


def load(data, shuffle):
    workers = dict(num_workers=options.workers, persistent_workers=options.workers > 0)
    return torch.utils.data.DataLoader(data, options.batch, shuffle=shuffle, **workers)


def autocast():
    return torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bfloat16")


def set_training(training):
    global is_training
    is_training = training
    for module in learning:
        module.train(training)


def train_epoch():
    set_training(True)
    for images, labels in train_batches:
        optimizer.zero_grad()
        with autocast():
            loss = F.cross_entropy(model(images.contiguous(memory_format=LAYOUT)), labels)
        loss.backward()
        optimizer.step()
    set_training(False)


def measure_accuracy():
    right = 0
    with torch.no_grad(), autocast():
        for images, labels in val_batches:
            right += (model(images.contiguous(memory_format=LAYOUT)).argmax(1) == labels).sum().item()
    return right / len(val)


train_batches, val_batches = load(train, True), load(val, False)
optimizer = torch.optim.AdamW([parameter for parameter in model.parameters() if parameter.requires_grad], options.lr)
start = time.perf_counter()
seconds, accuracies = [], []
for _ in range(options.epochs):
    begin = time.perf_counter()
    train_epoch()
    seconds.append(time.perf_counter() - begin)
    accuracies.append(measure_accuracy())
total = time.perf_counter() - start
result = {
    "peer": f"pytorch {torch.__version__}",
    "images": len(train),
    "classes": classes,
    "trainable": trainable,
    "total_seconds": total,
    "train_seconds_per_epoch": seconds,
    "val_accuracy": accuracies,
    "best": max(accuracies),
    "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
}
print(json.dumps(result))
