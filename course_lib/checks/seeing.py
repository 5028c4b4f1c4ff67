"""Two exercises about what a network sees: the receptive field, and the temperature."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import insight
from ..insight import Window, best_temperature
from .verdict import Mistake, check, compare, examples

CLOSE = 0.05  # how far a temperature may be off, absolute and relative: a coarse grid is enough
SURPRISES = 0.08  # of the examples' labels are any class at all
KERNELS = (1, 3, 5, 7)
STRIDES = (1, 2, 4)


@check
def receptive_field(my_field: Callable[[list[Window]], object]) -> str:
    """Check `my_field(windows)`: the side in pixels; windows: (kernel, stride) of each layer."""
    random = examples()
    for count in (6, 1, 3, 4, 2):
        layers = random_windows(count, random)
        compare(
            my_field(list(layers)),
            float(insight.receptive_field(layers)),
            field_mistakes(layers),
            f"for (kernel, stride) {[tuple(layer) for layer in layers]}, add (kernel − 1) · step "
            "for each layer, where step is the product of the strides before it",
        )
    return "Each layer adds kernel − 1 positions, as far apart as the strides before it say."


def random_windows(count: int, random: torch.Generator) -> list[Window]:
    """The windows of `count` layers; the last one's are above 1."""
    layers = []
    for _ in range(count - 1):
        kernel = int(torch.randint(len(KERNELS), (), generator=random))
        stride = int(torch.randint(len(STRIDES), (), generator=random))
        layers.append(Window(KERNELS[kernel], STRIDES[stride]))
    return [*layers, Window(3, 2)]


def field_mistakes(layers: list[Window]) -> Iterator[Mistake]:
    """What typical mistakes in the receptive field lead to."""
    yield Mistake(
        _own_stride_first(layers),
        "You multiply by a layer's own stride too early: it moves the layer's *outputs* apart, so "
        "it counts only for the layers after it.",
    )
    yield Mistake(
        insight.receptive_field(Window(layer.kernel, 1) for layer in layers),
        "You leave the strides out: after a stride of 2, neighbouring positions are twice as far "
        "apart.",
    )
    yield Mistake(
        insight.receptive_field(layers) - 1.0,
        "You're one short: without any layer, a position sees one pixel.",
    )
    yield Mistake(
        _sum_of_kernels(layers),
        "A kernel of side k adds k − 1, not k: one of its positions was there before.",
    )
    yield Mistake(
        insight.receptive_field(reversed(layers)),
        "You begin at the wrong end: the strides that count are those between the image and the "
        "layer.",
    )
    step = 1
    for layer in layers:
        step *= layer.stride
    yield Mistake(
        float(step),
        "That's the product of the strides: how far apart neighbouring positions are at the end.",
    )
    yield Mistake(
        float(insight.receptive_field(layers) ** 2),
        "That's how many pixels the square has: return its side.",
    )


def _own_stride_first(layers: list[Window]) -> float:
    field = 1
    step = 1
    for layer in layers:
        step *= layer.stride
        field += (layer.kernel - 1) * step
    return float(field)


def _sum_of_kernels(layers: list[Window]) -> float:
    field = 1
    step = 1
    for layer in layers:
        field += layer.kernel * step
        step *= layer.stride
    return float(field)


@check
def temperature(my_temperature: Callable[[Tensor, Tensor], object]) -> str:
    """Check `my_temperature(logits, labels)`: float (n, K), int64 (n,) → the best temperature."""
    random = examples()
    for true, images, classes in ((0.42, 600, 2), (1.6, 500, 10), (1.13, 800, 80)):
        logits, labels = surprising(images, classes, random)
        logits = true * logits
        best = best_temperature(logits, labels)
        compare(
            my_temperature(logits.clone(), labels.clone()),
            best,
            temperature_mistakes(logits, labels, best),
            "try many temperatures, and return the one with the smallest loss of logits / T",
            CLOSE,
        )
    return "You find the temperature of overconfident and of underconfident predictions."


def surprising(images: int, classes: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Random logits (n, K), and labels (n,) that are drawn with the logits' own probabilities.

    Some labels are any class, also one that's very unlikely. Such surprises cost the loss more than
    other measures of how far probabilities are off, so only the loss leads to the right answer.
    """
    logits = 4 * torch.randn(images, classes, generator=random)
    labels = torch.multinomial(logits.softmax(1), 1, generator=random)[:, 0]
    surprises = torch.rand(images, generator=random) < SURPRISES
    any_class = torch.randint(classes, (images,), generator=random)
    return logits, torch.where(surprises, any_class, labels)


def temperature_mistakes(logits: Tensor, labels: Tensor, best: float) -> Iterator[Mistake]:
    """What typical mistakes in the temperature lead to."""
    yield Mistake(
        best_temperature(logits.softmax(1), labels),
        "You divide probabilities by the temperature: divide the logits, before the softmax.",
    )
    yield Mistake(
        1 / best,
        "That's 1 / T: logits are *divided* by the temperature.",
    )
    yield Mistake(
        1.0,
        "A temperature of 1 changes nothing: try larger ones, and smaller ones, too, for a network "
        "that isn't sure enough.",
    )
    yield Mistake(
        F.cross_entropy(logits / best, labels),
        "That's the smallest loss: return the temperature that it belongs to.",
    )
