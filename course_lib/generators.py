"""PyTorch's own random generators while a stage is trained: layers such as dropout use them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import torch

from .data import draws
from .distributed import rank
from .position import Position

if TYPE_CHECKING:
    from .experiment import Course


def restoring_generators(device: torch.device) -> AbstractContextManager[None]:
    """A context that leaves the generators as they were: what you draw doesn't depend on it."""
    gpus = [torch.cuda.current_device()] if device.type == "cuda" else []
    return torch.random.fork_rng(gpus)


def seed_step(course: Course, stage: int, position: Position) -> None:
    """Seed the generators for the next step: after a resume, it then draws the same.

    stage: its number. Each of several processes draws something else.
    """
    seed = draws.seed_of_step(
        course.settings.seed, stage, position.epoch, position.seen, process=rank()
    )
    # `torch.manual_seed` would seed all devices, which takes a millisecond.
    torch.default_generator.manual_seed(seed)
    if course.device.type == "cuda":
        torch.cuda.manual_seed(seed)
