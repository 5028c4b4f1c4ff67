"""Checkpoints: written completely, verified by the digest in their names; the last two are kept.

`checkpoint-00012-0013792-<training>-<digest>.pt` is the state after 12 whole epochs and 13,792
images of the next. The training is an id, drawn when a stage begins from scratch: only checkpoints
of the same training can be further than one another. Earlier versions of the course drew none. The
digest is that of the file's bytes, so a damaged file gives itself away, here and on Google Drive. A
file with any other name, a copy for instance, isn't a checkpoint.
"""

from __future__ import annotations

import hashlib
import io
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ..errors import CheckpointError, DiskError
from .files import entries, remove, sweep_leftovers, write_bytes

NAME = re.compile(r"checkpoint-([0-9]{5,})-([0-9]{7,})-(?:([0-9a-f]{8})-)?([0-9a-f]{16})\.pt")
KEPT = 2  # how many are kept: if the newest one is damaged, there's the one before
EVERY_SECONDS = 120  # how often a checkpoint is saved: what a disconnect costs at most
MOST_VALUES = 1_000_000  # in a checkpoint; a large model's has some thousand

_reported: set[tuple[Path, str]] = set()  # damaged files: path, digest of what's in them


class Name(NamedTuple):
    """What a checkpoint's name says."""

    epoch: int  # whole epochs trained
    images: int  # trained in the next one
    training: str  # its id; "" if an earlier version of the course began it
    digest: str  # of the file's bytes


def new_training() -> str:
    """An id for a training that begins. It only tells trainings apart: nothing depends on it."""
    return secrets.token_hex(4)


def save(
    folder: str | Path, state: dict[str, Any], epoch: int, images: int, training: str = ""
) -> Path:
    """Write `state` (tensors, plain Python) as the checkpoint at this position; delete older ones.

    epoch: whole epochs trained. images: images trained in the next one. training: its id; "" if it
    was begun by an earlier version. Returns the path. Raises DiskError.
    """
    data = _serialized(state)
    parts = [f"checkpoint-{epoch:05d}-{images:07d}", training, digest_of(data)]
    path = Path(folder) / ("-".join(part for part in parts if part) + ".pt")
    write_bytes(path, data)
    delete_older(path)
    return path


def delete_older(newest: Path) -> None:
    """Delete what a checkpoint makes superfluous: damaged ones, and older ones of its training.

    The furthest good ones of its training stay, KEPT of them, and `newest` in any case.
    """
    kept = 0
    for path in newest_first(newest.parent):
        if not is_good(path):
            remove(path)
        elif training_of(path) == training_of(newest):
            kept += 1
            if kept > KEPT and path != newest:
                remove(path)
    sweep_leftovers(newest.parent, NAME)  # each checkpoint has another name: nothing else would


def require_only(training: str, folder: str | Path) -> None:
    """Raise CheckpointError if there's a good checkpoint of another training in `folder`."""
    for path in newest_first(folder):
        if training_of(path) != training and is_good(path):
            raise CheckpointError(
                f"{path} belongs to another training of this stage, perhaps in another notebook. "
                "Nothing was overwritten. To keep this one, move that file, and all whose names "
                "have the same id, to another folder."
            )


def newest_good(folder: str | Path) -> Path | None:
    """The path of the furthest undamaged checkpoint in `folder`, or None."""
    return next(good_ones(folder), None)


def good_ones(folder: str | Path) -> Iterator[Path]:
    """The paths of the undamaged checkpoints in `folder`, the furthest first."""
    for path in newest_first(folder):
        if is_good(path):
            yield path


def load(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint onto the CPU: the dict that `save` was given. Nothing in it is executed.

    Raises CheckpointError if it's something else, and DiskError if it can't be read.
    """
    what_to_do = "Delete or rename it, and the checkpoint before it is used."
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DiskError(f"{path} can't be read ({error.strerror or error}).") from error
    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds: zip, pickle and PyTorch have their own
        raise CheckpointError(f"{path} isn't a checkpoint of this course. {what_to_do}") from error
    if not isinstance(state, dict):
        kind = type(state).__name__
        raise CheckpointError(f"{path} holds a {kind} instead of a stage's state. {what_to_do}")
    _require_tree(state, path)
    return state


def newest_first(folder: str | Path) -> list[Path]:
    """The paths of all checkpoints in `folder`, the furthest first. Raises DiskError."""
    found = [path for path in entries(Path(folder)) if is_checkpoint(path)]
    return sorted(found, key=order, reverse=True)


def is_checkpoint(path: Path) -> bool:
    """Whether a path is a file that's named like a checkpoint; it may be damaged."""
    return has_checkpoint_name(path) and path.is_file()


def has_checkpoint_name(path: Path) -> bool:
    """Whether a path has exactly the kind of name that `save` gives."""
    return NAME.fullmatch(path.name) is not None


def position(path: Path) -> tuple[int, int]:
    """(whole epochs, images of the next one) of a checkpoint, from its name."""
    name = _parts(path)
    return name.epoch, name.images


def training_of(path: Path) -> str:
    """The id of a checkpoint's training, from its name; "" if an earlier version began it."""
    return _parts(path).training


def order(path: Path) -> tuple[tuple[int, int], str]:
    """What checkpoints are sorted by: the position, or the name if that's the same."""
    return position(path), path.name


def is_good(path: Path) -> bool:
    """Whether a checkpoint's bytes match the digest in its name. Reports a damaged one, once.

    Raises DiskError if it can't be read.
    """
    try:
        found = digest_of(path.read_bytes())
    except FileNotFoundError:  # another notebook has just deleted it
        return False
    except OSError as error:
        raise DiskError(f"{path} can't be read ({error.strerror or error}).") from error
    if found == _parts(path).digest:
        return True
    if (path, found) not in _reported:
        _reported.add((path, found))
        print(f"{path.name} is damaged and won't be used.")
    return False


def digest_of(data: bytes) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()[:16]


def write_model(path: str | Path, model: nn.Module) -> None:
    """Write `model.pth`: the bare state_dict in float32 on the CPU, for the report's code (1.E)."""
    weights = {}
    for name, value in model.state_dict().items():
        weights[name] = value.detach().cpu().contiguous()
    write_bytes(Path(path), _serialized(weights))


def _parts(path: Path) -> Name:
    """What a checkpoint's name says."""
    matched = NAME.fullmatch(path.name)
    if matched is None:
        raise ValueError(f"{path.name} isn't the name of a checkpoint")
    epoch, images, training, digest = matched.groups(default="")
    return Name(int(epoch), int(images), training, digest)


def _serialized(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def _require_tree(state: dict[str, Any], path: str | Path) -> None:
    """Raise CheckpointError if there's no end to what's in a checkpoint.

    A few lists that hold each other, or the next one twice, look like millions of values to
    whoever goes through them.
    """
    waiting: list[Any] = [state]
    seen = 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if seen + len(waiting) > MOST_VALUES:
            raise CheckpointError(f"{path} isn't a checkpoint of this course: it never ends.")
        waiting.extend(_values_in(value))


def _values_in(value: Any) -> Iterator[Any]:
    """What a dict, list, tuple or set holds; nothing for any other value."""
    if isinstance(value, dict):
        yield from value.keys()
        yield from value.values()
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from value
