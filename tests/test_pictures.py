"""Figures as files: small, in true colour where they show photographs, and written whole."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image
from test_plots import history

from course_lib import DiskError, keep, plot_history, plot_images
from course_lib.data.shapes import draw


def photograph(seed, side=64):
    """Soft shading, an object, and a little grain, like something on a table: uint8 (64, 64, 3)."""
    random = np.random.default_rng(seed)
    layers = []
    for cells in (3, 4):
        colours = random.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
        layers.append(Image.fromarray(colours).resize((side, side), Image.Resampling.BICUBIC))
    behind, thing = map(np.asarray, layers)
    down, across = np.mgrid[:side, :side] / side - 0.5
    is_thing = (np.abs(across) < 0.25 + 0.1 * np.sin(6 * down + seed)) & (np.abs(down) < 0.35)
    pixels = np.where(is_thing[..., None], thing, behind)
    return (pixels + random.normal(0, 2, pixels.shape)).clip(0, 255).astype(np.uint8)


def as_drawn(figure):
    """A figure as matplotlib draws it: a PIL image."""
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor="white")
    return Image.open(file).convert("RGB")


def in_notebook(figure):
    """A figure as a notebook shows it: a PIL image, and the size of its file in bytes."""
    bundle, _ = figure._repr_mimebundle_()
    [kind] = [kind for kind in bundle if kind.startswith("image/")]
    content = base64.b64decode(bundle[kind])
    image = Image.open(io.BytesIO(content))
    assert Image.MIME[image.format] == kind
    return image.convert("RGB"), len(content)


def difference(one, other):
    """The mean difference of two images, of 255."""
    return np.abs(np.asarray(one, float) - np.asarray(other, float)).mean()


@pytest.mark.parametrize("count, columns", [(1, 6), (6, 6), (12, 4), (32, 8)])
def test_photographs_keep_their_colours_in_figures_of_any_size(count, columns):
    images = torch.from_numpy(np.stack([photograph(seed) for seed in range(count)]))
    figure = plot_images(images, ["a caption"] * count, columns=columns)
    full = as_drawn(figure)
    file = Image.open(io.BytesIO(figure.png()))
    assert file.format == "PNG" and difference(file.convert("RGB"), full) == 0
    shown, size = in_notebook(figure)
    assert difference(shown, full) < 3
    assert size < 20_000 * count + 20_000


def test_a_figure_keeps_the_hues_of_the_classes():
    """Two classes may be 18 degrees of hue apart; most pixels stay within half of that."""
    images = np.stack([draw(label, 64, np.random.default_rng(label)) for label in range(24)])
    figure = plot_images(torch.from_numpy(images), ["x"] * 24)
    true = np.asarray(as_drawn(figure).convert("HSV")).astype(int)
    shown = np.asarray(in_notebook(figure)[0].convert("HSV")).astype(int)
    vivid = (true[..., 1] > 200) & (true[..., 2] > 200)
    turned = (shown[..., 0] - true[..., 0] + 128) % 256 - 128
    assert (np.abs(turned[vivid]) * 360 / 256 < 9).mean() > 0.8


def test_lines_stay_sharp():
    """A JPEG would surround them with shades of its own."""
    figure = plot_history({2: history([0.1, 0.5, 0.9], [0.1, 0.2, 0.3])})
    full = np.asarray(as_drawn(figure)).astype(int)
    shown, size = in_notebook(figure)
    shown = np.asarray(shown).astype(int)
    assert size < 100_000
    white = (full == 255).all(2)
    assert white.mean() > 0.5 and (shown[white] >= 254).all()
    assert np.abs(shown - full).max() < 60


def test_keep_hands_the_figure_back_and_a_failure_leaves_the_old_file(tmp_path):
    figure = plot_history({1: history([0.5])})
    path = tmp_path / "new folder" / "figure.png"
    assert keep(figure, path) is figure
    before = path.read_bytes()
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="file"):
        keep(figure, tmp_path / "file" / "figure.png")
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["figure.png"]
