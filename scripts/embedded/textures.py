"""The source task: coloured, lit, noisy images of every texture and figure class, from a seed."""

from multiprocessing import Pool

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from fields import FIELDS, log_uniform, noise, stretch
from figures import DRAWN, SHADED, Canvas, ground

CLASSES = [make.__name__ for make in (*FIELDS, *DRAWN, *SHADED)]
SIZE = 112


def relief(rng: Generator, label: int) -> np.ndarray:
    """One channel, about 0..1. Figures keep only part of the range, so that some are faint."""
    if label < len(FIELDS):
        return stretch(FIELDS[label](rng, SIZE)) * log_uniform(rng, 0.35, 1)
    base = 0.5 + rng.uniform(0, 0.5) * (ground(rng, SIZE) - 0.5)
    figure = label - len(FIELDS)
    if figure >= len(DRAWN):
        return base + log_uniform(rng, 0.2, 0.6) * SHADED[figure - len(DRAWN)](rng, SIZE)
    canvas = Canvas(SIZE)
    DRAWN[figure](rng, canvas)
    tone = rng.choice([-1, 1]) * log_uniform(rng, 0.2, 0.8)
    return base + tone * canvas.mask()


def colours(rng: Generator) -> np.ndarray:
    """Three colours, dark to light, [3, 3]; often nearly grey."""
    low, high = rng.uniform(0.05, 0.4), rng.uniform(0.6, 0.98)
    levels = np.array([low, (low + high) / 2, high])[:, None]
    tint = rng.uniform(-1, 1, (3, 3)) * rng.choice([0.03, 0.1, 0.35])
    return np.clip(levels + tint + rng.uniform(-0.15, 0.15, 3) * rng.integers(0, 2), 0, 1)


def photograph(rng: Generator, field: np.ndarray) -> np.ndarray:
    """Colour, uneven light, blur and sensor noise; uint8 [SIZE, SIZE, 3]."""
    ramp = colours(rng)[:: rng.choice([-1, 1])]
    field = np.clip(field, 0, 1)
    image = np.stack([np.interp(field, [0, 0.5, 1], ramp[:, channel]) for channel in range(3)], 2)
    if rng.random() < 0.7:
        axis = np.linspace(-0.5, 0.5, SIZE)
        angle = rng.uniform(0, 2 * np.pi)
        slope = axis[None, :] * np.cos(angle) + axis[:, None] * np.sin(angle)
        image *= (1 + rng.uniform(0, 0.7) * slope)[..., None]
    if rng.random() < 0.4:
        image *= (1 - rng.uniform(0, 0.5) * noise(rng, SIZE, 3, 0.9, 3))[..., None]
    pixels = Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
    if rng.random() < 0.5:
        pixels = pixels.filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 1.2)))
    sensor = rng.normal(0, log_uniform(rng, 1, 10), (SIZE, SIZE, 1 if rng.random() < 0.5 else 3))
    return np.clip(np.asarray(pixels, np.float32) + sensor, 0, 255).astype(np.uint8)


def render(job: tuple[int, int]) -> np.ndarray:
    """Image number `index` of the stream `seed`; its class is index modulo the number of classes."""
    seed, index = job
    rng = np.random.default_rng([seed, index])
    return photograph(rng, relief(rng, index % len(CLASSES)))


def render_many(seed: int, count: int, processes: int) -> tuple[np.ndarray, np.ndarray]:
    """`count` images, uint8 [count, SIZE, SIZE, 3], and their labels, int64 [count]."""
    images = np.empty((count, SIZE, SIZE, 3), np.uint8)
    with Pool(processes) as pool:
        for index, image in enumerate(pool.imap(render, ((seed, index) for index in range(count)), 64)):
            images[index] = image
    return images, np.arange(count) % len(CLASSES)
