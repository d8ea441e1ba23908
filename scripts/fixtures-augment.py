"""Adds to test/fixtures/training what torchvision does to images with the decisions our random numbers make.

The generator of binding/random.h is written here a second time, so the fixtures hold it to its definition too.
Expected pixels are NaN where torchvision fills or clamps at a border and we mirror.

    python scripts/fixtures-augment.py [folder]
"""

import base64
import gzip
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import torch

import vision  # noqa: F401 (before torchvision)
from counter_random import uniform
from torchvision.transforms import InterpolationMode, RandAugment, RandomErasing, RandomResizedCrop, autoaugment, transforms
from torchvision.transforms import functional as F

MEAN = [0.485, 0.456, 0.406]
STD = [0.229, 0.224, 0.225]
SEED, EPOCH = 42, 3
NOTHING = {
    "crop": None,
    "horizontalFlip": 0,
    "verticalFlip": 0,
    "rotation": 0,
    "brightness": 0,
    "contrast": 0,
    "saturation": 0,
    "hue": 0,
}
# Slots of RandAugment's first operation, and of random erasing: whether, the first try, the first pixel of noise.
RAND_AUGMENT, ERASING, ERASING_TRIES, NOISE = 100, 200, 204, 1000
FLIP_X, FLIP_Y, ROTATION, BRIGHTNESS, CONTRAST, SATURATION, HUE = range(40, 47)


class Numbers:
    """Stands in for torch inside get_params of RandomResizedCrop and RandomErasing and serves them our numbers."""

    def __init__(self, index, first=0):
        self.index = index
        self.first = first
        self.drawn = 0
        self.placed = False

    def __getattr__(self, name):
        return getattr(torch, name)

    def next(self, slot, low, high):
        return float(low) + (float(high) - float(low)) * uniform(SEED, EPOCH, self.index, slot)

    def empty(self, shape, **_):
        if shape != 1:
            return SimpleNamespace(normal_=lambda: normals(self.index, shape))
        slot = self.first + self.drawn // 2 * 4 + self.drawn % 2
        self.drawn += 1
        return SimpleNamespace(uniform_=lambda low, high: torch.tensor(self.next(slot, low, high), dtype=torch.float64))

    def randint(self, low, high, size):
        slot = self.first + (self.drawn - 1) // 2 * 4 + (3 if self.placed else 2)
        self.placed = True
        return torch.tensor(int(self.next(slot, low, high)))


def normals(index, shape):
    """Box and Muller's method, two slots a number."""
    values = torch.empty(shape).flatten()
    for i in range(len(values)):
        radius = math.sqrt(-2 * math.log1p(-uniform(SEED, EPOCH, index, NOISE + 2 * i)))
        values[i] = radius * math.cos(2 * math.pi * uniform(SEED, EPOCH, index, NOISE + 2 * i + 1))
    return values.view(shape)


def operation_of(index, number):
    """Number of a sample's operation among torchvision's 14, and whether its direction is turned."""
    slot = RAND_AUGMENT + 2 * number
    return int(14 * uniform(SEED, EPOCH, index, slot)), uniform(SEED, EPOCH, index, slot + 1) < 0.5


def rand_augmented(image, index, options):
    """RandAugment.forward with our numbers; image: float [3, H, W] of 0..1."""
    levels = (image * 255).round().to(torch.uint8)
    space = RandAugment()._augmentation_space(31, levels.shape[1:])
    for number in range(options["operations"]):
        operation, negative = operation_of(index, number)
        name, (magnitudes, signed) = list(space.items())[operation]
        magnitude = float(magnitudes[options["magnitude"]]) if magnitudes.ndim > 0 else 0.0
        magnitude = -magnitude if signed and negative else magnitude
        levels = autoaugment._apply_op(levels, name, magnitude, InterpolationMode.NEAREST, None)
    return levels.float() / 255


def erased(image, index, options):
    if uniform(SEED, EPOCH, index, ERASING) >= options["probability"]:
        return image
    value = [0.0] if options["value"] == "zero" else None
    with mock.patch.object(transforms, "torch", Numbers(index, ERASING_TRIES)):
        box = RandomErasing.get_params(image, options["scale"], options["ratio"], value)
    return F.erase(image, *box)


def crop_of(index, width, height, crop):
    with mock.patch.object(transforms, "torch", Numbers(index)):
        return RandomResizedCrop.get_params(torch.empty(3, height, width), crop["scale"], crop["ratio"])


def jittered(image, index, options):
    def factor(slot, range_):
        low = max(0, 1 - range_)
        return low + (1 + range_ - low) * uniform(SEED, EPOCH, index, slot)

    if options["brightness"]:
        image = F.adjust_brightness(image, factor(BRIGHTNESS, options["brightness"]))
    if options["contrast"]:
        image = F.adjust_contrast(image, factor(CONTRAST, options["contrast"]))
    if options["saturation"]:
        image = F.adjust_saturation(image, factor(SATURATION, options["saturation"]))
    if options["hue"]:
        image = F.adjust_hue(image, options["hue"] * (2 * uniform(SEED, EPOCH, index, HUE) - 1))
    return image


def inside(box, size, original, canvas):
    """1 for output pixels of a crop whose four neighbours lie in the crop and on the canvas, else 0."""
    top, left, h, w = box
    masks = []
    for start, part, count, whole, cells in ((top, h, size[0], original[1], canvas), (left, w, size[1], original[0], canvas)):
        within = (torch.arange(count, dtype=torch.float64) + 0.5) * part / count - 0.5
        cell = (within + start + 0.5) * cells / whole - 0.5
        masks.append((within >= 0) & (within <= part - 1) & (cell >= 0) & (cell <= cells - 1))
    return (masks[0][:, None] & masks[1][None, :]).float()[None]


def expected(image, index, size, canvas, options):
    """torchvision's pipeline on the original image, float [3, H, W] of 0..1."""
    _, height, width = image.shape
    valid = torch.ones(1, *size)
    if options["crop"]:
        box = crop_of(index, width, height, options["crop"])
        valid = inside(box, size, (width, height), canvas)
        image = F.resized_crop(image, *box, list(size), InterpolationMode.BILINEAR, antialias=False)
    if uniform(SEED, EPOCH, index, FLIP_X) < options["horizontalFlip"]:
        image, valid = F.hflip(image), F.hflip(valid)
    if uniform(SEED, EPOCH, index, FLIP_Y) < options["verticalFlip"]:
        image, valid = F.vflip(image), F.vflip(valid)
    if options["rotation"]:
        angle = options["rotation"] * (2 * uniform(SEED, EPOCH, index, ROTATION) - 1)
        image = F.rotate(image, angle, InterpolationMode.BILINEAR)
        valid = F.rotate(valid, angle, InterpolationMode.BILINEAR)
    if "randAugment" in options:
        image = rand_augmented(image, index, options["randAugment"])
    image = F.normalize(jittered(image, index, options), MEAN, STD)
    if "erasing" in options:
        image = erased(image, index, options["erasing"])
    return torch.where(valid > 0.9999, image, math.nan)


def encode(values):
    return base64.b64encode(values.contiguous().numpy().tobytes()).decode()


def case_of(name, originals, canvases, size, indices=None, **changes):
    """originals: uint8 [3, H, W] each; canvases: the same squashed to [3, S, S], or None when they are it already."""
    options = {**NOTHING, **changes}
    canvases = canvases or originals
    indices = indices or [7 * i + 1 for i in range(len(originals))]
    wanted = [
        expected(o.float() / 255, index, size, c.shape[1], options) for o, c, index in zip(originals, canvases, indices)
    ]
    pixels = torch.stack(canvases).permute(0, 2, 3, 1)
    return {
        "name": name,
        "augment": options,
        "size": size,
        "shape": list(pixels.shape),
        "pixels": encode(pixels),
        "indices": indices,
        "sizes": [side for o in originals for side in (o.shape[2], o.shape[1])],
        "expected": encode(torch.stack(wanted).flatten(1)),
    }


def ramp(width, height):
    """Values that rise evenly: bilinear sampling of it is exact however often it is repeated."""
    x, y = torch.arange(width)[None, :], torch.arange(height)[:, None]
    return torch.stack([x + 2 * y, 3 * x + y, 250 - 2 * x - y + 0 * x]).to(torch.uint8)


def cases():
    noise = [torch.randint(0, 256, (3, 14, 14), dtype=torch.uint8) for _ in range(6)]
    # Grey, black and saturated pixels are where hue and saturation have their special cases.
    noise[0][:, :5] = noise[0][:1, :5]
    noise[0][:, 5:8] = torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None, None]
    noise[1][:, :2] = 0
    crop = {"scale": [0.2, 0.9], "ratio": [0.75, 4 / 3]}
    yield case_of("flips", noise, None, [14, 14], horizontalFlip=0.5, verticalFlip=0.5)
    yield case_of("brightness", noise[:3], None, [14, 14], brightness=0.4)
    yield case_of("contrast", noise[:3], None, [14, 14], contrast=0.6)
    yield case_of("saturation", noise[:3], None, [14, 14], saturation=1.5)
    yield case_of("hue", noise[:3], None, [14, 14], hue=0.5)
    yield case_of("jitter and flips", noise, None, [14, 14], horizontalFlip=0.5, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1)
    yield case_of("crop", noise[:4], None, [12, 10], crop=crop)
    yield case_of("rotation", noise[:4], None, [14, 14], rotation=30)
    # The canvas holds every third column and every fifth row of the original: the image, squashed to a square.
    tall = [ramp(48, 80)] * 6
    squashed = [image[:, 2::5, 1::3] for image in tall]
    yield case_of("crop of a tall image", tall, squashed, [12, 12], crop=crop)
    yield case_of("all geometry", tall, squashed, [10, 14], crop=crop, horizontalFlip=0.5, verticalFlip=0.5, rotation=20)


def every_operation():
    """For each of the 14 operations, in either direction, the first sample that has it."""
    wanted = [(operation, negative) for operation in range(14) for negative in (False, True)]
    return [next(i for i in range(2000) if operation_of(i, 0) == each) for each in wanted]


def strong_cases():
    # Dark, flat and grey images are where autocontrast, equalize and colour have their special cases.
    x, y = torch.arange(11)[None, :], torch.arange(14)[:, None]
    smooth = torch.stack([9 * x + 4 * y, 120 + 5 * x - 3 * y, 40 + (x * y) % 90]).to(torch.uint8)
    noise = torch.randint(0, 256, (3, 14, 11), dtype=torch.uint8)
    flat = torch.full((3, 14, 11), 77, dtype=torch.uint8)
    flat[1, 3, 4] = 78
    indices = every_operation()
    for magnitude in (0, 4, 9, 17, 30):
        for title, image in (("smooth", smooth), ("noise", noise)) if magnitude != 0 else (("flat", flat),):
            changes = {"randAugment": {"operations": 1, "magnitude": magnitude}}
            yield case_of(f"{title}, each operation at {magnitude}", [image] * 28, None, [14, 11], indices, **changes)
    several = [noise, smooth, noise.flip(0), smooth.flip(1), noise.flip(2), flat]
    changes = {"horizontalFlip": 0.5, "randAugment": {"operations": 3, "magnitude": 12}, "brightness": 0.3, "hue": 0.1}
    yield case_of("flips, three operations, jitter", several, None, [14, 11], **changes)
    erasing = {"scale": [0.02, 0.33], "ratio": [0.3, 3.3]}
    yield case_of("erasing", several, None, [14, 11], erasing={**erasing, "probability": 0.7, "value": "zero"})
    # Most tries fail, and some samples' all.
    wide = {"probability": 1, "scale": [0.5, 1], "ratio": [0.1, 8], "value": "noise"}
    yield case_of("erasing with noise", several, None, [14, 11], erasing=wide)


def crops():
    """Boxes alone, extreme sizes and ranges among them."""
    ranges = [([0.08, 1], [3 / 4, 4 / 3]), ([0.5, 0.8], [0.9, 1.1]), ([0.9, 1], [2, 3])]
    sizes = [(500, 375), (333, 500), (224, 224), (1000, 60), (1, 1), (7, 3)]
    return [
        {"width": w, "height": h, "scale": s, "ratio": r, "index": i, "box": crop_of(i, w, h, {"scale": s, "ratio": r})}
        for s, r in ranges
        for w, h in sizes
        for i in range(8)
    ]


def main(folder):
    torch.manual_seed(21)
    folder.mkdir(parents=True, exist_ok=True)
    written = {
        "seed": SEED,
        "epoch": EPOCH,
        "mean": MEAN,
        "std": STD,
        "uniforms": [[s, e, i, k, uniform(s, e, i, k)] for s, e, i, k in [(0, 0, 0, 0), (1, 2, 3, 4), (2**53 - 1, 9, 5, 46)]],
        "crops": crops(),
        "cases": [*cases(), *strong_cases()],
    }
    text = json.dumps(written, separators=(",", ":"))
    (folder / "augment.json.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    default = Path(__file__).parent.parent / "test" / "fixtures" / "training"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
