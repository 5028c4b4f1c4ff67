"""The built-in, generated data set: 80 classes (a motif × its colour) in the report's layout.

The motif fills the picture, so a class survives flips, rotations and crops. Angle, scale, light and
cover vary: a model can memorise a few pictures without understanding the class, and that's the
experiment.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm.auto import tqdm

from ..errors import DiskError

MOTIFS = ("stripes", "checks", "dots", "nets")
# 18 degrees of hue apart
COLOURS = (
    "red",
    "vermilion",
    "orange",
    "yellow",
    "lemon",
    "lime",
    "grass green",
    "green",
    "emerald",
    "jade",
    "cyan",
    "sky blue",
    "azure",
    "blue",
    "indigo",
    "violet",
    "purple",
    "magenta",
    "pink",
    "crimson",
)
NAMES = tuple(f"{colour} {motif}" for motif in MOTIFS for colour in COLOURS)


def _distance(motif, u, v):
    """Signed distance to the motif's edge in periods, negative inside.

    u, v: coordinates in periods.
    """
    a = u - np.floor(u) - 0.5  # within one cell, in [-0.5, 0.5)
    b = v - np.floor(v) - 0.5
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


def draw(label: int, size: int, random: np.random.Generator) -> np.ndarray:
    """Draw one picture of class `label` (0–79): uint8 (size, size, 3)."""
    motif, colour = divmod(label, len(COLOURS))
    y, x = (np.mgrid[:size, :size] + 0.5) * (64 / size)  # in pixels of a 64 × 64 picture
    # The ground: a dark grey ramp in any direction, faintly tinted.
    slope = random.uniform(0, 2 * np.pi)
    ramp = ((x - 32) * np.cos(slope) + (y - 32) * np.sin(slope)) / 90
    tint = _rgb(random.uniform(0, 360), 0.1, 1.0)
    picture = (random.uniform(0.05, 0.25) + ramp * random.uniform(-0.25, 0.25))[..., None] * tint
    # The motif: any angle, period and phase.
    angle = random.uniform(0, 2 * np.pi)
    period = random.uniform(11, 17)
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


def generate(
    home: str | Path, size: int, train_per_class: int, test_per_class: int, seed: int = 0
) -> Path:
    """Write the data set below `home` in the report's layout, unless it's there; return its folder.

    size: side of the pictures in pixels. Picture i of a part has class i mod 80 and depends on
    (seed, part, i) alone: a larger set begins with a smaller one's. BMP files have the same bytes
    on every machine. Raises DiskError if it can't be written.
    """
    folder = Path(home) / f"shapes-{train_per_class}+{test_per_class}-{size}px-seed{seed}"
    if folder.is_dir():
        return folder
    try:
        _write(folder, size, train_per_class, test_per_class, seed)
    except OSError as error:
        advice = "Free some space, or set COURSE_HOME to another folder."
        raise DiskError(
            f"{folder} can't be written ({error.strerror or error}). {advice}"
        ) from error
    return folder


def _write(folder, size, train_per_class, test_per_class, seed):
    """Write the data set to a folder, completely or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".shapes-", dir=folder.parent) as unfinished:
        new = Path(unfinished) / folder.name
        new.mkdir()
        _write_part(new, "train_data", "answer.json", size, train_per_class, [seed, 0])
        _write_part(new, "test_data", "test_answer.json", size, test_per_class, [seed, 1])
        classes = [{"category": label, "name": name} for label, name in enumerate(NAMES)]
        (new / "classes.json").write_text(json.dumps(classes))
        if not folder.is_dir():  # another notebook may have been faster
            new.rename(folder)


def _write_part(folder, images, answer, size, per_class, key):
    """Draw the training or the test images: a folder of pictures, and their labels in a JSON file.

    key: of the random numbers, two ints: the seed and the part.
    """
    (folder / images).mkdir()
    rows = []
    for i in tqdm(range(len(NAMES) * per_class), f"drawing {images}", unit=" images", leave=False):
        name = f"{i:05d}.bmp"
        label = i % len(NAMES)
        random = np.random.Generator(np.random.Philox(key=key, counter=[0, i, 0, 0]))
        Image.fromarray(draw(label, size, random)).save(folder / images / name)
        rows.append({"file_name": name, "category": label})
    (folder / answer).write_text(json.dumps({"annotations": rows}))
