"""`Stage`: one training of a course, with its folder, how far it has got, and its images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .settings import StageSpec
from .storage.checkpoints import newest_good, position

if TYPE_CHECKING:
    from .data.bank import Images
    from .experiment import Course


@dataclass(frozen=True)
class Stage:
    """A stage of a course: what it is, its folder, and how many epochs it takes."""

    course: Course
    spec: StageSpec
    folder: Path  # of its checkpoints, `model.pth` and `measured.json`
    epochs: int
    is_trial: bool = False  # then nothing in its folder is kept once it's finished

    @property
    def number(self) -> int:
        """The stage's number in the experiment; its random numbers depend on it."""
        return self.spec.number

    @property
    def images(self) -> Images:
        """The images that the stage trains on."""
        images = self.course.data.train
        if self.spec.batches is None:
            return images
        settings = self.course.settings
        return images.take(self.spec.batches * settings.batch_size, seed=settings.seed)

    @property
    def model_path(self) -> Path:
        """The file of the finished stage's weights, in a form that the report's code can load."""
        return self.folder / "model.pth"

    @property
    def measured_path(self) -> Path:
        """Where `record` keeps what was measured on the finished stage."""
        return self.folder / "measured.json"

    @property
    def finished(self) -> bool:
        """Whether the stage has been trained for all its epochs."""
        checkpoint = newest_good(self.folder)
        if checkpoint is None:
            return False
        epoch, images = position(checkpoint)
        return epoch >= self.epochs and images == 0

    @property
    def state(self) -> str | None:
        """How far the stage has got, in words; None if it hasn't begun."""
        checkpoint = newest_good(self.folder)
        if checkpoint is None:
            return None
        if self.finished:
            return "finished"
        epoch, images = position(checkpoint)
        return f"in epoch {epoch + 1} of {self.epochs}, after {images:,} images"

    def start_over(self) -> None:
        """Delete what this stage has saved, here and on Drive: then it trains from scratch."""
        self.course.forget(self.folder)
        print(f"Stage {self.number} starts over.")
