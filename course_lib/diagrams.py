"""Diagrams of the network: of one block, and of the whole model, with the shapes that they make."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from .pictures import BLUE, ORANGE, WIDTH, Picture, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import FancyBboxPatch

    from .model import MyModel, res_block

Shape = tuple[int, ...]  # of one image on its way: (channels, H, W), or (features,)

BOX: dict[str, Any] = {
    "boxstyle": "round,pad=0.5",
    "facecolor": "white",
    "edgecolor": BLUE,
    "linewidth": 2,
}
SHORTCUT_BOX: dict[str, Any] = BOX | {"edgecolor": ORANGE}
CENTRE: dict[str, Any] = {"ha": "center", "va": "center"}
EMPTY: dict[str, Any] = {"xticks": [], "yticks": [], "frame_on": False}
ARROW: dict[str, Any] = {"arrowstyle": "->", "linewidth": 2}
LINE: dict[str, Any] = {
    "color": "black",
    "linestyle": "-",
    "marker": "",
    "linewidth": 2,
    "zorder": 0,
}

LAYER_NAMES = {"Conv2d": "conv", "BatchNorm2d": "batch norm"}


ROW = 1  # the height of a block's boxes in its diagram


class Step(NamedTuple):
    """A step of a block: a box in the diagram, and what leaves it."""

    x: float  # where the box's centre is
    words: str
    result: str = ""  # written above the arrow to the next box


@styled
def draw_block(block: res_block, shape: Shape) -> Picture:
    """Draw a `res_block` as a diagram, with the shapes of what flows through it.

    shape: of its input, (channels, H, W). The block stays as it is.
    """
    first, second, third = _shapes([block.conv1, block.conv2, block.conv3], shape)
    addition = Step(11.1, "+", "F(x) + S(x)")
    steps = [
        Step(0.4, "x", str(tuple(shape))),
        Step(2.9, _in_words(block.conv1), str(first)),
        Step(6, _in_words(block.conv2), str(second)),
        Step(9.1, _in_words(block.conv3), "F(x)"),
        addition,
        Step(13, "ReLU", str(third)),
        Step(14.7, "y"),
    ]
    figure = Picture((WIDTH, 3.4))
    axis = figure.add_subplot(xlim=(0, 15), ylim=(-0.7, 1.7), **EMPTY)
    boxes = [_draw_box(axis, step) for step in steps]
    for i in range(len(steps) - 1):
        start = steps[i].x
        end = steps[i + 1].x
        between = ARROW | {"patchA": boxes[i], "patchB": boxes[i + 1]}
        axis.annotate("", (end, ROW), (start, ROW), arrowprops=between)
        axis.text((start + end) / 2, ROW + 0.6, steps[i].result, **CENTRE)
    end_box = boxes[steps.index(addition)]
    _draw_shortcut(axis, block.shortway, steps[0].x, addition.x, end_box)
    figure.alt = (
        "A residual block: three convolutions F(x), "
        "and a short-cut S(x) that is added to F(x) before a ReLU."
    )
    return figure


def _draw_box(axis: Axes, step: Step) -> FancyBboxPatch | None:
    text = axis.text(step.x, ROW, step.words, bbox=BOX, **CENTRE)
    return text.get_bbox_patch()


def _draw_shortcut(
    axis: Axes, shortway: nn.Sequential, start: float, end: float, end_box: FancyBboxPatch | None
) -> None:
    """Draw the short-cut: from the row at `start` down, to the right, and up to `end_box`."""
    below = -0.4
    axis.plot([start, start, end], [ROW, below, below], **LINE)
    up = ARROW | {"patchB": end_box}
    axis.annotate("", (end, ROW), (end, below - 0.03), arrowprops=up)
    words = _in_words(shortway, between=", ") or "identity"
    axis.text(6.2, below, f"S(x), the short-cut: {words}", bbox=SHORTCUT_BOX, **CENTRE)


class Column(NamedTuple):
    """A group of layers: a column in the diagram of the model, with the shape that it makes."""

    name: str
    shape: Shape
    blocks: int = 0  # how many `res_block`s are in it


@styled
def draw_model(model: MyModel, size: int) -> Picture:
    """Draw a `MyModel` as a diagram: its groups of layers, and the shapes between them.

    size: of the images, in pixels. The model stays as it is.
    """
    image = (3, size, size)
    groups = dict(model.named_children())
    columns = [Column("image", image)]
    for name, shape in zip(groups, _shapes(groups.values(), image)):
        columns.append(Column(name, shape, _count_blocks(groups[name])))
    figure = Picture((WIDTH, 3.6))
    axis = figure.add_subplot(xlim=(-0.5, len(columns) - 0.5), ylim=(-1.05, 0.95), **EMPTY)
    for x, column in enumerate(columns):
        _draw_column(axis, x, column, size)
        if x > 0:
            axis.annotate("", (x - 0.34, 0), (x - 0.66, 0), arrowprops=ARROW)
    shapes = ", ".join(str(column.shape) for column in columns)
    figure.alt = f"The model's groups of layers; shapes: {shapes}."
    return figure


def _draw_column(axis: Axes, x: int, column: Column, size: int) -> None:
    """Draw a bar, as wide as there are channels and as high as the image, between two texts."""
    channels, *sides = column.shape
    height = 0.03
    if sides:
        height += sides[0] / size
    width = 0.1 + 0.5 * channels / 1024
    axis.bar(x, height, width, bottom=-height / 2, facecolor="#c9daf8", edgecolor=BLUE, linewidth=2)
    name = column.name
    if column.blocks:
        name += f"\n{column.blocks} blocks"
    axis.text(x, 0.75, name, **CENTRE)
    axis.text(x, -0.8, f"{channels}\n{' × '.join(str(side) for side in sides)}", **CENTRE)


def _count_blocks(group: nn.Module) -> int:
    """How many of a group's parts have a short-cut."""
    return sum(hasattr(part, "shortway") for part in group.children())


def _shapes(modules: Iterable[nn.Module], shape: Shape) -> list[Shape]:
    """The shape that each module makes of the one before it; the modules stay as they are."""
    x = torch.zeros(1, *shape)
    shapes = []
    with torch.inference_mode():
        for module in modules:
            # A copy, so that neither the mode nor BatchNorm's statistics change.
            module = copy.deepcopy(module).cpu().eval()
            if isinstance(module, nn.Linear):
                x = x.flatten(1)
            x = module(x)
            shapes.append(tuple(x.shape[1:]))
    return shapes


def _in_words(layers: Iterable[nn.Module], between: str = "\n") -> str:
    """The layers of a Sequential in words, such as "3×3 conv, stride 2"."""
    return between.join(_layer_in_words(layer) for layer in layers)


def _layer_in_words(layer: Any) -> str:
    kind = type(layer).__name__
    words = LAYER_NAMES.get(kind, kind)
    if hasattr(layer, "kernel_size"):
        height, width = layer.kernel_size
        words = f"{height}×{width} {words}"
    if getattr(layer, "stride", (1, 1)) != (1, 1):
        words = f"{words}, stride {layer.stride[0]}"
    return words
