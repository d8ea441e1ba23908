"""Figure classes of the source task: each function draws random marks with Pillow; a plain ground is a class too."""

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageDraw

from fields import log_uniform, noise, stretch

OVERSAMPLING = 3


class Canvas:
    """A transparent sheet in units of the image width; `mask` returns the marks, float32 [size, size] in 0..1."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pixels = size * OVERSAMPLING
        self.image = Image.new("L", (self.pixels, self.pixels))
        self.draw = ImageDraw.Draw(self.image)

    def scaled(self, corners) -> list[tuple[float, float]]:
        return [(float(x) * self.pixels, float(y) * self.pixels) for x, y in corners]

    def line(self, corners, width: float, tone: int = 255) -> None:
        self.draw.line(self.scaled(corners), tone, max(1, round(width * self.pixels)), "curve")

    def polygon(self, corners, tone: int = 255) -> None:
        self.draw.polygon(self.scaled(corners), tone)

    def mask(self) -> np.ndarray:
        small = self.image.resize((self.size, self.size), Image.Resampling.BOX)
        return np.asarray(small, np.float32) / 255


def place(rng: Generator, margin: float = 0.15) -> np.ndarray:
    return rng.uniform(margin, 1 - margin, 2)


def circle(centre, radius: float, count: int, start: float = 0, turn: float = 2 * np.pi) -> np.ndarray:
    angles = start + turn * np.arange(count) / count
    return centre + radius * np.stack([np.cos(angles), np.sin(angles)], 1)


def few(rng: Generator, most: int) -> range:
    return range(int(rng.integers(1, most + 1)))


def discs(rng, canvas):
    for _ in few(rng, 5):
        canvas.polygon(circle(place(rng), log_uniform(rng, 0.025, 0.13), 40))


def hoops(rng, canvas):
    for _ in few(rng, 4):
        ring = circle(place(rng), log_uniform(rng, 0.04, 0.2), 40)
        canvas.line([*ring, ring[0], ring[1]], rng.uniform(0.008, 0.03))


def polygons(rng, canvas):
    for _ in few(rng, 4):
        canvas.polygon(
            circle(place(rng), log_uniform(rng, 0.04, 0.18), int(rng.integers(3, 5)), rng.uniform(0, 6.28))
        )


def stars(rng, canvas):
    for _ in few(rng, 4):
        tips, centre, radius, start = (
            int(rng.integers(4, 8)),
            place(rng),
            log_uniform(rng, 0.06, 0.2),
            rng.uniform(0, 6),
        )
        outer = circle(centre, radius, tips, start)
        inner = circle(centre, radius * 0.4, tips, start + np.pi / tips)
        canvas.polygon(np.stack([outer, inner], 1).reshape(-1, 2))


def crosses(rng, canvas):
    for _ in few(rng, 6):
        arms = circle(place(rng), log_uniform(rng, 0.03, 0.13), 4, rng.uniform(0, 1.6))
        width = rng.uniform(0.01, 0.03)
        canvas.line([arms[0], arms[2]], width)
        canvas.line([arms[1], arms[3]], width)


def strokes(rng, canvas):
    for _ in few(rng, 5):
        canvas.line(
            circle(place(rng), log_uniform(rng, 0.08, 0.4), 2, rng.uniform(0, 3.2)), rng.uniform(0.006, 0.03)
        )


def arcs(rng, canvas):
    for _ in few(rng, 4):
        turn = rng.uniform(1.5, 4)
        canvas.line(
            circle(place(rng), log_uniform(rng, 0.07, 0.35), 24, rng.uniform(0, 6), turn),
            rng.uniform(0.008, 0.03),
        )


def zigzags(rng, canvas):
    for _ in few(rng, 3):
        count, angle = int(rng.integers(5, 12)), rng.uniform(0, 6.28)
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]]) * rng.uniform(0.02, 0.08)
        steps = np.arange(count) - count / 2
        corners = (
            place(rng)
            + steps[:, None] * along * rng.uniform(0.03, 0.07)
            + (np.arange(count) % 2)[:, None] * across
        )
        canvas.line(corners, rng.uniform(0.006, 0.02))


def glyphs(rng, canvas):
    """Rows of strokes on a small lattice, like writing in an unknown alphabet."""
    angle, cell = rng.uniform(-0.5, 0.5), rng.uniform(0.05, 0.11)
    right, down = (
        cell * np.array([np.cos(angle), np.sin(angle)]),
        cell * np.array([-np.sin(angle), np.cos(angle)]),
    )
    for row in few(rng, 4):
        start = rng.uniform(0.05, 0.4, 2) + 1.7 * row * down
        for letter in range(int(rng.integers(3, 8))):
            nodes = rng.integers(0, 3, (int(rng.integers(3, 5)), 2)) / 2
            corners = start + 1.4 * letter * right + nodes[:, :1] * right + nodes[:, 1:] * down * 1.3
            canvas.line(corners, cell * 0.16)


def trees(rng, canvas):
    """Self-similar branching (Lindenmayer), at least four levels."""
    stack = [(place(rng, 0.2), rng.uniform(0, 6.28), rng.uniform(0.15, 0.28), rng.uniform(0.012, 0.028))]
    spread, shrink = rng.uniform(0.3, 0.8), rng.uniform(0.6, 0.75)
    while stack:
        root, angle, length, width = stack.pop()
        tip = root + length * np.array([np.cos(angle), np.sin(angle)])
        canvas.line([root, tip], width)
        if length > 0.035:
            for side in (-1, 1):
                stack.append(
                    (tip, angle + side * spread * rng.uniform(0.6, 1.4), length * shrink, width * 0.75)
                )


def walks(rng, canvas):
    """Brownian paths: every step turns anew."""
    for _ in few(rng, 3):
        steps = rng.normal(0, rng.uniform(0.015, 0.035), (int(rng.integers(40, 120)), 2))
        canvas.line(place(rng, 0.3) + steps.cumsum(0), rng.uniform(0.005, 0.015))


def squiggles(rng, canvas):
    for _ in few(rng, 3):
        time = np.linspace(0, 1, 50)[:, None]
        swing = sum(
            rng.normal(0, 0.13 / k, 2) * np.sin(2 * np.pi * k * time + rng.uniform(0, 6, 2))
            for k in (1, 2, 3)
        )
        canvas.line(place(rng, 0.25) + swing, rng.uniform(0.008, 0.03))


def dust(rng, canvas):
    for _ in range(int(rng.integers(25, 120))):
        canvas.polygon(circle(place(rng, 0.02), rng.uniform(0.004, 0.012), 8), int(rng.integers(120, 256)))


def hatching(rng, canvas):
    angle, gap, centre = rng.uniform(0, 3.2), rng.uniform(0.02, 0.05), place(rng, 0.3)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    for row in range(int(rng.integers(5, 12))):
        middle = centre + (row - 4) * gap * across
        canvas.line(
            [middle - along * rng.uniform(0.08, 0.25), middle + along * rng.uniform(0.08, 0.25)], 0.009
        )


def nothing(_rng, _canvas):
    """The ground alone."""


DRAWN = [
    discs, hoops, polygons, stars, crosses, strokes, arcs, zigzags, glyphs, trees, walks, squiggles, dust, hatching,
    nothing,
]  # fmt: skip


def spots(rng: Generator, size: int) -> np.ndarray:
    """Soft round spots of either sign, float32 [size, size] in -1..1."""
    return _bells(rng, size, lambda dx, dy, reach: np.exp(-(dx**2 + dy**2) / (2 * reach**2)))


def bumps(rng: Generator, size: int) -> np.ndarray:
    """Relief lit from one side: bright on one flank, dark on the other."""
    angle = rng.uniform(0, 2 * np.pi)

    def lit(dx, dy, reach):
        return np.exp(-(dx**2 + dy**2) / (2 * reach**2)) * (dx * np.cos(angle) + dy * np.sin(angle)) / reach

    return _bells(rng, size, lit)


def smudges(rng: Generator, size: int) -> np.ndarray:
    """Cloudy patches with a frayed border."""
    patch = _bells(rng, size, lambda dx, dy, reach: np.exp(-(((dx**2 + dy**2) / (2 * reach**2)) ** 2)))
    ragged = np.abs(patch) + rng.uniform(0.5, 1) * (noise(rng, size, 1.6, 2) - 0.5)
    return np.clip(ragged * 3 - 1, 0, 1) * rng.choice([-1, 1])


def _bells(rng: Generator, size: int, shape) -> np.ndarray:
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size
    field = np.zeros((size, size), np.float32)
    sign = rng.choice([-1, 1])
    for _ in few(rng, 4):
        centre, reach = place(rng, 0.2), log_uniform(rng, 0.03, 0.12)
        angle, flat = rng.uniform(0, 3.2), rng.uniform(0.6, 1)
        x, y = axis[None, :] - centre[0], axis[:, None] - centre[1]
        along, across = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / flat
        field += sign * shape(along, across, reach)
    return field


SHADED = [spots, bumps, smudges]


def ground(rng: Generator, size: int) -> np.ndarray:
    """What figures lie on: plain, cloudy, brushed, grainy or a gradient, contrast from none to strong."""
    kind = rng.integers(0, 5)
    if kind == 0:
        return np.zeros((size, size), np.float32)
    if kind == 1:
        return noise(rng, size, rng.uniform(1.2, 2.2))
    if kind == 2:
        return noise(rng, size, rng.uniform(0.3, 1), 2, aspect=rng.uniform(5, 30))
    if kind == 3:
        low = rng.uniform(5, 25)
        return noise(rng, size, 0.5, low, low * rng.uniform(1.5, 3))
    return stretch(noise(rng, size, 3, 0.9, 2))
