"""What every layout becomes: rows of images, and the classes that they belong to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from .answers import Row

REPORT_LAYOUT = "the report's layout"


class Source(NamedTuple):
    """A data set whose rows and files fit together."""

    train: list[Row]
    test: list[Row]
    classes: list[str]  # their names
    read: Callable[[str], bytes]  # the bytes of a row's file; in any thread
    layout: str  # in words: "the report's layout"
    validation: Sequence[Row] = ()
    skipped: Sequence[str] = ()  # files beside the images that aren't images
    notes: Sequence[str] = ()  # sentences about what else isn't used, such as empty folders
    # Whether each path begins with its part's folder, such as `train_data`, which names leave out.
    has_part_folders: bool = True

    @property
    def parts(self) -> dict[str, Sequence[Row]]:
        """The rows of each part, in the order in which they are decoded."""
        return {"training": self.train, "validation": self.validation, "test": self.test}
