"""A run's identity: what is compared before anything is loaded, copied or overwritten."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ..errors import CheckpointError, brief
from .files import as_read, entries, final_name, read_sealed
from .run_folder import DELETED, RECORD, RUN, is_a_run, is_ours

KEEP_BOTH = (
    "To keep both, use another COURSE_HOME or experiment name. To give up the old one, delete its "
    "folder."
)


def weights_digest(weights: dict[str, torch.Tensor]) -> str:
    """A digest of a state_dict's names, shapes and values, the same on every machine."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def read_record(folder: Path) -> dict[str, Any] | None:
    """The content of `run.json` in a folder, or None if there is none.

    Raises CheckpointError if it's damaged.
    """
    try:
        record = read_sealed(folder / RUN)
    except FileNotFoundError:
        return None
    if not _is_record(record):
        raise CheckpointError(
            f"{folder / RUN} is damaged: it isn't what this course writes. To give up what was "
            "trained there, start over: open_course(…, start_over=True)."
        )
    return record


def read_run(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """The content of `run.json` in a run's folder, or None if there is none.

    Raises CheckpointError if it's damaged, or another run's.
    """
    record = read_record(folder)
    if record is None:
        return None
    require_same(record["identity"], as_read(identity), str(folder), KEEP_BOTH)
    return record


def require_ours(folder: Path) -> None:
    """Raise CheckpointError if a folder has something in it, but isn't a run's."""
    advice = "Rename it, or set COURSE_HOME to another folder."
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} isn't a folder. {advice}")
    if is_a_run(folder):
        return
    for path in entries(folder):
        if not _is_left_over(path):
            raise CheckpointError(
                f"{folder} isn't a run's folder: it contains {brief(path.name)}, but no run.json. "
                f"{advice}"
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
            below = f"{name} {_shown(key)}".strip()
            yield from differing(found.get(key), expected.get(key), below)
    elif found != expected:
        yield f"{name} is {_shown(found)} there, {_shown(expected)} here"


def _shown(value: Any) -> str:
    """A value in a sentence: as `brief` shows it, but a text without quotes."""
    shown = brief(value)
    if isinstance(value, str):
        return shown[1:-1]
    return shown


def _is_record(content: Any) -> bool:
    """Whether something is what `claim_folder` writes to `run.json`."""
    if not isinstance(content, dict):
        return False
    for name, kind in {"identity": dict, "precision": str}.items():
        if not isinstance(content.get(name), kind):
            return False
    return True


def _is_left_over(path: Path) -> bool:
    """Whether a path in a folder is what is left where a run was deleted, or not yet begun."""
    is_temporary = final_name(path.name) != path.name
    is_record = path.name in (RECORD.name, DELETED.name)
    return is_record or (is_temporary and is_ours(Path(path.name)))
