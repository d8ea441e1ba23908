"""Makes test/fixtures/heads: small networks by what they return and by how their head is written, and what PyTorch says of them.

    python scripts/fixtures-heads.py [folder]          (PyTorch 2.13)

<name>.pt          scripted; <name>.traced.pt traced in eval mode
expected.json.gz   of each: the layers that are its main and auxiliary heads, its logits in eval mode, the loss of one batch in
                   train mode (cross-entropy of the main output, 0.4 of an auxiliary one), channels of its input, unused layers
"""

import gzip
import json
import sys
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fixture_answers import plain
from torchscript_file import save_without_paths

FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent / "test" / "fixtures" / "heads")
CLASSES = 5
WIDTH = 6


class Trunk(nn.Module):
    """A map of features, without a normalisation behind the last convolution."""

    def __init__(self, width: int = WIDTH):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=2, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, width, 3)

    def forward(self, x):
        return torch.relu(self.conv2(torch.relu(self.bn(self.conv1(x)))))


class Classifier(nn.Module):
    """Trunk and head, for those that differ in what they return."""

    def __init__(self, width: int = WIDTH):
        super().__init__()
        self.trunk = Trunk(width)
        self.fc = nn.Linear(width, CLASSES)


# What is returned


class LogitsFeatures(Classifier):
    """Features as wide as there are classes."""

    def __init__(self):
        super().__init__(CLASSES)

    def forward(self, x):
        features = self.trunk(x).mean([2, 3])
        return self.fc(features), features


class LogitsMap(Classifier):
    def forward(self, x):
        features = self.trunk(x)
        return self.fc(features.mean([2, 3])), features


class LogitsArgmax(Classifier):
    def forward(self, x):
        logits = self.fc(self.trunk(x).mean([2, 3]))
        return logits, logits.argmax(1)


class ClassFirst(Classifier):
    """The class, its probabilities, and the logits."""

    def forward(self, x):
        logits = self.fc(self.trunk(x).mean([2, 3]))
        return logits.argmax(1), logits.softmax(1), logits


class Dictionary(Classifier):
    def __init__(self):
        super().__init__(CLASSES)

    def forward(self, x) -> Dict[str, Tensor]:
        features = self.trunk(x).mean([2, 3])
        return {"features": features, "logits": self.fc(features)}


class GrowingDictionary(Classifier):
    def forward(self, x) -> Dict[str, Tensor]:
        found: Dict[str, Tensor] = {}
        found["embedding"] = self.trunk(x).mean([2, 3])
        found["logits"] = self.fc(found["embedding"])
        return found


class Returned(NamedTuple):
    features: Tensor
    logits: Tensor


class Named(Classifier):
    def forward(self, x) -> Returned:
        features = self.trunk(x).mean([2, 3])
        return Returned(features, self.fc(features))


class FeaturesFirst(Classifier):
    def forward(self, x):
        features = self.trunk(x).mean([2, 3])
        return features, self.fc(features)


class Embedding(Classifier):
    """Beside the logits an embedding of its own layer, as wide as there are classes."""

    def __init__(self):
        super().__init__()
        self.projection = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        features = self.trunk(x).mean([2, 3])
        return self.fc(features), F.normalize(self.projection(features), dim=1)


class Nested(Classifier):
    def forward(self, x) -> Tuple[Tensor, Tuple[Tensor, Tensor]]:
        features = self.trunk(x)
        pooled = features.mean([2, 3])
        return self.fc(pooled), (features, pooled)


class Listed(Classifier):
    def forward(self, x) -> List[Tensor]:
        features = self.trunk(x).mean([2, 3])
        return [self.fc(features), features]


class NamedAuxiliary(Classifier):
    """An auxiliary classifier that is there in both modes, told by its name alone, as in torchvision's segmentation networks."""

    def __init__(self):
        super().__init__()
        self.aux_classifier = nn.Linear(8, CLASSES)

    def forward(self, x) -> Dict[str, Tensor]:
        early = torch.relu(self.trunk.bn(self.trunk.conv1(x)))
        features = torch.relu(self.trunk.conv2(early))
        return {"out": self.fc(features.mean([2, 3])), "aux": self.aux_classifier(early.mean([2, 3]))}


class TrainOnly(Classifier):
    """Distilled networks return a second head's logits in training."""

    def __init__(self):
        super().__init__()
        self.second = nn.Linear(WIDTH, CLASSES)

    def forward(self, x) -> Tuple[Tensor, Optional[Tensor]]:
        features = self.trunk(x).mean([2, 3])
        if self.training:
            return self.fc(features), self.second(features)
        return self.fc(features), None


class EvalSoftmax(Classifier):
    """One layer in two branches."""

    def forward(self, x):
        features = self.trunk(x).mean([2, 3])
        if self.training:
            return self.fc(features)
        return torch.softmax(self.fc(features), 1)


# How a head is written


class FlagHead(nn.Module):
    """timm's ClassifierHead, called with a flag in two places."""

    def __init__(self):
        super().__init__()
        self.before = nn.Linear(WIDTH, WIDTH)
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x, pre_logits: bool = False):
        x = torch.relu(self.before(x.mean([2, 3])))
        return x if pre_logits else self.fc(x)


class Flagged(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = Trunk()
        self.head = FlagHead()

    def forward_head(self, x, pre_logits: bool = False):
        return self.head(x, pre_logits=True) if pre_logits else self.head(x)

    def forward(self, x):
        return self.forward_head(self.trunk(x))


class CastLinear(nn.Linear):
    """timm.layers.Linear"""

    def forward(self, x: Tensor) -> Tensor:
        if torch.jit.is_scripting():
            bias = self.bias.to(dtype=x.dtype) if self.bias is not None else None
            return F.linear(x, self.weight.to(dtype=x.dtype), bias=bias)
        return F.linear(x, self.weight, self.bias)


class NotLast(nn.Module):
    """MobileNetV3: a convolution of what is pooled already comes before the classifier."""

    def __init__(self):
        super().__init__()
        self.trunk = Trunk()
        self.conv_head = nn.Conv2d(WIDTH, 9, 1)
        self.classifier = CastLinear(9, CLASSES)

    def forward(self, x):
        x = F.hardswish(self.conv_head(self.trunk(x).mean([2, 3], keepdim=True)))
        return self.classifier(F.dropout(x.flatten(1), 0.0, self.training))


class ManyTimes(Classifier):
    """Multi-sample dropout."""

    def forward(self, x):
        features = self.trunk(x).mean([2, 3])
        logits = [self.fc(F.dropout(features, 0.0, self.training)) for _ in range(3)]
        return torch.stack(logits).mean(0)


class Averaged(Classifier):
    """DeiT distilled, LeViT, EfficientFormer, PiT."""

    def __init__(self):
        super().__init__()
        self.fc_dist = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        features = self.trunk(x)
        return (self.fc(features.mean([2, 3])) + self.fc_dist(features.amax([2, 3]))) / 2


class Gate(nn.Module):
    """Squeeze and excite."""

    def __init__(self, width: int):
        super().__init__()
        self.fc1 = nn.Conv2d(width, 4, 1)
        self.fc2 = nn.Conv2d(4, width, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean([2, 3], keepdim=True)))))


class Gated(nn.Module):
    """The map that is classified is a gated one, and so is what the head gives."""

    def __init__(self):
        super().__init__()
        self.trunk = Trunk()
        self.gate = Gate(WIDTH)
        self.fc = CastLinear(WIDTH, CLASSES)

    def forward(self, x):
        x = self.fc(self.gate(self.trunk(x)).mean([2, 3]))
        return x * torch.sigmoid(x)


class GateLast(nn.Module):
    """Nothing but gated features: no layer of it is a head."""

    def __init__(self):
        super().__init__()
        self.trunk = Trunk()
        self.gate = Gate(WIDTH)

    def forward(self, x):
        return self.gate(self.trunk(x)).mean([2, 3])


class Weighed(Classifier):
    """Scores times a confidence: a product of two layers, of which a person alone can say which classifies."""

    def __init__(self):
        super().__init__()
        self.confidence = nn.Linear(WIDTH, 1)

    def forward(self, x):
        features = self.trunk(x).mean([2, 3])
        return self.fc(features) * torch.sigmoid(self.confidence(features))


class Recurrent(nn.Module):
    """Made by an LSTM: there is no layer to replace."""

    def __init__(self):
        super().__init__()
        self.trunk = Trunk()
        self.lstm = nn.LSTM(WIDTH, CLASSES, batch_first=True)

    def forward(self, x):
        return self.lstm(self.trunk(x).flatten(2).transpose(1, 2))[0][:, -1]


# What else forward does


class StandardisedConv(nn.Conv2d):
    """timm's ScaledStdConv2d."""

    def __init__(self, *sizes, **options):
        super().__init__(*sizes, **options)
        self.gain = nn.Parameter(torch.full((self.out_channels, 1, 1, 1), 0.9))

    def forward(self, x):
        rows = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(rows, None, None, weight=(self.gain * 0.5).view(-1), training=True, momentum=0.0, eps=1e-6)
        return F.conv2d(x, weight.reshape_as(self.weight), self.bias, self.stride, self.padding)


class Standardised(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = StandardisedConv(3, 8, 3, stride=2)
        self.mid = StandardisedConv(8, WIDTH, 3)
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        return self.fc(torch.relu(self.mid(torch.relu(self.stem(x)))).mean([2, 3]))


class OptionalInput(Classifier):
    """timm's vision transformers take attn_mask=None, and flags."""

    def forward(self, x, mask: Optional[Tensor] = None, scale: float = 2.0):
        x = self.trunk(x)
        if mask is not None:
            x = x * mask
        return self.fc(x.mean([2, 3]) * scale)


class TwoStems(Classifier):
    """RepVGG, CrossViT: two convolutions see the image."""

    def __init__(self):
        super().__init__()
        self.side = nn.Conv2d(3, WIDTH, 7, stride=2)

    def forward(self, x):
        return self.fc(torch.relu(self.trunk(x) + self.side((x - 0.5) / 0.25)).mean([2, 3]))


class SpaceToDepth(nn.Module):
    """The first convolution has four times the image's channels."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(12, WIDTH, 3)
        self.fc = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        return self.fc(torch.relu(self.conv(F.pixel_unshuffle(x, 2))).mean([2, 3]))


class UnusedInEval(nn.Module):
    """GoogLeNet: traced in eval mode, its auxiliary classifier is never used."""

    def __init__(self):
        super().__init__()
        self.trunk = Trunk()
        self.mid = nn.Conv2d(WIDTH, WIDTH, 1)
        self.fc = nn.Linear(WIDTH, CLASSES)
        self.aux = nn.Sequential(nn.Linear(WIDTH, 7), nn.ReLU(), nn.Linear(7, CLASSES))

    def forward(self, x) -> Tuple[Tensor, Optional[Tensor]]:
        x = self.trunk(x)
        aux: Optional[Tensor] = None
        if self.training:
            aux = self.aux(x.mean([2, 3]))
        return self.fc(torch.relu(self.mid(x)).mean([2, 3])), aux


class LogitsAlone(nn.Module):
    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x)[0]


# name: network, main heads, and more: auxiliary heads, where the logits lie, channels of the input that are told
NETWORKS = {
    "logits-features": (LogitsFeatures, ["fc"], {"place": [0]}),
    "logits-map": (LogitsMap, ["fc"], {"place": [0]}),
    "logits-argmax": (LogitsArgmax, ["fc"], {"place": [0]}),
    "class-first": (ClassFirst, ["fc"], {"place": [2]}),
    "dictionary": (Dictionary, ["fc"], {"place": ["logits"]}),
    "growing-dictionary": (GrowingDictionary, ["fc"], {"place": ["logits"]}),
    "named": (Named, ["fc"], {"place": [1]}),
    "features-first": (FeaturesFirst, ["fc"], {"place": [1]}),
    "embedding": (Embedding, ["fc"], {"place": [0]}),
    "nested": (Nested, ["fc"], {"place": [0]}),
    "listed": (Listed, ["fc"], {"place": [0]}),
    "named-auxiliary": (NamedAuxiliary, ["fc"], {"place": ["out"], "auxiliary": {"aux_classifier": "aux"}}),
    "train-only": (TrainOnly, ["fc"], {"place": [0], "auxiliary": {"second": 1}}),
    "eval-softmax": (EvalSoftmax, ["fc"], {}),
    "flagged": (Flagged, ["head.fc"], {}),
    "not-last": (NotLast, ["classifier"], {}),
    "many-times": (ManyTimes, ["fc"], {}),
    "averaged": (Averaged, ["fc", "fc_dist"], {}),
    "gated": (Gated, ["fc"], {}),
    "gate-last": (GateLast, [], {}),
    "weighed": (Weighed, [], {}),
    "recurrent": (Recurrent, [], {}),
    "standardised": (Standardised, ["fc"], {}),
    "optional-input": (OptionalInput, ["fc"], {}),
    "two-stems": (TwoStems, ["fc"], {}),
    "space-to-depth": (SpaceToDepth, ["fc"], {"channels": None}),
    "unused-in-eval": (UnusedInEval, ["fc"], {"place": [0], "auxiliary": {"aux.2": 1}}),
}


def at(output, place):
    for step in place:
        output = output[step]
    return output


def main():
    torch.manual_seed(0)
    FOLDER.mkdir(parents=True, exist_ok=True)
    image, target = torch.randn(4, 3, 10, 10), torch.tensor([0, 4, 2, 2])
    expected = {}
    for name, (make, heads, more) in NETWORKS.items():
        network = make().eval()
        place, auxiliary = more.get("place", []), more.get("auxiliary", {})
        script = torch.jit.script(network)
        save_without_paths(script, FOLDER / f"{name}.pt")
        with torch.no_grad():
            logits = at(network(image), place)
        network.train()
        output = network(image)
        loss = F.cross_entropy(at(output, place), target)
        for step in auxiliary.values():
            loss = loss + 0.4 * F.cross_entropy(output[step], target)
        expected[name] = {
            **{"main": heads, "auxiliary": list(auxiliary), "place": [str(step) for step in place]},
            **{"logits": plain(logits), "loss": loss.item(), "channels": more.get("channels", 3), "unused": []},
        }
    for name in ("averaged", "standardised", "not-last", "optional-input"):
        network = NETWORKS[name][0]().eval()
        save_without_paths(torch.jit.trace(network, image), FOLDER / f"{name}.traced.pt")
        logits = plain(network(image))
        # Its BatchNorm has fixed statistics in training too.
        loss = F.cross_entropy(network(image), target).item()
        expected[f"{name}.traced"] = {**expected[name], "logits": logits, "loss": loss}
    network = LogitsAlone(UnusedInEval()).eval()
    save_without_paths(torch.jit.trace(network, image), FOLDER / "unused-in-eval.traced.pt")
    expected["unused-in-eval.traced"] = {
        **{"main": ["network.fc"], "auxiliary": [], "place": [], "channels": 3, "unused": ["network.aux.0", "network.aux.2"]},
        **{"logits": plain(network(image)), "loss": F.cross_entropy(network(image), target).item()},
    }
    document = {"image": plain(image), "target": plain(target), "networks": expected}
    (FOLDER / "expected.json.gz").write_bytes(gzip.compress(json.dumps(document).encode(), mtime=0))


if __name__ == "__main__":
    main()
