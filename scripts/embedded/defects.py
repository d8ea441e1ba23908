"""Renders the embedded target task: synthetic photographs of surface defects, six classes, train and val.

    python scripts/embedded/defects.py --out assets/defects

Each image is a height and a colour map (materials.py), damaged by one defect, lit by a lamp, seen through a blurred,
noisy camera and stored as JPEG. Every image has its own random stream; train and val share none.
"""

import argparse
from pathlib import Path

import numpy as np
from numpy.random import Generator
from PIL import Image, ImageFilter

from materials import MATERIALS, SIZE, Surface, lattice, octaves

PHOTO = 112
PER_SPLIT = 40

_Y, _X = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)


def spread(rng: Generator, low: float, high: float) -> float:
    """A value between low and high, small ones as likely as large ones on a logarithmic scale."""
    return float(low * (high / low) ** rng.random())


def somewhere(rng: Generator) -> np.ndarray:
    return rng.uniform(0.25, 0.75, 2) * SIZE


def distance_to(path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance of every pixel to the nearest of the path's points, and which point that is."""
    squares = (_X[..., None] - path[:, 0].astype(np.float32)) ** 2 + (
        _Y[..., None] - path[:, 1].astype(np.float32)
    ) ** 2
    nearest = squares.argmin(2)
    return np.sqrt(np.take_along_axis(squares, nearest[..., None], 2)[..., 0]), nearest


def oval(rng: Generator, radius: float) -> np.ndarray:
    """Elliptic distance from a random centre, 1 on the outline."""
    centre, angle, flat = somewhere(rng), rng.uniform(0, np.pi), rng.uniform(0.6, 1)
    x, y = _X - centre[0], _Y - centre[1]
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    return np.hypot(along, across / flat) / radius


def ok(_rng: Generator, _surface: Surface) -> None:
    """Nothing but the surface."""


def scratch(rng: Generator, surface: Surface) -> None:
    """One to three shallow grooves with raised lips, tapering at both ends, baring lighter or darker material."""
    angle, bare = rng.uniform(0, 2 * np.pi), rng.choice([-0.6, 1, 1, 1]) * spread(rng, 0.22, 0.55)
    for _ in range(int(rng.integers(1, 4))):
        direction = angle + rng.normal(0, 0.25)
        half = spread(rng, 0.15, 0.4) * SIZE * np.array([np.cos(direction), np.sin(direction)])
        bow = rng.normal(0, 0.08) * np.array([-half[1], half[0]])
        time = np.linspace(-1, 1, 64)[:, None]
        distance, nearest = distance_to(somewhere(rng) + time * half + (1 - time**2) * bow)
        taper = np.sqrt(1 - time[nearest, 0] ** 2) + 0.05
        width = spread(rng, 1.6, 3.2)
        cut = np.exp(-((distance / width) ** 2)) * taper
        surface.height += spread(rng, 1, 2.5) * (
            0.5 * np.exp(-(((distance - 1.8 * width) / width) ** 2)) * taper - cut
        )
        surface.colour *= (1 + bare * cut)[..., None]


def jagged(rng: Generator, start: np.ndarray, end: np.ndarray, roughness: float) -> np.ndarray:
    """A fracture line from start to end by midpoint displacement."""
    path = np.stack([start, end])
    for _ in range(7):
        leg = path[1:] - path[:-1]
        normal = np.stack([-leg[:, 1], leg[:, 0]], 1)
        middle = (path[1:] + path[:-1]) / 2 + normal * rng.normal(0, roughness, (len(leg), 1))
        path = np.insert(path, np.arange(1, len(path)), middle, 0)
    return path


def crack(rng: Generator, surface: Surface) -> None:
    """A dark, jagged gap that forks into finer ones."""
    angle, length = rng.uniform(0, 2 * np.pi), spread(rng, 0.4, 0.85) * SIZE
    heading = length / 2 * np.array([np.cos(angle), np.sin(angle)])
    roughness, middle = rng.uniform(0.12, 0.2), somewhere(rng)
    trunk = jagged(rng, middle - heading, middle + heading, roughness)
    gaps, width = [(trunk, 1.0)], spread(rng, 1.6, 2.8)
    for _ in range(int(rng.integers(1, 4))):
        root = trunk[rng.integers(20, 100)]
        side = angle + rng.choice([-1, 1]) * rng.uniform(0.4, 1.1)
        tip = root + rng.uniform(0.2, 0.45) * length * np.array([np.cos(side), np.sin(side)])
        gaps.append((jagged(rng, root, tip, roughness), 0.7))
    opening = np.zeros((SIZE, SIZE), np.float32)
    for path, share in gaps:
        distance, _ = distance_to(path)
        opening = np.maximum(opening, np.exp(-((distance / (width * share)) ** 2)))
    opening *= np.clip(0.85 + 0.4 * lattice(rng, SIZE, 9, 9), 0, 1)
    surface.height -= 2 * opening
    surface.colour *= (1 - spread(rng, 0.6, 0.9) * opening)[..., None]


def dent(rng: Generator, surface: Surface) -> None:
    """A smooth hollow, seen only by how it turns the light."""
    for _ in range(int(rng.integers(1, 3))):
        radius = spread(rng, 0.09, 0.22) * SIZE
        inside = np.clip(1 - oval(rng, radius) ** 2, 0, 1)
        surface.height -= radius * spread(rng, 0.18, 0.5) * inside**2


def stain(rng: Generator, surface: Surface) -> None:
    """Spilt liquid or rust: flat, tinted, with an uneven outline and often a darker border."""
    red, warmth = rng.uniform(0.45, 0.76), rng.uniform(0.55, 1)  # from grey water to brown rust
    tint = np.array([red, red * (0.3 + 0.7 * warmth), red * warmth**2]) ** spread(rng, 0.5, 1.2)
    outline = oval(rng, spread(rng, 0.12, 0.3) * SIZE) + rng.uniform(0.2, 0.45) * octaves(rng, SIZE, 5, 3)
    soaked = np.clip((1 - outline) / rng.uniform(0.1, 0.5), 0, 1)
    border = rng.uniform(0, 0.6) * np.exp(-(((outline - 0.95) / 0.08) ** 2))
    amount = np.clip(soaked * rng.uniform(0.6, 1) + border, 0, 1.3) * (0.9 + 0.15 * octaves(rng, SIZE, 8, 2))
    surface.colour *= 1 - amount[..., None] * (1 - tint)
    surface.gloss *= rng.uniform(0.5, 1)


def pores(rng: Generator, surface: Surface) -> None:
    """A loose group of small steep pits, dark inside."""
    centre, reach, dark = somewhere(rng), spread(rng, 0.07, 0.25) * SIZE, spread(rng, 0.45, 0.85)
    for _ in range(int(rng.integers(4, 16))):
        place, radius, flat = centre + rng.normal(0, reach, 2), spread(rng, 1.6, 6), rng.uniform(0.7, 1.4)
        distance = np.hypot((_X - place[0]) * flat, (_Y - place[1]) / flat) / radius
        pit = np.clip(1.5 - distance, 0, 1)
        surface.height -= 0.8 * radius * pit
        surface.colour *= (1 - dark * pit)[..., None]


DEFECTS = [crack, dent, ok, pores, scratch, stain]


def lit(rng: Generator, surface: Surface) -> np.ndarray:
    """Diffuse and specular light (Blinn-Phong) of one near lamp over an even background light."""
    dy, dx = np.gradient(surface.height)
    normal = np.stack([-dx, -dy, np.ones_like(dx)], 2)
    normal /= np.linalg.norm(normal, axis=2, keepdims=True)
    azimuth, climb = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.1)
    lamp = np.array(
        [np.cos(azimuth) * np.cos(climb), np.sin(azimuth) * np.cos(climb), np.sin(climb)]
    ) * rng.uniform(1.5, 4)
    place = np.stack([_X / SIZE - 0.5, _Y / SIZE - 0.5, np.zeros_like(_X)], 2)
    ray = lamp - place
    far = np.linalg.norm(ray, axis=2, keepdims=True)
    ray /= far
    diffuse = np.clip((normal * ray).sum(2), 0, None) * (np.linalg.norm(lamp) / far[..., 0]) ** 2
    half = ray + np.array([0, 0, 1])
    half /= np.linalg.norm(half, axis=2, keepdims=True)
    highlight = surface.gloss * np.clip((normal * half).sum(2), 0, 1) ** surface.shine
    ambient = rng.uniform(0.2, 0.5)
    return (
        surface.colour * (ambient + (1 - ambient) * diffuse / np.sin(climb))[..., None]
        + 0.5 * highlight[..., None]
    )


def photograph(rng: Generator, scene: np.ndarray) -> Image.Image:
    """Shadow, exposure, white balance, focus and sensor noise."""
    if rng.random() < 0.3:  # the soft edge of a shadow
        angle, where = rng.uniform(0, 2 * np.pi), rng.uniform(-0.4, 0.4)
        side = (_X / SIZE - 0.5) * np.cos(angle) + (_Y / SIZE - 0.5) * np.sin(angle) - where
        scene = scene * (1 - rng.uniform(0.1, 0.4) / (1 + np.exp(-side / rng.uniform(0.03, 0.2))))[..., None]
    scene = scene * rng.uniform(0.75, 1.2) * (1 + rng.uniform(-0.06, 0.06, 3))
    pixels = Image.fromarray((np.clip(scene, 0, 1) * 255).astype(np.uint8)).resize(
        (PHOTO, PHOTO), Image.Resampling.BOX
    )
    pixels = pixels.filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.7)))
    values = np.asarray(pixels, np.float32)
    shot = rng.normal(0, 1, values.shape) * np.sqrt(values / 255) * spread(rng, 1, 6)
    return Image.fromarray(np.clip(values + shot, 0, 255).astype(np.uint8))


def render(split: int, label: int, index: int) -> Image.Image:
    rng = np.random.default_rng([2026, split, label, index])
    surface = MATERIALS[index % len(MATERIALS)](rng, rng.uniform(0, 360))
    DEFECTS[label](rng, surface)
    return photograph(rng, lit(rng, surface))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    folder = parser.parse_args().out
    for split, split_name in enumerate(["train", "val"]):
        for label, defect in enumerate(DEFECTS):
            target = folder / split_name / defect.__name__
            target.mkdir(parents=True, exist_ok=True)
            for index in range(PER_SPLIT):
                file = target / f"{defect.__name__}-{index:02}.jpg"
                render(split, label, index).save(file, quality=85, optimize=True)


if __name__ == "__main__":
    main()
