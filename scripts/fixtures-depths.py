"""Makes test/fixtures/depths: one small picture in the depths, channels and codings that image files have, and what comes of it.

    python scripts/fixtures-depths.py

8 bits and less: what PIL's convert("RGB") gives. More: the rule of src/data/narrow.ts, worked out with numpy, for PIL cuts
such numbers off at 255. Needs numpy and pillow.
"""

import json
import pathlib
import struct

import numpy as np
from PIL import Image

folder = pathlib.Path(__file__).resolve().parent.parent / "test" / "fixtures" / "depths"
cases = []

y, x = np.mgrid[0:16, 0:16]
grey = ((x * 15 + y * 2) % 256).astype("uint8")
rgb = np.stack([grey, grey[::-1], grey.T], -1)
alpha = np.stack([grey, 255 - grey], -1)
rgba = np.concatenate([rgb, 255 - grey[..., None]], -1)
cmyk = np.concatenate([rgb, grey[..., None] // 2], -1)


def tiff(name, pixels, photometric=1, extra=None, bits=None, width=None, palette=None):
    """Uncompressed, in one strip: PIL and libtiff's tools write few of these kinds."""
    pixels = np.ascontiguousarray(pixels)
    height = pixels.shape[0]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    data = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    tags = {
        256: ("H", [width or pixels.shape[1]]),
        257: ("H", [height]),
        258: ("H", [bits or pixels.dtype.itemsize * 8] * channels),
        259: ("H", [1]),
        262: ("H", [photometric]),
        273: ("I", [0]),
        277: ("H", [channels]),
        278: ("H", [height]),
        279: ("I", [len(data)]),
        284: ("H", [1]),
        339: ("H", [kind] * channels),
    }
    if extra is not None:
        tags[338] = ("H", extra)
    if palette is not None:
        tags[320] = ("H", palette)
    tags = dict(sorted(tags.items()))
    packed = {tag: struct.pack(f"<{len(values)}{code}", *values) for tag, (code, values) in tags.items()}
    at = 8 + 2 + 12 * len(tags) + 4
    places = {}
    for tag, raw in packed.items():
        if len(raw) > 4:
            places[tag] = at
            at += len(raw) + len(raw) % 2
    packed[273] = struct.pack("<I", at)
    out = b"II*\0" + struct.pack("<IH", 8, len(tags))
    for tag, (code, values) in tags.items():
        value = struct.pack("<I", places[tag]) if tag in places else packed[tag].ljust(4, b"\0")
        out += struct.pack("<HHI", tag, {"H": 3, "I": 4}[code], len(values)) + value
    out += struct.pack("<I", 0)
    for tag in places:
        out += packed[tag] + b"\0" * (len(packed[tag]) % 2)
    (folder / name).write_bytes(out + data)


def case(name, expected=None, refused=None, pixel_range=None):
    """`expected`: pixels, or nothing for PIL's; `refused`: what the message says; `pixel_range`: the option."""
    if pixel_range is not None:
        cases.append(dict(input=name, pixelRange=pixel_range, expected=np.repeat(expected[..., None], 3, 2).reshape(-1).tolist()))
        return
    if refused is not None:
        cases.append(dict(input=name, refused=refused))
        return
    if expected is None:
        expected = np.asarray(Image.open(folder / name).convert("RGB"))
    if expected.ndim == 2:
        expected = np.repeat(expected[..., None], 3, 2)
    cases.append(dict(input=name, expected=np.asarray(expected).reshape(-1).tolist()))


folder.mkdir(parents=True, exist_ok=True)
for old in folder.iterdir():
    old.unlink()

# Up to 8 bits, as PIL has them.
tiff("grey8.tif", grey)
tiff("white-is-zero.tif", 255 - grey, photometric=0)
tiff("rgb8.tif", rgb, photometric=2)
tiff("rgbx.tif", rgba, photometric=2, extra=[0])
tiff("rgba.tif", rgba, photometric=2, extra=[2])
tiff("grey-alpha.tif", alpha, extra=[2])
tiff("cmyk.tif", cmyk, photometric=5)
tiff("bits.tif", np.packbits((grey > 127).astype("uint8"), axis=1), bits=1, width=16)
tiff("bits-white-is-zero.tif", np.packbits((grey > 127).astype("uint8"), axis=1), bits=1, width=16, photometric=0)
tiff("palette.tif", grey, photometric=3, palette=[(i * factor % 256) * 257 for factor in (1, 2, 3) for i in range(256)])
picture = Image.fromarray(rgb)
picture.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
picture.quantize(16).save(folder / "palette-4.png")
picture.quantize(2).save(folder / "palette-1.png", bits=1)
picture.convert("1").save(folder / "bilevel.png")
picture.quantize(8).save(folder / "transparent.gif", transparency=1)
Image.fromarray(grey).convert("1").save(folder / "fax.tif", compression="group4")
for file in sorted(folder.iterdir()):
    case(file.name)

# More than 8 bits whose range is known.
tiff("grey16.tif", grey.astype("uint16") * 257)
case("grey16.tif", grey)
tiff("rgb16.tif", rgb.astype("uint16") * 257, photometric=2)
case("rgb16.tif", rgb)
tiff("rgba16.tif", rgba.astype("uint16") * 257, photometric=2, extra=[2])
case("rgba16.tif", rgb)
tiff("cmyk16.tif", cmyk.astype("uint16") * 257, photometric=5)
case("cmyk16.tif", np.asarray(Image.frombytes("CMYK", (16, 16), cmyk.tobytes()).convert("RGB")))
tiff("black16.tif", np.zeros((16, 16), "uint16"))
case("black16.tif", np.zeros((16, 16), "uint8"))
tiff("float-1.tif", (grey / 255).astype("float32"))
case("float-1.tif", grey)
tiff("float-255.tif", grey.astype("float32"))
case("float-255.tif", grey)
tiff("float-rgb-1.tif", (rgb / 255).astype("float32"), photometric=2)
case("float-rgb-1.tif", rgb)
tiff("float-alpha.tif", (alpha / 255).astype("float32"), extra=[2])
case("float-alpha.tif", grey)
tiff("int32-255.tif", grey.astype("int32"))
case("int32-255.tif", grey)
tiff("uint32-255.tif", grey.astype("uint32"))
case("uint32-255.tif", grey)

# And in doubt.
tiff("grey12in16.tif", grey.astype("uint16") * 16)
case("grey12in16.tif", refused="reach only 4080 of 65535")
Image.fromarray(grey.astype("uint16") * 16).save(folder / "grey12in16.png")
case("grey12in16.png", refused="reach only 4080 of 65535")
case("grey12in16.tif", grey, pixel_range=[0, 4080])
twelve = np.clip(np.rint((grey.astype("float64") * 16 - 800) / 2200 * 255), 0, 255).astype("uint8")
case("grey12in16.png", twelve, pixel_range=[800, 3000])
tiff("grey14in16.tif", grey.astype("uint16") * 64)
case("grey14in16.tif", refused="reach only 16320 of 65535")
case("grey14in16.tif", grey, pixel_range=[0, 16320])
tiff("float-signed.tif", (grey / 127.5 - 1).astype("float32"))
case("float-signed.tif", refused="floating-point numbers are -1 to")
case("float-signed.tif", grey, pixel_range=[-1, 1])
tiff("float-large.tif", grey.astype("float32") * 100)
case("float-large.tif", refused="floating-point numbers are 0 to 25")
broken = (grey / 255).astype("float32")
broken[3, 3] = np.nan
tiff("float-nan.tif", broken)
case("float-nan.tif", refused="not all finite")
tiff("half.tif", (grey / 255).astype("float16"))
case("half.tif", refused="16-bit numbers are floating-point")
tiff("double.tif", (grey / 255).astype("float64"))
case("double.tif", refused="numbers of 64 bits")
tiff("int16.tif", grey.astype("int16") - 128)
case("int16.tif", refused="16-bit numbers are signed")
tiff("int8.tif", (grey.astype("int16") - 128).astype("int8"))
case("int8.tif", refused="whole numbers are -128 to")
tiff("int32-large.tif", grey.astype("int32") * 1000)
case("int32-large.tif", refused="whole numbers are 0 to 25")
case("int32-large.tif", grey, pixel_range=[0, 255000])
tiff("five-channels.tif", np.concatenate([rgb, rgb[..., :2]], -1), photometric=2, extra=[0, 0])
case("five-channels.tif", refused="5 channels")

(folder / "cases.json").write_text(json.dumps(cases) + "\n")
print(f"{len(cases)} cases, {sum(file.stat().st_size for file in folder.iterdir()) / 1024:.0f} KiB")
