"""What the parts of `gpu.py` share: how much is measured, on which images; a row of its table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import report_recipe
import torch
from places import Place, Plan, Size
from torch import nn

from course_lib import MyModel
from course_lib.device import PRECISIONS, computes_in


class Small(nn.Sequential):
    """A network that's as quick as possible, instead of MyModel."""

    def __init__(self, res_block: type[nn.Module], classes: int):
        super().__init__(
            nn.Conv2d(3, 16, 8, stride=8, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Linear(64, classes),
        )


NETWORKS = {"MyModel": MyModel, "Small": Small}


@dataclass(frozen=True)
class Effort:
    """How much is measured."""

    sizes: tuple[int, ...] = (64, 224)  # sides of the images, in pixels
    batch: int = 32
    per_class: int = 4  # images that are generated
    seconds: float = 2  # that are timed per contestant, size and round; rounds differ in speed
    rounds: int = 2
    network: str = "MyModel"  # one of NETWORKS, but for what is timed: that is MyModel
    steps: int = 30  # of trainings that are to be right
    scale: float = 2.0**24  # of the loss, for an overflow in fp16
    batches: int = 3  # that are timed at first, until it's known how long they take
    report_batches: int = 8  # that the report's recipe is timed with
    most_seconds: float = 330  # after which no further part is begun


QUICK = Effort(
    sizes=(32,),
    batch=4,
    per_class=1,
    seconds=0,
    rounds=1,
    network="Small",
    steps=12,
    scale=2.0**22,
    batches=1,
    report_batches=1,
    most_seconds=math.inf,
)


class Row(NamedTuple):
    """A row of the table."""

    what: str
    found: str  # with its unit
    bar: str = ""  # what it's compared with
    right: bool | None = None  # None: there's nothing that it must be


Part = Callable[[Place, Effort], Iterator[Row]]


def at_most(what: str, found: float, bar: float) -> Row:
    """The row of a figure that must not be larger than its bar. (One that's not a number is.)"""
    return Row(what, f"{found:.2g}", f"≤ {bar:.2g}", found <= bar)


def open_place(home: Path, size: int, effort: Effort) -> Place:
    """Generated images of a size, as JPEG files, and a course that trains on them."""
    plan = Plan(batch=effort.batch, per_class=effort.per_class, rounds=effort.rounds)
    folder = report_recipe.files(home / f"{size}px", size, effort.per_class)
    return Place(plan, Size(size, effort.batches, effort.report_batches), folder)


def repeat_images(place: Place, batches: int) -> None:
    """Let epochs of `place` have at least this many batches: images occur several times."""
    count = max(batches * place.plan.batch, len(place.images))
    place.images = place.images.subset(np.arange(count) % len(place.images))


def precisions(device: torch.device) -> list[str]:
    """Those that a GPU computes in. A CPU tries all of them, to test the benchmark itself."""
    if device.type == "cpu":
        return list(PRECISIONS)
    return [name for name in PRECISIONS if computes_in(device, name)]
