"""A run's identity: what is compared before anything is loaded, copied or overwritten."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError
from .files import read_sealed


def weights_digest(weights: dict[str, torch.Tensor]) -> str:
    """A digest of a state_dict's names, shapes and values, the same on every machine."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def read_run(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The content of `run.json` in a run's folder, or None if there is none.

    Raises CheckpointError if it's damaged, or another run's.
    """
    try:
        record = read_sealed(folder / "run.json")
    except FileNotFoundError:
        return None
    expected = json.loads(json.dumps(identity))  # tuples are lists in JSON
    advice = (
        "To keep both, use another COURSE_HOME or experiment name. To give up the old one, delete "
        "its folder."
    )
    require_same(record["identity"], expected, str(folder), advice)
    return record


def require_ours(folder: Path) -> None:
    """Raise CheckpointError if a folder has files in it that `start_over` mustn't delete."""
    visible = any(folder.glob("[!.]*"))
    is_a_run = (folder / "run.json").exists() or any(folder.glob("stage-*"))
    if visible and not is_a_run:
        advice = "Rename it, or set COURSE_HOME to another folder."
        raise CheckpointError(
            f"{folder} isn't a run's folder: it contains files, but no run.json. {advice}"
        )


def require_same(found: Any, expected: Any, where: str, advice: str) -> None:
    """Raise CheckpointError, naming all differences, if `found` in `where` isn't `expected`."""
    differences = "; ".join(differing(found, expected))
    if differences:
        raise CheckpointError(
            f"{where} belongs to another run: {differences}. Nothing was changed. {advice}"
        )


def differing(found: Any, expected: Any, name: str = "") -> Iterator[str]:
    """What differs between two records, in words: "settings lr is 0.1 there, 0.01 here"."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted({*found, *expected}):
            yield from differing(found.get(key), expected.get(key), f"{name} {key}".strip())
    elif found != expected:
        yield f"{name} is {found} there, {expected} here"
