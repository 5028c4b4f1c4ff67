"""Figures of what a network sees: filters, feature maps, receptive fields, heat maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from .captions import short_names
from .insight import CANVAS
from .pictures import BLUE, ORANGE, WIDTH, Picture, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

EMPTY: dict[str, Any] = {"xticks": [], "yticks": []}
SMALL = 12  # points; no text is smaller


@styled
def show_filters(weights: Tensor, before: Tensor) -> Picture:
    """Show the filters of a first layer as colour pictures: before training, and now.

    weights, before: float (filters, 3, k, k). A filter's 0 is grey, and its largest weight reaches
    black or white.
    """
    alt = f"The {len(weights)} filters of the first layer, before and after training."
    figure = Picture((9.6, 4.8), None, alt)
    grid = figure.subplots(1, 2, subplot_kw=EMPTY)
    for axis, filters, title in zip(grid, (before, weights), ("before training", "now")):
        axis.imshow(_tiles(filters.detach().cpu(), columns=8).numpy(), interpolation="nearest")
        axis.set_title(title)
        axis.grid(False)
    return figure


def _tiles(filters: Tensor, columns: int) -> Tensor:
    """Filters in a grid with white lines between them: float (H, W, 3) in [0, 1]."""
    largest = filters.abs().amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
    pictures = torch.nn.functional.pad(0.5 + filters / largest / 2, (0, 1, 0, 1), value=1.0)
    missing = -len(pictures) % columns
    pictures = torch.cat([pictures, torch.ones(missing, *pictures.shape[1:])])
    rows = [torch.cat(list(row), dim=2) for row in pictures.split(columns)]
    return torch.cat(rows, dim=1).permute(1, 2, 0)


@styled
def show_maps(image: Tensor, maps: Mapping[str, Tensor], channels: int = 3) -> Picture:
    """Show an image, and for each group of layers the feature maps that vary most.

    image: float (3, S, S) in [-1, 1]. maps: {group: float (C, h, w)}. White is a map's largest
    value, and black is 0.
    """
    alt = f"An image and {channels} feature maps each of {', '.join(maps)}."
    figure = Picture((WIDTH, 2.1 * channels + 0.6), None, alt, true_colour=True)
    grid = figure.subplots(channels, 1 + len(maps), squeeze=False, subplot_kw=EMPTY)
    for axis in grid.flat:
        axis.grid(False)
    for axis in grid[1:, 0]:
        axis.set_axis_off()
    grid[0, 0].imshow(_as_picture(image))
    grid[0, 0].set_title("image", fontsize=13)
    for column, (name, found) in enumerate(maps.items(), 1):
        found = found.float().cpu()
        count, height, width = found.shape
        strongest = found.flatten(1).std(dim=1, correction=0).argsort(descending=True, stable=True)
        for row, channel in enumerate(strongest[:channels].tolist()):
            grid[row, column].imshow(found[channel].numpy(), "gray", vmin=0)
        grid[0, column].set_title(f"{name}\n{count} × {height} × {width}", fontsize=13)
    return figure


def _as_picture(image: Tensor) -> Any:
    """A float (3, S, S) in [-1, 1] as an array (S, S, 3) in [0, 1], for `imshow`."""
    return (image.float().cpu().permute(1, 2, 0) / 2 + 0.5).clip(0, 1).numpy()


class Square(NamedTuple):
    """A square around the middle of a receptive field's picture."""

    name: str
    colour: str
    line: str


SQUARES = (
    Square("could matter (theory)", ORANGE, "--"),
    Square("holds 90% of the gradient", BLUE, "-"),
    Square("one image", "black", ":"),
)


@styled
def show_fields(
    gradients: Mapping[str, Tensor], theory: Sequence[int], ninety: Sequence[int], size: int
) -> Picture:
    """Show what one position of each group depends on, with three squares around it.

    gradients: {group: float (CANVAS, CANVAS)}, 0 or more; drawn on a logarithmic scale. theory,
    ninety: for each group, the side of what could matter, and of what holds 90% of the gradient.
    size: of an image, in pixels.
    """
    sides = [f"{name}: {ninety[i]} of {theory[i]}" for i, name in enumerate(gradients)]
    alt = f"Receptive fields, pixels that hold 90% and that could matter: {', '.join(sides)}."
    figure = Picture((WIDTH, 4.2), None, alt)
    figure.get_layout_engine().set(h_pad=0.1)
    grid = figure.subplots(1, len(gradients), squeeze=False, subplot_kw=EMPTY)[0]
    for i, (name, gradient) in enumerate(gradients.items()):
        axis = grid[i]
        share = gradient.float().cpu() / gradient.max().cpu().clamp(min=1e-30)
        axis.imshow(share.clip(min=1e-4).log10().numpy(), "Greys", vmin=-4, vmax=0)
        axis.grid(False)
        axis.set_title(f"{name}\n90% in {ninety[i]} px,\nall in {theory[i]} px", fontsize=13)
        for square, side in zip(SQUARES, (theory[i], ninety[i], size)):
            _draw_square(axis, square, min(side, CANVAS))
    lines, labels = grid[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside lower center", ncols=3)
    return figure


def _draw_square(axis: Axes, square: Square, side: int) -> None:
    low = CANVAS // 2 - side / 2
    high = CANVAS // 2 + side / 2
    across = [low, high, high, low, low]
    down = [low, low, high, high, low]
    axis.plot(
        across, down, color=square.colour, linestyle=square.line, marker="", label=square.name
    )


@styled
def show_heat(images: Tensor, heats: Mapping[str, Tensor], captions: Sequence[str]) -> Picture:
    """Show images, and below each its heat maps: the redder, the more a place matters.

    images: float (B, 3, S, S) in [-1, 1]. heats: {name of the row: float (B, 1, h, w)}; each map
    has its own scale, from its lowest to its highest value. A cross marks the hottest place.
    captions: B, of up to two lines.
    """
    rows = 1 + len(heats)
    names = [" ".join(name.split()) for name in heats]
    alt = f"{len(images)} images, and their maps: {', '.join(names)}."
    side = (WIDTH - 0.5) / max(6, len(images))  # inches; an image is no larger than one of six
    size = (0.5 + side * len(images), 0.7 + rows * side)
    figure = Picture(size, None, alt, true_colour=True)
    grid = figure.subplots(rows, len(images), squeeze=False, subplot_kw=EMPTY)
    for axis in grid.flat:
        axis.grid(False)
    for column, caption in enumerate(captions):
        grid[0, column].imshow(_as_picture(images[column]))
        grid[0, column].set_title(caption, fontsize=SMALL)
        for row, heat in enumerate(heats.values(), 1):
            _draw_heat(grid[row, column], images[column], heat[column])
    for row, name in enumerate(["image", *heats]):
        grid[row, 0].set_ylabel(name, fontsize=13)
    return figure


def _draw_heat(axis: Axes, image: Tensor, heat: Tensor) -> None:
    """A map over its image in grey. heat: float (1, h, w)."""
    side = image.shape[-1]
    heat = heat.float().cpu()
    axis.imshow(_as_picture(image.float().cpu().mean(0, keepdim=True).expand(3, -1, -1)))
    extent = (-0.5, side - 0.5, side - 0.5, -0.5)
    axis.imshow(heat[0].numpy(), "inferno", alpha=0.65, extent=extent, interpolation="nearest")
    if heat.max() > heat.min():
        row, column = divmod(int(heat[0].flatten().argmax()), heat.shape[2])
        across = (column + 0.5) * side / heat.shape[2] - 0.5
        down = (row + 0.5) * side / heat.shape[1] - 0.5
        for colour, width in (("black", 6), ("white", 2.5)):  # visible on dark and on bright places
            axis.plot(across, down, "x", color=colour, markersize=11, markeredgewidth=width)
    axis.set(xlim=(-0.5, side - 0.5), ylim=(side - 0.5, -0.5))


def answers_in_words(
    labels: Tensor, predicted: Tensor, confidence: Tensor, classes: Sequence[str]
) -> list[str]:
    """A caption of two lines per image, for `show_heat`: ✓ or ✗ and the answer, then the rest.

    labels, predicted: int64 (n,). confidence: float (n,), in [0, 1]. classes: K names.
    """
    names = short_names(classes, 17)
    captions = []
    for label, guess, share in zip(labels.tolist(), predicted.tolist(), confidence.tolist()):
        if guess == label:
            captions.append(f"✓ {names[guess]}\n{share:.0%}")
        else:
            captions.append(f"✗ {names[guess]}\nis: {names[label]}")
    return captions
