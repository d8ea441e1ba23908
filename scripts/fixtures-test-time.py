"""Makes test/fixtures/training/test-time.json.gz: what torchvision's Resize with FiveCrop and TenCrop cut out of images.

    python scripts/fixtures-test-time.py
"""

import base64
import gzip
import io
import json
from pathlib import Path

import numpy
import vision  # noqa: F401 (before torchvision)
from PIL import Image, ImageOps
from torchvision import transforms

RESIZE, SIZE = 40, 32


def picture(width, height):
    """Every corner looks different, and there is something fine in it."""
    y, x = numpy.mgrid[0:height, 0:width]
    noise = numpy.random.default_rng(1).integers(0, 40, (height, width))
    planes = [255 * x // width, 255 * y // height, (x * y) % 97 + 2 * noise]
    return Image.fromarray(numpy.stack(planes, 2).clip(0, 255).astype(numpy.uint8))


def stored(image, kind):
    """Bytes of a file; a JPEG is stored turned, as cameras do."""
    file = io.BytesIO()
    if kind == "png":
        image.save(file, "PNG")
    else:
        exif = Image.Exif()
        exif[0x0112] = 6
        image.rotate(90, expand=True).save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()


def encode(data):
    return base64.b64encode(data).decode()


def crops_of(file, make):
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(file))).convert("RGB")
    return make(transforms.Resize(RESIZE)(image))


def case_of(name, width, height, kind):
    file = stored(picture(width, height), kind)
    crops = {"five": transforms.FiveCrop(SIZE), "ten": transforms.TenCrop(SIZE)}
    windows = {each: [encode(crop.tobytes()) for crop in crops_of(file, make)] for each, make in crops.items()}
    return {"name": name, "file": encode(file), **windows}


def main():
    cases = [
        case_of("a wide PNG, odd margin", 61, 47, "png"),
        case_of("a wide PNG, even margin", 62, 47, "png"),
        case_of("a tall JPEG that is stored turned", 47, 62, "jpeg"),
    ]
    text = json.dumps({"resize": RESIZE, "size": SIZE, "cases": cases}, separators=(",", ":"))
    path = Path(__file__).parent.parent / "test" / "fixtures" / "training" / "test-time.json.gz"
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
