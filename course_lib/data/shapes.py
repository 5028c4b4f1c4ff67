"""The built-in, generated data set: 80 classes (a motif × its colour) in the report's layout.

The motif fills the picture, so a class survives flips, rotations and crops. Angle, scale, light and
cover vary: a model can memorise a few pictures without understanding the class, and that's the
experiment.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

MOTIFS = ("stripes", "checks", "dots", "nets")
COLOURS = (  # 18 degrees of hue apart
    "red", "vermilion", "orange", "yellow", "lemon", "lime", "grass green", "green", "emerald", "jade",
    "cyan", "sky blue", "azure", "blue", "indigo", "violet", "purple", "magenta", "pink", "crimson",
)  # fmt: skip
NAMES = tuple(f"{colour} {motif}" for motif in MOTIFS for colour in COLOURS)


def _distance(motif, u, v):
    """Signed distance to the motif's edge in periods, negative inside. u, v: coordinates in
    periods."""
    a, b = u - np.floor(u) - 0.5, v - np.floor(v) - 0.5  # within one cell, in [-0.5, 0.5)
    if motif == "stripes":
        return np.abs(a) - 0.22
    if motif == "checks":
        return -np.sin(2 * np.pi * u) * np.sin(2 * np.pi * v) / (2 * np.pi)
    if motif == "dots":
        return np.hypot(a, b) - 0.3
    return 0.38 - np.maximum(np.abs(a), np.abs(b))  # nets: the lines between the cells


def _rgb(hue, saturation, value):
    """HSV to RGB; hue in degrees, the others in [0, 1]. Returns float (3,) in [0, 1]."""
    sector = (np.array([5, 3, 1]) + hue / 60) % 6
    return value * (1 - saturation * np.clip(np.minimum(sector, 4 - sector), 0, 1))


def draw(label, size, random):
    """Draw one picture of class `label` (0–79): uint8 (size, size, 3). `random`: a NumPy Generator,
    drawn from."""
    motif, colour = divmod(label, len(COLOURS))
    y, x = (np.mgrid[:size, :size] + 0.5) * (64 / size)  # in pixels of a 64 × 64 picture
    # The ground: a dark grey ramp in any direction, faintly tinted.
    slope = random.uniform(0, 2 * np.pi)
    ramp = ((x - 32) * np.cos(slope) + (y - 32) * np.sin(slope)) / 90
    tint = _rgb(random.uniform(0, 360), 0.1, 1.0)
    picture = (random.uniform(0.05, 0.25) + ramp * random.uniform(-0.25, 0.25))[..., None] * tint
    # The motif: any angle, period and phase.
    angle, period = random.uniform(0, 2 * np.pi), random.uniform(11, 17)
    u = (x * np.cos(angle) + y * np.sin(angle)) / period + random.uniform()
    v = (y * np.cos(angle) - x * np.sin(angle)) / period + random.uniform()
    cover = np.clip(0.5 - _distance(MOTIFS[motif], u, v) * period * (size / 64), 0, 1)[..., None]
    hue = colour * 360 / len(COLOURS) + random.uniform(-1.5, 1.5)
    picture += cover * (_rgb(hue, random.uniform(0.95, 1), random.uniform(0.9, 1)) - picture)
    # What makes it hard: grey patches in front, and noise.
    for _ in range(2):
        left, top = random.uniform(-8, 56, 2)
        width, height = random.uniform(8, 16, 2)
        patch = (left < x) & (x < left + width) & (top < y) & (y < top + height)
        picture[patch] = _rgb(
            random.uniform(0, 360), random.uniform(0, 0.3), random.uniform(0.1, 0.5)
        )
    picture += random.normal(0, 0.025, picture.shape)
    return (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)


def generate(home, size, train_per_class, test_per_class, seed=0):
    """Write the data set below `home` in the report's layout, unless it's there already; return its
    folder.

    size: side of the pictures in pixels. Picture i of a part has class i mod 80 and depends on
    (seed, part, i) alone: a larger set begins with a smaller one's. BMP files have the same bytes
    on every machine.
    """
    folder = Path(home) / f"shapes-{train_per_class}+{test_per_class}-{size}px-seed{seed}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".shapes-", dir=folder.parent) as unfinished:
        new = Path(unfinished) / folder.name
        parts = (
            ("train_data", "answer.json", train_per_class),
            ("test_data", "test_answer.json", test_per_class),
        )
        for part, (images, answer, per_class) in enumerate(parts):
            (new / images).mkdir(parents=True)
            rows = [
                {"file_name": f"{i:05d}.bmp", "category": i % len(NAMES)}
                for i in range(len(NAMES) * per_class)
            ]
            for i, row in enumerate(tqdm(rows, f"drawing {images}", unit=" images", leave=False)):
                random = np.random.Generator(
                    np.random.Philox(key=[seed, part], counter=[0, i, 0, 0])
                )
                Image.fromarray(draw(row["category"], size, random)).save(
                    new / images / row["file_name"]
                )
            (new / answer).write_text(json.dumps({"annotations": rows}))
        (new / "classes.json").write_text(
            json.dumps([{"category": i, "name": name} for i, name in enumerate(NAMES)])
        )
        if not folder.is_dir():  # another notebook may have been faster
            new.rename(folder)
    return folder
