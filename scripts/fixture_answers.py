"""What PyTorch says of the models that are test fixtures, as JSON: tensors, fresh layers, losses."""

import base64

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DTYPES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.int64: "int64",
    torch.int32: "int32",
    torch.uint8: "uint8",
    torch.bool: "bool",
}


def plain(value):
    if isinstance(value, Tensor):
        data = base64.b64encode(value.detach().contiguous().numpy().tobytes()).decode()
        return {"data": data, "shape": list(value.shape), "dtype": DTYPES[value.dtype]}
    if isinstance(value, dict):
        return {"dict": {key: plain(each) for key, each in value.items()}}
    if isinstance(value, (tuple, list)):
        return [plain(each) for each in value]
    return value


def make_heads(seed: int):
    """Layers as torch.manual_seed(seed) and PyTorch's constructors make them, in the order of making."""

    def seeded(*makers):
        torch.manual_seed(seed)
        layers = [make() for make in makers]
        return [plain(tensor) for layer in layers for tensor in layer.parameters()]

    return {
        "seed": seed,
        "linear": seeded(lambda: nn.Linear(6, 3)),
        "convolution": seeded(lambda: nn.Conv2d(8, 3, 1)),
        "noBias": seeded(lambda: nn.Linear(6, 3, bias=False)),
        "inception": seeded(lambda: nn.Linear(9, 3), lambda: nn.Linear(7, 3)),
        "mlp": seeded(lambda: nn.Linear(6, 12), lambda: nn.Linear(12, 7), lambda: nn.Linear(7, 3)),
    }


def make_losses(inception):
    """Cross-entropy of one batch, with the auxiliary classifier's at 0.4."""
    inputs, target = torch.randn(4, 3, 8, 8), torch.tensor([0, 4, 2, 2])
    logits, aux = inception.train()(inputs)
    loss = F.cross_entropy(logits, target) + 0.4 * F.cross_entropy(aux, target)
    return {"inception": {"input": plain(inputs), "target": plain(target), "loss": loss.item()}}
