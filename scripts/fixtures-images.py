"""Makes test/fixtures/images: small generated images and what torchvision and PIL make of them.

    python scripts/fixtures-images.py                 writes the fixtures
    python scripts/fixtures-images.py --measure DIR   compares lib/ (run `npm run build` first) with torchvision on
                                                      every .jpg and .png below DIR, and prints the differences

Needs torch, torchvision, numpy and pillow.
"""

import json
import pathlib
import struct
import subprocess
import sys
import zlib

import numpy as np
import torch
from PIL import Image, ImageOps

try:
    torch.ops.torchvision.nms
    import torchvision  # noqa: F401
except (AttributeError, RuntimeError):
    # A torchvision whose compiled operators do not fit this torch: the transforms used here need none of them.
    operators = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        operators.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from torchvision import transforms
from torchvision.transforms import InterpolationMode

root = pathlib.Path(__file__).resolve().parent.parent
folder = root / "test" / "fixtures" / "images"
random = np.random.default_rng(0)


def photograph(width, height):
    """Smooth colour fields, edges and a little sensor noise."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    waves = np.stack([np.sin(9 * x * y + 3 * x) + np.sin(23 * y), 2 * np.cos(17 * x + 7 * y * y), np.sin(30 * (x - 0.5) ** 2 + 40 * (y - 0.4) ** 2)], -1)
    pixels = waves * 40 + 128 + random.normal(0, 5, (height, width, 3))
    disc = (x - 0.4) ** 2 + (y - 0.3) ** 2 < 0.03
    pixels[disc] = pixels[disc] * 0.3 + np.array([200, 60, 20]) * 0.7
    return np.clip(pixels, 0, 255).astype("uint8")


def expected(image, size, resize, crop, interpolation):
    mode = InterpolationMode[interpolation.upper()]
    if crop == "none":
        return transforms.Resize((size, size), interpolation=mode)(image)
    return transforms.Compose([transforms.Resize(resize, interpolation=mode), transforms.CenterCrop(size)])(image)


def write_png16(path, pixels):
    """PIL writes no 16-bit RGB."""
    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))  # noqa: E731
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 3: 2}[channels], 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b""))


def make():
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    cases = []

    def case(name, image, size=56, resize=64, crop="center", interpolation="bilinear", about="resize"):
        answer = f"expected-{len(cases):02d}.png"
        pixels = np.asarray(expected(image, size, resize, crop, interpolation))  # without PIL's note of a transparent colour
        Image.fromarray(pixels).save(folder / answer, optimize=True)
        cases.append(dict(input=name, expected=answer, about=about, size=size, resize=resize, crop=crop, interpolation=interpolation))

    # Aspect ratios, odd sizes, shrinking and enlarging.
    for name in ["160x107.jpg", "75x140.png", "131x131.png", "64x64.png", "200x65.png", "61x35.png", "33x80.jpg", "24x24.png", "430x301.jpg", "700x523.jpg"]:
        width, height = map(int, name.split(".")[0].split("x"))
        Image.fromarray(photograph(width, height)).save(folder / name, quality=85)
        image = Image.open(folder / name).convert("RGB")
        for interpolation in ("bilinear", "bicubic"):
            about = "shrunk 4 times or more" if min(width, height) >= 4 * 64 else "resize"
            case(name, image, interpolation=interpolation, about=about)
    for name in ["160x107.jpg", "61x35.png", "33x80.jpg"]:
        case(name, Image.open(folder / name).convert("RGB"), crop="none", about="squash")
        case(name, Image.open(folder / name).convert("RGB"), crop="none", interpolation="bicubic", about="squash")
    case("160x107.jpg", Image.open(folder / "160x107.jpg"), size=55, resize=60, about="odd crop")

    # What files may be; PIL's convert("RGB") is the reference.
    picture = photograph(90, 70)
    rgb = Image.fromarray(picture)
    alpha = Image.fromarray(np.tile(np.linspace(0, 255, 90).astype("uint8"), (70, 1)))
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    grey_alpha = rgb.convert("L")
    grey_alpha.putalpha(alpha)
    palette = rgb.quantize(64)
    kinds = {
        "grey.jpg": (rgb.convert("L"), {}),
        "grey.png": (rgb.convert("L"), {}),
        "bilevel.png": (rgb.convert("1"), {}),
        "rgba.png": (rgba, {}),
        "rgba.webp": (rgba, dict(lossless=True, exact=True)),
        "grey-alpha.png": (grey_alpha, {}),
        "palette.png": (palette, {}),
        "palette-transparent.png": (palette, dict(transparency=3)),
        "rgb.webp": (rgb, dict(lossless=True)),
        "rgb.tif": (rgb, dict(compression="tiff_deflate")),
        "animated.gif": (palette, dict(save_all=True, append_images=[ImageOps.invert(rgb).quantize(64)])),
        "animated.webp": (rgb, dict(save_all=True, append_images=[ImageOps.invert(rgb)], lossless=True)),
    }
    for name, (image, options) in kinds.items():
        image.save(folder / name, **options)
        case(name, Image.open(folder / name).convert("RGB"), about="kind")
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        name = f"orientation-{orientation}.jpg"
        rgb.save(folder / name, exif=exif, quality=85)
        case(name, ImageOps.exif_transpose(Image.open(folder / name)), about="orientation")
    for orientation in (3, 6):
        exif[0x0112] = orientation
        name = f"orientation-{orientation}-small.jpg"
        rgb.resize((45, 35)).save(folder / name, exif=exif, quality=85)
        case(name, ImageOps.exif_transpose(Image.open(folder / name)), about="orientation")

    # 16 bits: the high byte counts. PIL has no 16-bit RGB, and clips 16-bit grey.
    deep = picture.astype("uint16") * 256 + 201
    write_png16(folder / "rgb16.png", deep)
    case("rgb16.png", rgb, about="kind")
    write_png16(folder / "grey16.png", deep[..., :1])
    case("grey16.png", Image.fromarray(np.repeat(picture[..., :1], 3, 2)), about="kind")
    rgb.convert("CMYK").save(folder / "cmyk.jpg", quality=85)
    case("cmyk.jpg", Image.open(folder / "cmyk.jpg").convert("RGB"), about="kind")
    # How JPEGs may be coded: of the window's neighbours only some are decoded.
    wide = Image.fromarray(photograph(233, 150))
    codings = {
        "progressive.jpg": dict(progressive=True),
        "full-colour.jpg": dict(subsampling="4:4:4"),
        "half-colour.jpg": dict(subsampling="4:2:2"),
        "restarts.jpg": dict(restart_marker_blocks=3),
    }
    for name, options in codings.items():
        wide.save(folder / name, quality=60, **options)
        case(name, Image.open(folder / name), size=48, resize=72, about="coding")
    (folder / "cases.json").write_text(json.dumps(cases, indent=1) + "\n")
    total = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{len(cases)} cases, {total / 1024:.0f} KiB")


decode = """
import { decodeImage } from './lib/data/decode.js';
import { completePreprocessing } from './lib/data/preprocessing.js';
import { writeFileSync } from 'node:fs';
const { paths, parts } = JSON.parse(process.argv[1]);
const preprocessing = completePreprocessing(parts);
const bytes = preprocessing.size ** 2 * 3;
for (const path of paths) {
  const pixels = new Uint8Array(bytes);
  await decodeImage(path, preprocessing, 'eval', pixels, 0);
  writeFileSync(1, pixels);
}
"""


def measure(where):
    paths = sorted(str(path.resolve()) for path in pathlib.Path(where).rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    for size, resize in ((288, 329), (224, 256), (128, 146), (64, 73), (32, 37)):
        for interpolation in ("bilinear", "bicubic"):
            parts = dict(size=size, resize=resize, interpolation=interpolation)
            command = ["node", "--input-type=module", "-e", decode, json.dumps(dict(paths=paths, parts=parts))]
            output = subprocess.run(command, cwd=root, stdout=subprocess.PIPE, check=True).stdout
            ours = np.frombuffer(output, "uint8").reshape(len(paths), size, size, 3)
            images = [ImageOps.exif_transpose(Image.open(path)).convert("RGB") for path in paths]
            theirs = [np.asarray(expected(image, crop="center", **parts)) for image in images]
            shrink = [min(image.size) / resize for image in images]
            print(f"size {size}, resize {resize}, {interpolation}")
            for low, high in ((0, 1), (1, 4), (4, 1000)):
                chosen = [i for i, factor in enumerate(shrink) if low <= factor < high]
                if chosen:
                    differences = np.stack([np.abs(ours[i].astype(int) - theirs[i]) for i in chosen])
                    print(
                        f"  shrunk {low} to {high} times, {len(chosen)} images: max {differences.max()}, mean "
                        f"{differences.mean():.3f}, above 2 levels {100 * (differences > 2).mean():.4f} % of values"
                    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(sys.argv[2])
    else:
        make()
