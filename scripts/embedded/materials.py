"""Bare surfaces of the target task: metal, wood, concrete and paint, as height and colour maps.

Built by other means than the source task's textures (upsampled lattices and row filters, no spectra, no Pillow
drawing), so that what a network gains from pretraining is not a memory of the same generator.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from PIL import Image

SIZE = 224  # surfaces are made at twice the size of the final photograph
_SHEET = 320  # large enough to be turned by any angle


@dataclass
class Surface:
    """Heights in pixels [SIZE, SIZE], colour 0..1 [SIZE, SIZE, 3], strength and sharpness of the highlight."""

    height: np.ndarray
    colour: np.ndarray
    gloss: float
    shine: float


def resized(field: np.ndarray, width: int, height: int) -> np.ndarray:
    return np.asarray(
        Image.fromarray(field.astype(np.float32)).resize((width, height), Image.Resampling.BICUBIC)
    )


def lattice(rng: Generator, size: int, columns: int, rows: int) -> np.ndarray:
    """Smooth noise: uniform values in -1..1 on a coarse lattice, interpolated to [size, size]."""
    return resized(rng.uniform(-1, 1, (rows, columns)), size, size)


def octaves(rng: Generator, size: int, first: int, count: int) -> np.ndarray:
    return sum(lattice(rng, size, first * 2**k, first * 2**k) / 2**k for k in range(count))


def turned(field: np.ndarray, angle: float) -> np.ndarray:
    """The sheet rotated by `angle` degrees, its middle cut out."""
    sheet = Image.fromarray(field.astype(np.float32)).rotate(angle, Image.Resampling.BICUBIC)
    border = (_SHEET - SIZE) // 2
    return np.asarray(sheet)[border : border + SIZE, border : border + SIZE]


def streaks(rng: Generator, length: int) -> np.ndarray:
    """Rows of white noise averaged along x over `length` pixels, unit variance."""
    padded = rng.normal(0, 1, (_SHEET, _SHEET + length)).cumsum(1)
    return (padded[:, length:] - padded[:, :-length])[:, :_SHEET] / np.sqrt(length)


def tinted(brightness: np.ndarray, tint) -> np.ndarray:
    return brightness[..., None] * np.asarray(tint, np.float32)


def metal(rng: Generator, angle: float) -> Surface:
    grooves = turned(streaks(rng, int(rng.integers(20, 90))), angle)
    tone = rng.uniform(0.45, 0.7) + 0.03 * octaves(rng, SIZE, 3, 3) + rng.uniform(0.005, 0.04) * grooves
    tint = 1 + rng.uniform(-0.05, 0.05, 3)
    return Surface(
        grooves * rng.uniform(0.02, 0.15), tinted(tone, tint), rng.uniform(0.2, 0.5), rng.uniform(8, 30)
    )


def wood(rng: Generator, angle: float) -> Surface:
    y = np.linspace(0, 1, _SHEET)[:, None]
    bend = lattice(rng, _SHEET, 3, 4) * rng.uniform(0.03, 0.12)
    rings = ((y + bend) * rng.uniform(8, 22) + 0.1 * streaks(rng, 60)) % 1  # early wood fades into late wood
    fibres = turned(streaks(rng, int(rng.integers(15, 40))), angle)
    grain = turned(rings**2, angle)
    tone = rng.uniform(0.55, 0.8) - rng.uniform(0.08, 0.22) * grain + rng.uniform(0.01, 0.04) * fibres
    tint = np.array([1, rng.uniform(0.68, 0.85), rng.uniform(0.42, 0.65)])
    return Surface(-0.1 * grain + 0.1 * fibres, tinted(tone, tint), rng.uniform(0, 0.15), rng.uniform(5, 15))


def concrete(rng: Generator, _angle: float) -> Surface:
    sand = octaves(rng, SIZE, int(rng.integers(28, 56)), 2)
    tone = rng.uniform(0.45, 0.7) + rng.uniform(0.03, 0.08) * octaves(rng, SIZE, 3, 4) + 0.03 * sand
    tint = 1 + np.array([1, 0, -1]) * rng.uniform(-0.02, 0.06)
    return Surface(sand * rng.uniform(0.1, 0.5) + 0.4 * octaves(rng, SIZE, 6, 2), tinted(tone, tint), 0.02, 4)


def paint(rng: Generator, _angle: float) -> Surface:
    peel = lattice(rng, SIZE, int(rng.integers(30, 60)), int(rng.integers(30, 60)))
    tone = np.full((SIZE, SIZE), rng.uniform(0.4, 0.8)) + 0.01 * octaves(rng, SIZE, 4, 3)
    return Surface(
        peel * rng.uniform(0.03, 0.2),
        tinted(tone, rng.uniform(0.5, 1, 3)),
        rng.uniform(0.1, 0.5),
        rng.uniform(10, 60),
    )


MATERIALS = [metal, wood, concrete, paint]
