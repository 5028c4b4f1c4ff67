"""A `model.pth` in a stage's folder that isn't the stage's own: training doesn't overwrite it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import torch

from .errors import CheckpointError, DiskError
from .storage.checkpoints import is_good, load, newest_first
from .storage.files import read_sealed
from .storage.identity import weights_digest

if TYPE_CHECKING:
    from .stage import Stage


def keep_other_model(stage: Stage) -> None:
    """Rename a `model.pth` to `model-1.pth`, unless it's known to be the stage's own.

    It is if a checkpoint of the stage has its weights, or `measured.json` says that it's the model
    that was measured. Raises DiskError if it can't be renamed.
    """
    path = stage.model_path
    if not path.is_file():
        return
    digest = _digest(path)
    if digest is not None and digest in _known(stage):
        return
    number = 1
    while os.path.lexists(path.with_name(f"model-{number}.pth")):
        number += 1
    kept = path.with_name(f"model-{number}.pth")
    try:
        path.rename(kept)
    except OSError as error:
        raise DiskError(f"{path} can't be renamed ({error.strerror or error}).") from error
    print(
        f"There was a model.pth that isn't known to be of stage {stage.number}'s training. It's "
        f"kept as {kept.name}."
    )


def _digest(path: os.PathLike[str]) -> str | None:
    """The digest of the weights in a file; None if there's something else in it."""
    try:
        return weights_digest(torch.load(path, map_location="cpu", weights_only=True))
    except Exception:  # of many kinds: zip, pickle and PyTorch have their own
        return None


def _known(stage: Stage) -> set[str]:
    """The digests of weights that this stage is known to have had."""
    known = set()
    for path in newest_first(stage.folder):
        if is_good(path):
            known.add(weights_digest(load(path)["model"]))
    try:
        measured: Any = read_sealed(stage.measured_path)
    except (FileNotFoundError, CheckpointError):
        return known
    if isinstance(measured, dict):
        known.add(measured.get("model"))
    return known
