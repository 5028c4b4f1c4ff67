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
    if digest is not None and digest in _known(folder):
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


def _known(folder: Path) -> set[str]:
    """The digests of weights that the stage in a folder is known to have had."""
    known = set()
    for path in good_ones(folder):
        try:
            known.add(weights_digest(load(path)["model"]))
        except (CheckpointError, LookupError, AttributeError):  # whoever continues from it says so
            continue
    try:
        measured: Any = read_sealed(folder / MEASURED)
    except (FileNotFoundError, CheckpointError):
        return known
    if isinstance(measured, dict):
        known.add(measured.get("model"))
    return known
