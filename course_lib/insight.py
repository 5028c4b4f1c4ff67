"""Looking into a network: the windows of its layers, what one position depends on, temperatures.

The figures are in `insight_plots.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .augment import plain_batch
from .data.bank import Images

CANVAS = 384  # pixels: more than any position of MyModel can see, and a multiple of 32
NARROWING = 40  # steps of `best_temperature`, each of which leaves two thirds


class Window(NamedTuple):
    """The square of positions that a layer computes one position from, and how far it moves."""

    kernel: int  # the square's side
    stride: int


def windows(model: nn.Module, last: str) -> list[Window]:
    """The windows on the main path from the image to the end of a group such as "conv4".

    Short-cuts are left out: their windows are no larger.
    """
    found = []
    for name, group in model.named_children():
        for path, layer in group.named_modules():
            if isinstance(layer, nn.Conv2d | nn.MaxPool2d) and "shortway" not in path:
                found.append(Window(_one_side(layer.kernel_size), _one_side(layer.stride)))
        if name == last:
            return found
    raise ValueError(f"The model has no group {last!r}.")


def _one_side(size: int | tuple[int, ...]) -> int:
    return size if isinstance(size, int) else size[0]


def receptive_field(layers: Iterable[tuple[int, int]]) -> int:
    """The side, in pixels, of what one position can depend on after these layers.

    layers: (kernel, stride) of each, from the image on.
    """
    field = 1
    step = 1  # how many pixels apart neighbouring positions are
    for kernel, stride in layers:
        field += (kernel - 1) * step
        step *= stride
    return field


def mosaic(images: Images) -> Tensor:
    """Images side by side, again and again: float32 (1, 3, CANVAS, CANVAS) in [-1, 1], on the CPU.

    Pictures larger than that are cut off.
    """
    side = images.pixels.shape[1]
    across = math.ceil(CANVAS / side)
    positions = torch.arange(across**2) % len(images)
    pictures = plain_batch(images.batch(positions).cpu(), side)  # (across², 3, side, side)
    rows = []
    for row in pictures.split(across):
        rows.append(torch.cat(list(row), dim=2))
    return torch.cat(rows, dim=1)[None, :, :CANVAS, :CANVAS].contiguous()


def reach(gradient: Tensor) -> int:
    """The side of the smallest square around the middle that holds all that isn't 0.

    gradient: float (H, W), 0 or more; the middle is at (H // 2, W // 2).
    """
    found = gradient.nonzero()
    if len(found) == 0:
        return 0
    middle = torch.tensor(gradient.shape, device=found.device) // 2
    return 2 * int((found - middle).abs().max()) + 1


def central_side(gradient: Tensor, share: float) -> int:
    """The side of the smallest square around the middle that holds this share of the sum.

    gradient: as in `reach`. share: in [0, 1].
    """
    height, width = gradient.shape
    rows = (torch.arange(height) - height // 2).abs()
    columns = (torch.arange(width) - width // 2).abs()
    ring = torch.maximum(rows[:, None], columns[None, :])  # (H, W), how far from the middle
    sums = torch.bincount(ring.flatten(), weights=gradient.detach().double().cpu().flatten())
    inside = sums.cumsum(0)
    radius = int((inside < share * inside[-1]).sum())
    return 2 * radius + 1


def correlation(first: Tensor, second: Tensor) -> Tensor:
    """The correlation of each image's two maps: float32 (B,), in [-1, 1].

    It's 0 if one of them is the same all over: that agrees with nothing. first, second: float
    (B, …), equally many numbers per image.
    """
    mine = first.flatten(1).double()
    other = second.flatten(1).double()
    mine = mine - mine.mean(1, keepdim=True)
    other = other - other.mean(1, keepdim=True)
    return F.cosine_similarity(mine, other).float()


def best_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature in [0.05, 20] that makes the mean loss of `logits / temperature` smallest.

    logits: float (n, K). labels: int64 (n,). There's one valley only, so a third of what is left
    can be ruled out again and again.
    """
    logits = logits.double()  # in float32, the loss of a very sure answer is exactly 0
    low = math.log(0.05)
    high = math.log(20)
    for _ in range(NARROWING):
        third = (high - low) / 3
        left = F.cross_entropy(logits / math.exp(low + third), labels)
        right = F.cross_entropy(logits / math.exp(high - third), labels)
        if left <= right:  # both are 0 if all answers are right and very sure
            high -= third
        else:
            low += third
    return math.exp((low + high) / 2)
