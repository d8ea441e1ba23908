"""Texture classes of the source task: each function draws one random field, float32 [size, size] in 0..1."""

from functools import lru_cache

import numpy as np
from numpy.random import Generator


@lru_cache
def _grid(size: int) -> tuple[np.ndarray, np.ndarray]:
    axis = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    return axis[None, :].repeat(size, 0), axis[:, None].repeat(size, 1)


@lru_cache
def _frequencies(size: int) -> tuple[np.ndarray, np.ndarray]:
    return np.fft.rfftfreq(size)[None, :] * size, np.fft.fftfreq(size)[:, None] * size


def stretch(field: np.ndarray) -> np.ndarray:
    low, high = float(field.min()), float(field.max())
    return ((field - low) / (high - low + 1e-9)).astype(np.float32)


def log_uniform(rng: Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def noise(
    rng: Generator, size: int, slope: float, low: float = 1, high: float = 1e9, aspect: float = 1
) -> np.ndarray:
    """Gaussian noise with amplitude 1/f^slope between `low` and `high` cycles per image, stretched by `aspect`."""
    fx, fy = _frequencies(size)
    angle = rng.uniform(0, np.pi)
    along, across = fx * np.cos(angle) + fy * np.sin(angle), fy * np.cos(angle) - fx * np.sin(angle)
    radius = np.sqrt((along * aspect) ** 2 + across**2)
    amplitude = np.where((radius >= low) & (radius <= high), (radius + 0.5) ** -slope, 0)
    spectrum = amplitude * np.exp(2j * np.pi * rng.random(radius.shape))
    return stretch(np.fft.irfft2(spectrum, (size, size)))


def plane(rng: Generator, size: int, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates, rotated, shifted, slightly bent, in units of a period; `low` to `high` periods per image."""
    x, y = _grid(size)
    angle, periods = rng.uniform(0, 2 * np.pi), log_uniform(rng, low, high)
    u = periods * (x * np.cos(angle) + y * np.sin(angle)) + rng.uniform(0, 1)
    v = periods * (y * np.cos(angle) - x * np.sin(angle)) + rng.uniform(0, 1)
    bend = rng.uniform(0, 0.6) * (rng.random() < 0.6)
    return u + bend * (noise(rng, size, 2.5, 1, 5) - 0.5), v + bend * (noise(rng, size, 2.5, 1, 5) - 0.5)


def soft_step(values: np.ndarray, width: float) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(values / width, -30, 30)))


def points(rng: Generator, size: int, count: int) -> np.ndarray:
    """Distances of every pixel to `count` random points, [size, size, count], in image widths."""
    x, y = _grid(size)
    centre = rng.uniform(-0.6, 0.6, (2, count)).astype(np.float32)
    return np.sqrt((x[..., None] - centre[0]) ** 2 + (y[..., None] - centre[1]) ** 2)


def ridges(rng, size):
    return 1 - np.abs(noise(rng, size, rng.uniform(1.4, 2), rng.integers(1, 4)) - 0.5) * 2


def waves(rng, size):
    u, _ = plane(rng, size, 4, 22)
    return np.sin(2 * np.pi * u)


def bars(rng, size):
    u, _ = plane(rng, size, 4, 16)
    levels = rng.random(64)
    return levels[np.floor(u).astype(int) % 64]


def checker(rng, size):
    u, v = plane(rng, size, 3, 12)
    return soft_step(np.sin(2 * np.pi * u) * np.sin(2 * np.pi * v), 0.1)


def weave(rng, size):
    u, v = plane(rng, size, 4, 14)
    over = (np.floor(u) + np.floor(v)) % 2
    across = np.abs(np.sin(np.pi * u)) * (0.7 + 0.3 * np.cos(6 * np.pi * v))
    along = np.abs(np.sin(np.pi * v)) * (0.7 + 0.3 * np.cos(6 * np.pi * u))
    return np.where(over == 1, across, along)


def bricks(rng, size):
    u, v = plane(rng, size, 4, 12)
    u = u / 2 + 0.5 * (np.floor(v) % 2)
    joint = rng.uniform(0.05, 0.12)
    tone = rng.random((32, 32))[np.floor(u).astype(int) % 32, np.floor(v).astype(int) % 32]
    edge = np.minimum(np.minimum(u % 1, 1 - u % 1) * 2, np.minimum(v % 1, 1 - v % 1))
    return np.where(edge < joint, 0, 0.6 + 0.4 * tone)


def hexagons(rng, size):
    u, v = plane(rng, size, 3, 10)
    turns = np.array([0, 1, 2]) * 2 * np.pi / 3
    return sum(np.cos(2 * np.pi * (u * np.cos(a) + v * np.sin(a))) for a in turns)


def cells(rng, size):
    distance = points(rng, size, int(rng.integers(10, 60)))
    return rng.random(distance.shape[2])[distance.argmin(2)]


def cell_walls(rng, size):
    distance = np.partition(points(rng, size, int(rng.integers(8, 50))), 1, axis=2)
    return soft_step(distance[..., 1] - distance[..., 0] - rng.uniform(0.01, 0.03), 0.006)


def pebbles(rng, size):
    return points(rng, size, int(rng.integers(10, 60))).min(2)


def rings(rng, size):
    u, v = plane(rng, size, 6, 24)
    return np.sin(2 * np.pi * np.hypot(u, v * rng.uniform(0.5, 1)))


def spiral(rng, size):
    u, v = plane(rng, size, 3, 12)
    arms = rng.integers(1, 4) * rng.choice([-1, 1])
    return np.sin(2 * np.pi * np.hypot(u, v) + arms * np.arctan2(v, u))


def spokes(rng, size):
    u, v = plane(rng, size, 1, 2)
    return soft_step(np.sin(rng.integers(4, 16) * np.arctan2(v, u)), rng.uniform(0.1, 0.8))


def moire(rng, size):
    u, _ = plane(rng, size, 8, 22)
    v, _ = plane(rng, size, 8, 22)
    return np.sin(2 * np.pi * u) * np.sin(2 * np.pi * v)


def _escape(z: np.ndarray, c: np.ndarray | complex, steps: int) -> np.ndarray:
    count = np.zeros(z.shape, np.float32)
    for _ in range(steps):
        z = z * z + c
        inside = (z.real**2 + z.imag**2) < 16
        z = np.where(inside, z, 4)
        count += inside
    return np.log1p(count)


def julia(rng, size):
    u, v = plane(rng, size, 0.6, 2.5)
    angle = rng.uniform(0, 2 * np.pi)
    c = 0.5 * np.exp(1j * angle) - 0.25 * np.exp(2j * angle)  # on the edge of the main cardioid
    return _escape(
        (u - 0.5 + 1j * (v - 0.5)).astype(np.complex64), np.complex64(c * rng.uniform(1.02, 1.12)), 36
    )


def mandelbrot(rng, size):
    x, y = _grid(size)
    angle, width = rng.uniform(0, 2 * np.pi), log_uniform(rng, 0.03, 0.5)
    edge = 0.5 * np.exp(1j * angle) - 0.25 * np.exp(2j * angle)
    c = (edge + width * (x + 1j * y) * np.exp(1j * rng.uniform(0, 6.28))).astype(np.complex64)
    return _escape(np.zeros_like(c), c, 48)


def marble(rng, size):
    u, _ = plane(rng, size, 2, 7)
    return np.sin(2 * np.pi * (u + rng.uniform(1, 2.5) * noise(rng, size, 1.9)))


def contours(rng, size):
    level = noise(rng, size, rng.uniform(2, 2.6)) * rng.uniform(4, 10)
    return soft_step(np.abs(level % 1 - 0.5) - rng.uniform(0.06, 0.15), 0.03)


def camouflage(rng, size):
    return np.floor(noise(rng, size, rng.uniform(1.8, 2.4), 2) * rng.integers(3, 6))


def labyrinth(rng, size):
    low = rng.uniform(6, 16)
    return soft_step(noise(rng, size, 0, low, low * 1.25) - 0.5, rng.uniform(0.02, 0.08))


def ripples(rng, size):
    distance = points(rng, size, int(rng.integers(2, 5)))
    return np.sin(2 * np.pi * rng.uniform(8, 20) * distance).sum(2)


def polka(rng, size):
    u, v = plane(rng, size, 4, 14)
    radius = rng.uniform(0.2, 0.38)
    return soft_step(radius - np.hypot(u % 1 - 0.5, v % 1 - 0.5), 0.05)


def plaid(rng, size):
    u, v = plane(rng, size, 3, 10)
    levels = rng.random((2, 32))
    return levels[0][np.floor(u * 2).astype(int) % 32] + levels[1][np.floor(v * 2).astype(int) % 32]


def bits(rng, size):
    u, v = plane(rng, size, 12, 40)
    return (np.floor(u).astype(int) ^ np.floor(v).astype(int)) % 16


FIELDS = [
    ridges, waves, bars, checker, weave, bricks, hexagons, cells, cell_walls, pebbles, rings, spiral, spokes, moire,
    julia, mandelbrot, marble, contours, camouflage, labyrinth, ripples, polka, plaid, bits,
]  # fmt: skip
