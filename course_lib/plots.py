"""The figures of images and of predictions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from .captions import short_names
from .pictures import BLUE, ORANGE, WIDTH, Picture, styled


class Mark(NamedTuple):
    """What tells right predictions from wrong ones: a sign, and a frame around the image."""

    sign: str
    frame: dict[str, Any]


class Likeliest(NamedTuple):
    """The likeliest classes of some images, the likeliest first."""

    classes: torch.Tensor  # int64 (n, count)
    shares: torch.Tensor  # their probabilities, float (n, count)


def likeliest_classes(probabilities: torch.Tensor, count: int) -> Likeliest:
    """The `count` likeliest classes of each image; probabilities: float (n, K).

    Of equally likely ones, the lower number comes first, as for `argmax`. `topk` promises no order.
    """
    ranked = probabilities.argsort(dim=1, descending=True, stable=True)[:, :count]
    return Likeliest(ranked, probabilities.gather(1, ranked))


UNKNOWN = Mark("", {"edgecolor": "grey"})
RIGHT = Mark("✓ ", {"edgecolor": BLUE, "linewidth": 2})
WRONG = Mark("✗ ", {"edgecolor": ORANGE, "linewidth": 5, "linestyle": (0, (2, 1))})


@styled
def plot_images(
    images: torch.Tensor, captions: Sequence[str], columns: int = 6, title: str | None = None
) -> Picture:
    """Show images in a grid, each with a caption above it.

    images: uint8 (n, S, S, 3) or float (n, 3, S, S) in [-1, 1]. captions: n, of equally many lines.
    """
    columns = min(columns, len(captions))
    rows = math.ceil(len(captions) / columns)
    side = WIDTH / max(6, columns)  # inches; an image is no larger than one of six in a row
    lines = 1 + captions[0].count("\n")
    height = rows * (0.9 * side + 0.24 * lines)
    if title:
        height += 0.4
    width = side * columns
    if title:
        width = max(width, min(WIDTH, 0.13 * len(title)))  # or a few images would cut it off
    alt = _alt_of_images(title, captions)
    figure = Picture((width, height), title, alt, true_colour=True)
    figure.get_layout_engine().set(wspace=0.1, hspace=0.06)  # neighbouring frames don't touch
    pixels = _as_bytes(images).cpu().numpy()
    for i, caption in enumerate(captions):
        axis = figure.add_subplot(rows, columns, i + 1, xticks=[], yticks=[])
        axis.imshow(pixels[i])
        axis.set_anchor("N")  # all spare room is below, or a caption could be cut off
        axis.set_title(caption, fontsize=13)
        axis.spines[:].set_visible(False)
    return figure


def _as_bytes(images: torch.Tensor) -> torch.Tensor:
    """Images as uint8 (n, S, S, 3), whichever of the two kinds they are."""
    if not images.is_floating_point():
        return images
    pixels = (images.permute(0, 2, 3, 1) + 1) * 127.5
    return pixels.round().clip(0, 255).byte()


def _alt_of_images(title: str | None, captions: Sequence[str]) -> str:
    """A grid of images in words: its title, and every different caption on one line."""
    in_one_line = [" ".join(caption.split()) for caption in captions if caption]
    different = dict.fromkeys(in_one_line)
    return f"{title or 'Images'}: {'; '.join(different)}"


def plot_predictions(
    images: torch.Tensor,
    labels: torch.Tensor,
    probabilities: torch.Tensor,
    classes: Sequence[str],
    title: str | None = None,
    likeliest: int = 1,
) -> Picture:
    """Show predictions: ✓ in a thin frame if right, ✗ in a thick dashed one if wrong.

    images: as in `plot_images`. labels: int64 (n,), −1 if unknown. probabilities: float (n, K).
    classes: K names. likeliest: how many classes are named (K if there are fewer), the likeliest
    first; below them, if it's wrong, the true one.
    """
    likeliest = min(likeliest, len(classes))
    top = likeliest_classes(probabilities, likeliest)
    before_share = "\n" if likeliest == 1 else " "  # a single one has a line of its own
    names = short_names(classes, 17)
    marks = []
    captions = []
    for i in range(len(labels)):
        label = int(labels[i])
        guesses: list[int] = top.classes[i].tolist()
        shares = top.shares[i].tolist()
        mark = _mark(label, guesses[0])
        lines = []
        for guess, share in zip(guesses, shares):
            lines.append(f"{names[guess]}{before_share}{share:.0%}")
        lines.append(f"is: {names[label]}" if mark is WRONG else "")  # as many for all images
        marks.append(mark)
        captions.append(mark.sign + "\n".join(lines))
    figure = plot_images(images, captions, title=title)
    for axis, mark in zip(figure.axes, marks):
        axis.spines[:].set(visible=True, capstyle="butt", **mark.frame)
    return figure


def _mark(label: int, guess: int) -> Mark:
    if label < 0:
        return UNKNOWN
    return RIGHT if guess == label else WRONG
