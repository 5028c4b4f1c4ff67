"""Before training writes a stage's `model.pth`, one that isn't the stage's own is renamed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .storage.kept_model import keep_unknown_model

if TYPE_CHECKING:
    from .stage import Stage


def keep_other_model(stage: Stage) -> None:
    """Rename a `model.pth` to `model-1.pth`, unless it's known to be the stage's own.

    Raises DiskError if it can't be renamed.
    """
    keep_unknown_model(stage.folder)
