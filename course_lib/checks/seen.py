"""What happened to a picture, as its colours tell, and what random pictures have in common.

The exercise's random numbers are unknown, so `augmentation` looks at many pictures of one image
whose colours say where each pixel comes from: red grows from left to right, green from top to
bottom. Blue is 1 everywhere, so that the corners which a rotation leaves empty stand out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision import transforms
from torchvision.transforms import v2

SIZE = 64  # of a picture
CHANCE = 1e-9  # that `differs` or `is_not_half` refuses a right answer


class Seen(NamedTuple):
    """What happened to each picture, as its colours show; tensors of one number per picture."""

    width: Tensor  # of the crop, as a share of the image's
    height: Tensor
    across: Tensor  # where the crop lies, from 0 at the left to 1 at the right
    down: Tensor
    flipped_across: Tensor  # bool
    flipped_down: Tensor
    angle: Tensor  # in degrees, from -90 to 90
    whole: Tensor  # bool, whether its middle shows the image and nothing else
    skew: Tensor  # |cos| of the angle between the crop's sides; 0 for a rectangle


def gradients(size: tuple[int, int]) -> Image.Image:
    """An image of this width and height: red from left to right, green down, blue 255."""
    width, height = size
    pixels = np.full((height, width, 3), 255.0)
    pixels[:, :, 0] = (np.arange(width) + 0.5) * 255 / width
    pixels[:, :, 1] = ((np.arange(height) + 0.5) * 255 / height)[:, None]
    return Image.fromarray(pixels.round().astype(np.uint8))


def look(pictures: Tensor) -> Seen:
    """Find out what happened to each picture.

    Red and green say where a pixel comes from, so how fast they grow, to the right and down the
    picture, is the linear map from the picture to the image. The two rows of this matrix are as
    long as the crop is wide and high, and their directions are those of the rotation.
    """
    # A square in the middle that no rotation reaches, (B, 2, 44, 44), as shares of width and height
    places = pictures[:, :2, 10:-10, 10:-10] / 2 + 0.5
    maps = SIZE * torch.stack(torch.gradient(places, dim=(3, 2)), dim=2).mean((3, 4))  # (B, 2, 2)
    sides = maps.norm(dim=2)  # (B, 2)
    directions = maps / sides[:, :, None].clamp(min=1e-6)  # (B, 2, 2)
    # Turned by less than 90°, what pointed right or down still does, unless it was flipped.
    flipped = directions.diagonal(dim1=1, dim2=2) < 0  # (B, 2)
    right = torch.where(flipped[:, :1], -directions[:, 0], directions[:, 0])  # (B, 2)
    corners = (places.mean((2, 3)) - sides / 2) / (1 - sides).clamp(min=1e-6)
    blue = pictures[:, 2, 10:-10, 10:-10]
    return Seen(
        width=sides[:, 0],
        height=sides[:, 1],
        across=corners[:, 0],
        down=corners[:, 1],
        flipped_across=flipped[:, 0],
        flipped_down=flipped[:, 1],
        angle=torch.atan2(right[:, 1], right[:, 0]).rad2deg(),
        whole=blue.amin((1, 2)) > 0.9,
        skew=(directions[:, 0] * directions[:, 1]).sum(1).abs(),
    )


@contextmanager
def recorded_degrees() -> Iterator[list[float]]:
    """Record the limits, in degrees, of every RandomRotation that's used meanwhile.

    Pictures can't show them: with both flips, a rotation by up to 180° has the same results as one
    by up to 90°, since turning a picture by 180° is flipping it in both directions.
    """
    found: list[float] = []

    def record(module: nn.Module, inputs: object) -> None:
        if isinstance(module, transforms.RandomRotation | v2.RandomRotation):
            found.extend(module.degrees)

    handle = nn.modules.module.register_module_forward_pre_hook(record)
    try:
        yield found
    finally:
        handle.remove()


# --- Random quantities


def share(chosen: Tensor) -> float:
    """The share of True, in [0, 1]."""
    return chosen.double().mean().item()


def margin(count: int) -> float:
    """How far shares of `count` random pictures may be from the true ones.

    They're further off with a probability of less than 2·exp(-2·count·margin²) = CHANCE: Hoeffding
    for one share, Dvoretzky, Kiefer and Wolfowitz for a whole distribution.
    """
    return math.sqrt(math.log(2 / CHANCE) / (2 * max(count, 1)))


def is_not_half(found: float, count: int) -> bool:
    """The share of `count` pictures is too far from one half to be chance."""
    return abs(found - 0.5) > margin(count)


def differs(sample: Tensor, expected: Tensor) -> bool:
    """A sample's distribution is too far from the expected one to be chance.

    Kolmogorov and Smirnov: of how many values are below x, for the x with the largest difference.
    """
    values = sample.sort().values.double()
    expected = expected.sort().values.double()
    true_share = torch.searchsorted(expected, values) / len(expected)
    after = torch.arange(1, len(values) + 1) / max(len(values), 1)
    before = after - 1 / max(len(values), 1)
    farthest = torch.cat([after - true_share, true_share - before, torch.zeros(1)]).max()
    return farthest.item() > margin(len(values))
