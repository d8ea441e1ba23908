"""Makes test/fixtures/grad-cam: small networks, scripted and traced, and Grad-CAM of them by PyTorch's own hooks.

    python scripts/fixtures-grad-cam.py          (PyTorch 2.13)

<name>.pt         the networks, a few KB each
mlp.traced-train.pt draws random numbers and writes its statistics in each forward
growing.pt        assigns a buffer of another shape in each forward
expected.json.gz  of each: inputs, classes, maps of the predicted classes and of the given ones

Grad-CAM is that of Selvaraju et al. (2017): relu(sum_k alpha_k A_k), alpha_k the mean over places of the gradient of the
class's logit by A_k, divided by the largest value. A is the output of the module `target`.
"""

import gzip
import json
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from fixture_answers import plain
from torchscript_file import save_without_paths

FOLDER = Path(__file__).parent.parent / "test" / "fixtures" / "grad-cam"
CLASSES = 4


def trunk():
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.Conv2d(6, 7, 3, padding=1), nn.ReLU(inplace=True))


class Linear(nn.Module):
    """Global average pooling and a Linear layer: CAM (Zhou et al. 2016)."""

    def __init__(self):
        super().__init__()
        self.features = trunk()
        self.fc = nn.Linear(7, CLASSES)

    def forward(self, x):
        return self.fc(self.features(x).mean([2, 3]))


class Mlp(nn.Module):
    """Pooled to 2 x 2, dropout, two layers: VGG."""

    def __init__(self):
        super().__init__()
        self.features = trunk()
        self.avgpool = nn.AdaptiveAvgPool2d(2)
        self.classifier = nn.Sequential(nn.Linear(28, 9), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(9, CLASSES))

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class Squeeze(nn.Module):
    """The head is a convolution, pooled after it: SqueezeNet."""

    def __init__(self):
        super().__init__()
        self.features = trunk()
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Conv2d(7, CLASSES, 1), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1))

    def forward(self, x):
        return torch.flatten(self.classifier(self.features(x)), 1)


class Pointwise(nn.Module):
    """A convolution between pooling and the head, which writes over the map before it is pooled: MobileNetV3, DenseNet."""

    def __init__(self):
        super().__init__()
        self.features = trunk()
        self.norm = nn.BatchNorm2d(7)
        self.conv_head = nn.Conv2d(7, 8, 1)
        self.classifier = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = self.norm(self.features(x))
        F.relu_(x)
        x = F.hardswish(self.conv_head(F.adaptive_avg_pool2d(x, 1)))
        return self.classifier(x.flatten(1))


class Growing(Linear):
    """Assigns a buffer of another shape in each forward."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        self.seen = torch.cat([self.seen, x.mean().view(1)])
        return self.fc(self.features(x).mean([2, 3]))


def settle(model):
    """BatchNorm with statistics other than 0 and 1, its own weights too."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    with torch.no_grad():
        for _ in range(5):
            model.train()(torch.randn(8, 3, 8, 8))
    return model.eval()


def grad_cam(model, target, inputs, classes=None):
    kept = {}
    def keep(_module, _inputs, output):
        kept["map"] = output
        output.retain_grad()
        return output.clone()  # what follows may write into it

    hook = target.register_forward_hook(keep)
    logits = model(inputs)
    hook.remove()
    classes = logits.argmax(1) if classes is None else classes
    logits.gather(1, classes.unsqueeze(1)).sum().backward()
    alpha = kept["map"].grad.mean([2, 3], keepdim=True)
    cam = F.relu((alpha * kept["map"].detach()).sum(1))
    largest = cam.amax([1, 2], keepdim=True)
    return {"classes": classes.tolist(), "maps": plain(cam / torch.where(largest == 0, 1, largest)), "logits": plain(logits)}


class Written(nn.Module):
    """relu_ as a module, so that a hook sees what is pooled."""

    def forward(self, x):
        return torch.relu(x)


def main():
    FOLDER.mkdir(exist_ok=True)
    torch.manual_seed(7)
    content = {}
    for make, target in ((Linear, "features"), (Mlp, "features"), (Squeeze, "features"), (Pointwise, None)):
        model = settle(make())
        name = make.__name__.lower()
        inputs = torch.randn(3, 3, 8, 8)
        hooked = model
        if target is None:
            # The same network with the map as a module's output.
            hooked = nn.Sequential(nn.Sequential(model.features, model.norm, Written()), nn.AdaptiveAvgPool2d(1), model.conv_head, nn.Hardswish(), nn.Flatten(), model.classifier)
            place = hooked[0]
        else:
            place = getattr(model, target)
        chosen = torch.tensor([3, 0, 1])
        content[name] = {"inputs": plain(inputs), "predicted": grad_cam(hooked, place, inputs), "chosen": grad_cam(hooked, place, inputs, chosen)}
        assert torch.allclose(model(inputs), hooked(inputs))
        for parameter in model.parameters():
            parameter.grad = None
        save_without_paths(torch.jit.script(model), FOLDER / f"{name}.pt")
        save_without_paths(torch.jit.trace(model, inputs), FOLDER / f"{name}.traced.pt")
        if name == "mlp":
            traced = torch.jit.trace(model.train(), inputs, check_trace=False)
            save_without_paths(traced, FOLDER / "mlp.traced-train.pt")
            model.eval()
    save_without_paths(torch.jit.script(Growing().eval()), FOLDER / "growing.pt")
    with open(FOLDER / "expected.json.gz", "wb") as file:
        with gzip.GzipFile(fileobj=file, mode="wb", filename="", mtime=0) as packed:
            packed.write(json.dumps(content, separators=(",", ":")).encode())


main()
