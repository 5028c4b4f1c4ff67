"""The exercise that compares two networks on the same images."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

from .verdict import Mistake, check, compare, examples

Compare: TypeAlias = Callable[[Tensor, Tensor], object]

TOLERANCE = 5e-3  # dividing by n or by n − 1 is the same for so many images


@check
def paired_difference(my_difference: Compare) -> str:
    """Check `my_difference(mine, control)`: the difference and its standard error, in points.

    mine, control: float32 (n,), 1 for each image that a network gets right, and 0 for the others.
    """
    random = examples()
    for count, ahead in ((400, 0.1), (300, -0.05), (900, 0.02)):
        difficulty = torch.rand(count, generator=random)
        mine = _right(difficulty - ahead, random)
        control = _right(difficulty, random)
        answer = my_difference(mine.clone(), control.clone())
        if isinstance(answer, tuple | list):
            answer = torch.tensor([float(number) for number in answer])
        compare(
            answer,
            _in_points(mine, control),
            _mistakes(mine, control),
            "first subtract, image by image; then the mean, and the standard deviation / √n",
            TOLERANCE,
        )
    return "Subtracted image by image: what is hard for both networks no longer counts as luck."


def _right(difficulty: Tensor, random: torch.Generator) -> Tensor:
    """Which images a network gets right: float32 (n,). Most that are hard for one are for both."""
    noise = 0.1 * torch.randn(len(difficulty), generator=random)
    return (difficulty + noise < 0.6).float()


def _in_points(mine: Tensor, control: Tensor) -> Tensor:
    """The right answer: float (2,)."""
    difference = mine - control
    error = difference.std() / len(difference) ** 0.5
    return 100 * torch.stack([difference.mean(), error])


def _mistakes(mine: Tensor, control: Tensor) -> list[Mistake]:
    """What typical mistakes would give."""
    difference, error = _in_points(mine, control)
    unpaired = 100 * ((mine.var() + control.var()) / len(mine)).sqrt()
    deviation = error * len(mine) ** 0.5
    return [
        Mistake(
            torch.stack([difference, unpaired]),
            "You treat the two as if they'd answered different images. Subtract image by image "
            "first; then take the standard deviation of the differences.",
        ),
        Mistake(
            torch.stack([difference, deviation]),
            "That's how much single images vary. A mean of n images varies less: divide by √n.",
        ),
        Mistake(
            torch.stack([difference, deviation / len(mine)]),
            "You divide by n; the standard error is the standard deviation divided by √n.",
        ),
        Mistake(
            torch.stack([difference, error]) / 100,
            "You return shares. In percentage points, both are a hundred times as large.",
        ),
        Mistake(
            torch.stack([-difference, error]),
            "The sign is wrong: it's mine minus control, so positive means that mine is better.",
        ),
        Mistake(torch.stack([error, difference]), "The difference comes first, then its error."),
    ]
