"""The peer's side of `npm run bench -- step`: eager PyTorch on the same weights and the same batch, train steps on command."""

import json
import resource
import sys
import time

import numpy
import torch
import torch.nn.functional as F

CONFIG = json.loads(sys.argv[-1])
sys.path.insert(0, CONFIG["peers"])
from models import build, replace_head

torch.set_num_threads(CONFIG["threads"])
LAYOUT = torch.channels_last if CONFIG["channelsLast"] else torch.contiguous_format


def prepare_model():
    model, norm = build(CONFIG["model"])
    replace_head(model, CONFIG["classes"])
    # What our side saved before its first step: the same new head.
    model.load_state_dict(torch.jit.load(CONFIG["start"], map_location="cpu").state_dict())
    return model.to(memory_format=LAYOUT), norm


def prepare_batch(norm):
    """A normalised float32 batch, as a data loader hands it over; our side does this in every step."""
    labels = torch.tensor(CONFIG["labels"])
    side = CONFIG["size"]
    pixels = numpy.fromfile(CONFIG["images"], dtype=numpy.uint8).reshape(len(labels), side, side, 3)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(norm[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    return ((images - mean) / std).contiguous(memory_format=LAYOUT), labels


model, norm = prepare_model()
images, labels = prepare_batch(norm)
optimizer = torch.optim.AdamW(model.parameters(), lr=CONFIG["learningRate"], weight_decay=CONFIG["weightDecay"])
# BatchNorm already folded into the convolutions stays in eval mode, as in the peer's script and on our side.
norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
folded = bool(norms) and all(module.running_mean.abs().max() == 0 for module in norms)
done = 0


def set_training(training):
    model.train(training)
    if folded:
        for module in norms:
            module.eval()


def autocast():
    return torch.autocast("cpu", torch.bfloat16, enabled=CONFIG["precision"] == "bfloat16")


def step():
    global done
    # The seed of our side's dropout at this step, so that the losses can be compared.
    torch.default_generator.manual_seed(done)
    done += 1
    optimizer.zero_grad()
    with autocast():
        loss = F.cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    return loss.item()


def steps(count):
    set_training(True)
    losses, seconds = [], []
    before = resource.getrusage(resource.RUSAGE_SELF)
    for _ in range(count):
        start = time.perf_counter()
        losses.append(step())
        seconds.append(time.perf_counter() - start)
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "losses": losses,
        "seconds": seconds,
        "userSeconds": after.ru_utime - before.ru_utime,
        "systemSeconds": after.ru_stime - before.ru_stime,
        "minorFaults": after.ru_minflt - before.ru_minflt,
        "peakRssMb": after.ru_maxrss / 1024,
    }


@torch.no_grad()
def evaluate():
    model.eval()
    with autocast():
        return {"loss": F.cross_entropy(model(images), labels).item()}


@torch.no_grad()
def float32_loss():
    """The loss that the first step will have, in float32. Leaves the BatchNorm statistics as they were."""
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    set_training(True)
    torch.default_generator.manual_seed(0)
    loss = F.cross_entropy(model(images), labels).item()
    model.load_state_dict(kept)
    return {"loss": loss}


def say(answer):
    print(json.dumps(answer), flush=True)


say({"versions": {"torch": torch.__version__, "python": sys.version.split()[0]}, "trainable": len(list(model.parameters()))})
answers = {
    "evaluate": lambda request: evaluate(),
    "float32Loss": lambda request: float32_loss(),
    "steps": lambda request: steps(request["count"]),
}
for line in sys.stdin:
    request = json.loads(line)
    say(answers[request["do"]](request))
