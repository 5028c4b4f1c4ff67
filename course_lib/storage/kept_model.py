"""A `model.pth` in a stage's folder that isn't known to be the stage's own: it's kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError, DiskError
from .checkpoints import good_ones, load
from .files import read_sealed
from .identity import weights_digest
from .run_folder import MEASURED, MODEL


def keep_unknown_model(folder: Path) -> None:
    """Rename `model.pth` in a stage's folder to `model-1.pth`, unless it's the stage's own.

    Called before it would be overwritten or deleted. It's known to be the stage's if a checkpoint
    has its weights, or `measured.json` says that it's the model that was measured. Raises DiskError
    if it can't be renamed.
    """
    path = folder / MODEL
    if not path.is_file():
        return
    digest = _digest(path)
    if digest is not None and _is_known(digest, folder):
        return
    number = 1
    while os.path.lexists(path.with_name(f"model-{number}.pth")):
        number += 1
    kept = path.with_name(f"model-{number}.pth")
    try:
        path.rename(kept)
    except OSError as error:
        raise DiskError(f"{path} can't be renamed ({error.strerror or error}).") from error
    print(f"{path} isn't known to be of this stage's training. It's kept as {kept.name}.")


def _digest(path: os.PathLike[str]) -> str | None:
    """The digest of the weights in a file; None if there's something else in it."""
    try:
        return weights_digest(torch.load(path, map_location="cpu", weights_only=True))
    except Exception:  # of many kinds: zip, pickle and PyTorch have their own
        return None


def _is_known(digest: str, folder: Path) -> bool:
    """Whether the stage in a folder has had weights with this digest."""
    if digest == _measured(folder):  # first, as checkpoints are large, and may be on Drive
        return True
    for path in good_ones(folder):
        try:
            if digest == weights_digest(load(path)["model"]):
                return True
        except (CheckpointError, LookupError, AttributeError):  # whoever continues from it says so
            continue
    return False


def _measured(folder: Path) -> str | None:
    """The digest of the weights that were measured, from `measured.json`; None if it's unknown."""
    try:
        measured: Any = read_sealed(folder / MEASURED)
    except (FileNotFoundError, CheckpointError):
        return None
    return measured.get("model") if isinstance(measured, dict) else None
