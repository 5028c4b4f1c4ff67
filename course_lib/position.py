"""`Position`: how far a stage has got, and the entries of its history."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from .loops import Measured


@dataclass
class Position:
    """How far a stage has got: what a checkpoint keeps besides weights and momentum."""

    epoch: int = 0  # whole epochs trained
    seen: int = 0  # images trained in the epoch in progress
    skipped: int = 0  # steps skipped in it, because fp16 overflowed
    not_counted: int = 0  # images of these steps: their losses aren't known
    seconds: float = 0.0  # spent on it
    threads: int = 0  # CPU threads that compute it
    history: list[dict[str, Any]] = field(default_factory=list)  # one dict per finished epoch
    origin: str | None = None  # the file, if the model was trained elsewhere

    @property
    def counted(self) -> int:
        """Images of the epoch in progress whose losses are known."""
        return self.seen - self.not_counted

    def entry(
        self, images_per_epoch: int, sums: torch.Tensor, heldout: Measured | None = None
    ) -> dict[str, Any]:
        """An entry of the history for the epoch in progress. Its number is a fraction at first.

        sums: of the counted images' losses, and of the right answers, (2,). heldout: what was
        measured on held-out images, if anything was.
        """
        losses, right = sums.tolist()
        loss = math.nan  # if each step of a short epoch was skipped
        accuracy = math.nan
        if self.counted > 0:
            loss = losses / self.counted
            accuracy = right / self.counted
        done = self.seen / images_per_epoch if self.seen < images_per_epoch else 1
        return {
            "epoch": self.epoch + done,
            "loss": loss,
            "train_accuracy": accuracy,
            "heldout_loss": heldout.loss if heldout else None,
            "heldout_accuracy": heldout.accuracy if heldout else None,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.seen / self.seconds, 1),
            "threads": self.threads,
        }

    def begin_next_epoch(self) -> None:
        """Count another whole epoch, and nothing yet of the one after it."""
        self.epoch += 1
        self.seen = 0
        self.skipped = 0
        self.not_counted = 0
        self.seconds = 0.0
