"""How a stage's progress is shown: the bar, and a line of text per epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

if TYPE_CHECKING:
    from .stage import Stage


class ProgressBar:
    """A bar that counts a stage's images, with the epoch beside it."""

    def __init__(self, stage_number: int, epochs: int, images: int, done: int):
        """images: per epoch. done: how many images of all epochs have been trained before."""
        self.stage_number = stage_number
        self.epochs = epochs
        self._bar = tqdm(initial=done, total=epochs * images, unit=" images", leave=False)

    def begin_epoch(self, number: int) -> None:
        """Show that an epoch (from 1) begins."""
        self._bar.set_description(f"stage {self.stage_number}, epoch {number} of {self.epochs}")

    def update(self, images: int) -> None:
        """Count images."""
        self._bar.update(images)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.total = self._bar.n  # a notebook's bar turns red if it closes early
        self._bar.close()


class EpochLines:
    """Shows a stage's progress in text, a line per epoch; `explore.LiveCurve` draws it instead."""

    def __init__(self, stage: Stage):
        self.stage = stage
        self.printed = 0  # epochs

    def show(
        self,
        history: list[dict[str, Any]],
        running: Callable[[], dict[str, Any]] | None = None,
        finished: bool = False,
    ) -> None:
        """Print the epochs of `history` that are new, unless the stage is `finished`.

        running: returns the epoch in progress; not used here.
        """
        if not finished:
            for entry in history[self.printed :]:
                self._print(entry)
        self.printed = len(history)

    def _print(self, entry: dict[str, Any]) -> None:
        epochs = max(self.stage.epochs, entry["epoch"])  # it may have been trained for more
        parts = [
            f"stage {self.stage.number}, epoch {entry['epoch']:2}/{epochs}: "
            f"loss {entry['loss']:.3f}",
            f"accuracy {entry['train_accuracy']:.1%} (training, running)",
        ]
        if entry["heldout_accuracy"] is not None:
            parts.append(f"{entry['heldout_accuracy']:.1%} (held-out)")
        parts.append(f"{entry['images_per_second']:.0f} images/s")
        tqdm.write(", ".join(parts))


class NoDisplay:
    """Shows nothing: for trials, of which there may be many."""

    def show(self, history: Any, running: Any = None, finished: bool = False) -> None:
        """Do nothing."""
